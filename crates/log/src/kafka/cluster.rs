//! The cluster as one asks it: which topics there are, what is committed, where partitions begin and end.
//!
//! Every call blocks for a round trip or two, at most [`ANSWER`]; callers are threads of their own.

use std::collections::BTreeMap;
use std::time::Duration;

use longshore_stages::ports::LogError;
use rdkafka::admin::AdminClient;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;

use super::context::Told;
use super::fault;
use super::native::{self, End, TopicId};
use super::settings::Settings;

/// The longest wait for an answer.
pub(super) const ANSWER: Duration = Duration::from_secs(10);

/// A partition by its topic's name and its number.
pub(super) type Place = (String, i32);

/// A connection to the cluster.
pub(super) struct Cluster {
    /// Asks. A consumer, since such a client can be heard: it says why no broker answers.
    client: BaseConsumer<Told>,
    /// Makes and describes topics.
    admin: AdminClient<Told>,
    brokers: String,
}

impl Cluster {
    /// A client; nothing is dialled yet.
    pub(super) fn new(settings: &Settings) -> Result<Self, LogError> {
        let client = made(&settings.brokers, settings.onlooker().create_with_context(Told::default()))?;
        let admin = made(&settings.brokers, settings.admin().create_with_context(Told::default()))?;
        Ok(Cluster { client, admin, brokers: settings.brokers.clone() })
    }

    pub(super) fn admin(&self) -> &AdminClient<Told> {
        &self.admin
    }

    /// All topics with their partitions.
    pub(super) fn topics(&self, patience: Duration) -> Result<BTreeMap<String, Vec<i32>>, LogError> {
        let metadata = self.metadata(None, patience)?;
        let topic = |topic: &rdkafka::metadata::MetadataTopic| {
            let partitions = topic.partitions().iter().map(rdkafka::metadata::MetadataPartition::id).collect();
            (topic.name().to_owned(), partitions)
        };
        Ok(metadata.topics().iter().filter(|one| !one.partitions().is_empty()).map(topic).collect())
    }

    /// Why a topic is not among those that the cluster shows: it is not there, or we may not see it.
    pub(super) fn missing(&self, topic: &str) -> LogError {
        let said = self.metadata(Some(topic), ANSWER);
        match said.map(|metadata| metadata.topics().first().and_then(|found| found.error())) {
            Ok(Some(code)) => match RDKafkaErrorCode::from(code) {
                RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => fault::no_topic(topic),
                code => fault::of("looking for the topic", topic, code),
            },
            Ok(None) => fault::no_topic(topic),
            Err(error) => error,
        }
    }

    /// Of one topic, or of all.
    fn metadata(&self, topic: Option<&str>, patience: Duration) -> Result<Metadata, LogError> {
        let asked = self.client.fetch_metadata(topic, patience);
        self.hear();
        match asked {
            Ok(metadata) => {
                self.client.context().answered();
                Ok(metadata)
            }
            Err(error) => Err(self.unreachable(&error)),
        }
    }

    /// Hears what the client has to say unasked.
    fn hear(&self) {
        loop {
            let heard = self.client.context().count();
            if self.client.poll(Duration::ZERO).is_none() && self.client.context().count() == heard {
                return;
            }
        }
    }

    /// How many partitions each topic has, and the fewest replicas of any of them.
    pub(super) fn sizes(&self) -> Result<BTreeMap<String, (usize, usize)>, LogError> {
        let metadata = self.metadata(None, ANSWER)?;
        let size = |topic: &rdkafka::metadata::MetadataTopic| {
            let partitions = topic.partitions();
            let fewest = partitions.iter().map(|partition| partition.replicas().len()).min()?;
            Some((topic.name().to_owned(), (partitions.len(), fewest)))
        };
        Ok(metadata.topics().iter().filter_map(size).collect())
    }

    /// The error of a cluster that cannot be asked, with the reason that the client has for it.
    fn unreachable(&self, error: &KafkaError) -> LogError {
        let what = format!("the brokers {}", self.brokers);
        match self.client.context().last_error() {
            Some((code, reason)) => match fault::of("asking", &what, code) {
                LogError::Fatal(text) => LogError::Fatal(text),
                LogError::Unavailable(_) => {
                    let (brokers, reason) = (&self.brokers, short(&reason));
                    LogError::Unavailable(format!("Kafka does not answer at {brokers}: {reason}"))
                }
            },
            None => fault::of_error("asking", &what, error),
        }
    }

    /// The ids of those of these topics that are there.
    pub(super) fn ids(&self, topics: &[&str], patience: Duration) -> Result<BTreeMap<String, TopicId>, LogError> {
        native::topic_ids(self.client.client(), topics, patience).map_err(|code| fault::of("describing", "topics", code))
    }

    /// Where these partitions begin and end; those that are not there are left out.
    pub(super) fn bounds(&self, partitions: &[Place]) -> Result<BTreeMap<Place, (u64, u64)>, LogError> {
        let ask = |end| {
            native::ends(self.client.client(), partitions, end, ANSWER)
                .map_err(|code| fault::of("reading the bounds of", "partitions", code))
        };
        let (begins, ends) = (ask(End::Earliest)?, ask(End::Latest)?);
        let both = begins.into_iter().filter_map(|(place, begin)| {
            let end = *ends.get(&place)?;
            let begin = u64::try_from(begin).ok()?;
            Some((place, (begin, u64::try_from(end).ok()?.max(begin))))
        });
        Ok(both.collect())
    }
}

/// The gist of what the client says of a connection, which begins with the broker's name and ends with its own history.
fn short(reason: &str) -> &str {
    let end = reason.find(" (after ").unwrap_or(reason.len());
    let begin = reason.find("bootstrap: ").map_or(0, |at| at + "bootstrap: ".len());
    reason.get(begin..end).unwrap_or(reason)
}

/// What could not be made because of its settings.
pub(super) fn made<T>(brokers: &str, result: Result<T, KafkaError>) -> Result<T, LogError> {
    result.map_err(|error| {
        LogError::Fatal(format!("a client of Kafka at {brokers} cannot be made: {error}: check kafka.properties"))
    })
}
