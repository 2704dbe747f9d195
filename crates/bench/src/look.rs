//! Looking at the log of a run from outside: how much is in a topic, how far each stage is behind, when records came.
//!
//! *Owns*: onlookers of one source's topics. *Does not own*: the records, or any position: nothing is joined or committed.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use longshore_log::EmbeddedLog;
use longshore_log::kafka::{GroupProtocol, KafkaLog, Settings};
use longshore_stages::ports::{LogError, LogView, PartitionState, Position};
use longshore_stages::topics::Topics;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::types::RDKafkaErrorCode as Code;

use crate::failure::Failure;
use crate::world::{GROUP_PREFIX, LogAt, World};

/// Records in one read.
const STEP: usize = 5_000;
/// How long the brokers may leave partitions out of what they show.
const WHOLE: Duration = Duration::from_secs(10);
/// The longest wait for the brokers' answer about a group.
const ASKED: Duration = Duration::from_secs(10);

/// The log as an onlooker sees it.
pub struct Look {
    kafka: Option<KafkaLog>,
    view: Arc<dyn LogView>,
    brokers: Option<String>,
    topics: Topics,
    /// The most partitions that were shown: a run has as many from its beginning to its end.
    partitions: AtomicUsize,
}

/// When a record of a topic was appended (microseconds since 1970), and to which partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// When.
    pub at_us: i64,
    /// Where.
    pub partition: u32,
}

/// The records of a topic by their keys; of several with one key the first. Keys are kept as hashes.
pub type Records = HashMap<u64, Appended>;

/// A key as [`Records`] has it.
pub fn key(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

impl Look {
    /// At the log of a world; the embedded one must have been opened by a worker before.
    ///
    /// # Errors
    /// When the log cannot be looked at.
    pub fn at(world: &World) -> Result<Self, LogError> {
        let topics = world.topics.clone();
        let (kafka, view): (_, Arc<dyn LogView>) = match &world.log {
            LogAt::Embedded => (None, Arc::new(EmbeddedLog::open_read_only(&world.log_directory())?)),
            LogAt::Kafka(brokers) => {
                let protocol = GroupProtocol::default();
                let log = KafkaLog::new(Settings { group_prefix: GROUP_PREFIX.to_owned(), protocol, ..Settings::new(brokers) })?;
                let of = topics.clone();
                let view = log.view(Box::new(move |topic| of.consumption(topic)));
                (Some(log), Arc::new(view))
            }
        };
        let brokers = match &world.log {
            LogAt::Kafka(brokers) => Some(brokers.clone()),
            LogAt::Embedded => None,
        };
        Ok(Look { kafka, view, brokers, topics, partitions: AtomicUsize::new(0) })
    }

    /// An onlooker at how many records a topic of this source has.
    pub fn counter(&self, topic: String) -> Counter {
        let view: Arc<dyn LogView> = match &self.kafka {
            None => self.view.clone(),
            Some(log) => {
                let (wanted, topics) = (topic.clone(), self.topics.clone());
                let readers = move |name: &str| match name == wanted {
                    true => topics.consumption(name).into_iter().take(1).collect(),
                    false => Vec::new(),
                };
                Arc::new(log.view(Box::new(readers)))
            }
        };
        Counter { view, topic }
    }

    /// All of it. A broker that is busy may leave partitions out for a moment; then what is in them would seem to be nowhere,
    /// and it is asked again.
    async fn state(&self) -> Result<(Vec<PartitionState>, Vec<Position>), LogError> {
        let until = Instant::now() + WHOLE;
        loop {
            let (partitions, positions) = self.view.state().await?;
            let (shown, most) = (partitions.len(), self.partitions.fetch_max(partitions.len(), Relaxed));
            if shown >= most {
                return Ok((partitions, positions));
            }
            if Instant::now() >= until {
                return Err(LogError::Unavailable(format!("the broker shows {shown} of {most} partitions")));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Messages behind, by stage: `ingest`, `download`, `retry`, `record`.
    ///
    /// # Errors
    /// Those of the log.
    pub async fn lag(&self) -> Result<BTreeMap<String, u64>, LogError> {
        let (partitions, positions) = self.state().await?;
        let committed: HashMap<_, _> =
            positions.iter().map(|position| ((&position.group, &position.partition), position.committed)).collect();
        let mut lag = BTreeMap::new();
        for (stage, group) in self.stages() {
            let read = partitions.iter().filter(|state| self.topics.consumption(&state.partition.topic).contains(&group));
            let behind = |end: u64, at: u64| end.saturating_sub(at);
            let sum: u64 =
                read.map(|state| behind(state.end, *committed.get(&(&group, &state.partition)).unwrap_or(&state.begin))).sum();
            *lag.entry(stage.to_owned()).or_default() += sum;
        }
        Ok(lag)
    }

    /// The stages and the groups whose lag they are. The rows of events are left out: they come every ten seconds on purpose.
    fn stages(&self) -> [(&'static str, String); 5] {
        let topics = &self.topics;
        [
            ("ingest", topics.ingest_group()),
            ("download", topics.download_group()),
            ("retry", topics.retry_group()),
            ("record", topics.record_results_group()),
            ("record", topics.record_failures_group()),
        ]
    }

    /// How many partitions each member of a group has, as the broker was told.
    ///
    /// # Errors
    /// When the brokers do not answer, or what they say cannot be read.
    pub async fn shares(&self, group: &str) -> Result<Vec<u64>, Failure> {
        let Some(brokers) = self.brokers.clone() else { return Ok(Vec::new()) };
        let group = format!("{GROUP_PREFIX}.{group}");
        let asked = tokio::task::spawn_blocking(move || members(&brokers, &group)).await;
        asked.unwrap_or_else(|error| Err(Failure::Late(format!("asking for a group was given up: {error}"))))
    }

    /// All records of a topic by their keys.
    ///
    /// # Errors
    /// Those of the log.
    pub async fn records(&self, topic: &str) -> Result<Records, LogError> {
        let (partitions, _) = self.state().await?;
        let mut records = Records::new();
        for state in partitions.iter().filter(|state| &*state.partition.topic == topic) {
            let mut next = state.begin;
            while next < state.end {
                let read = self.view.read(&state.partition, next, STEP).await?;
                let Some(last) = read.last() else { break };
                next = last.offset + 1;
                for received in &read {
                    let Some(bytes) = &received.message.key else { continue };
                    let appended = Appended { at_us: received.appended_at, partition: state.partition.index };
                    records.entry(key(bytes)).or_insert(appended);
                }
            }
        }
        Ok(records)
    }
}

/// Asks the brokers whether they are there.
///
/// # Errors
/// When none answers in time.
pub async fn reach(brokers: &str) -> Result<(), Failure> {
    let at = brokers.to_owned();
    let asked = tokio::task::spawn_blocking(move || {
        let client: BaseConsumer = ClientConfig::new().set("bootstrap.servers", &at).create()?;
        client.fetch_metadata(None, ASKED).map(drop)
    });
    let answered = asked.await.map_err(|error| Failure::Late(format!("asking the brokers was given up: {error}")))?;
    answered.map_err(|error| {
        Failure::Missing(format!("Kafka does not answer at {brokers} within {} s: {error}: check --brokers", ASKED.as_secs()))
    })
}

/// Deletes the topics and groups of sources whose names begin so: a broker is slower the more partitions it has, and that of
/// somebody else is to stay as it was.
///
/// # Errors
/// When the brokers do not answer, or refuse.
pub async fn forget(brokers: &str, beginning: &str) -> Result<(), Failure> {
    let (at, ours) = (brokers.to_owned(), beginning.to_owned());
    let listed = tokio::task::spawn_blocking(move || named(&at, &ours)).await;
    let (topics, groups) = listed.map_err(|error| Failure::Late(format!("listing topics was given up: {error}")))??;
    let failed = |error| crate::Error::kafka("deleting topics and groups")(error);
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create().map_err(failed)?;
    let [topics, groups] = [&topics, &groups].map(|names| names.iter().map(String::as_str).collect::<Vec<_>>());
    if !groups.is_empty() {
        // A group that still has members stays until the brokers forget it.
        admin.delete_groups(&groups, &AdminOptions::new()).await.map_err(failed)?;
    }
    if !topics.is_empty() {
        let deleted = admin.delete_topics(&topics, &AdminOptions::new()).await.map_err(failed)?;
        // Metadata may show for a moment what is gone already.
        let is_there = |(_, code): &(String, Code)| *code != Code::UnknownTopicOrPartition;
        if let Some((topic, code)) = deleted.into_iter().filter_map(Result::err).find(is_there) {
            return Err(Failure::Late(format!("the brokers did not delete {topic}: {code}")));
        }
    }
    Ok(())
}

/// The topics and groups of sources whose names begin so.
fn named(brokers: &str, beginning: &str) -> Result<(Vec<String>, Vec<String>), Failure> {
    let failed = |error| crate::Error::kafka("listing topics and groups")(error);
    let client: BaseConsumer = ClientConfig::new().set("bootstrap.servers", brokers).create().map_err(failed)?;
    let (topics, groups) =
        (client.fetch_metadata(None, ASKED).map_err(failed)?, client.fetch_group_list(None, ASKED).map_err(failed)?);
    let of_group = format!("{GROUP_PREFIX}.{beginning}");
    let topics = topics.topics().iter().map(|topic| topic.name()).filter(|name| name.starts_with(beginning));
    let groups = groups.groups().iter().map(|group| group.name()).filter(|name| name.starts_with(&of_group));
    Ok((topics.map(str::to_owned).collect(), groups.map(str::to_owned).collect()))
}

fn members(brokers: &str, group: &str) -> Result<Vec<u64>, Failure> {
    let failed = |error| crate::Error::kafka("asking for a group")(error);
    let client: BaseConsumer = ClientConfig::new().set("bootstrap.servers", brokers).create().map_err(failed)?;
    let list = client.fetch_group_list(Some(group), ASKED).map_err(failed)?;
    let members = list.groups().iter().flat_map(|group| group.members());
    let shares = members.map(|member| assigned(member.assignment().unwrap_or_default()).unwrap_or(0));
    Ok(shares.collect())
}

/// Partitions in an assignment of the classic protocol: a version, then topics, each a name and the numbers of partitions.
fn assigned(mut bytes: &[u8]) -> Option<u64> {
    let mut take = |count: usize| {
        let (head, rest) = bytes.split_at_checked(count)?;
        bytes = rest;
        Some(head)
    };
    take(2)?;
    let mut sum = 0;
    for _ in 0..number(take(4)?)? {
        let name = u16::from_be_bytes(take(2)?.try_into().ok()?);
        take(usize::from(name))?;
        let partitions = number(take(4)?)?;
        take(usize::try_from(partitions).ok()?.checked_mul(4)?)?;
        sum += partitions;
    }
    Some(sum)
}

fn number(bytes: &[u8]) -> Option<u64> {
    Some(u64::from(u32::from_be_bytes(bytes.try_into().ok()?)))
}

/// Counts the records of one topic.
pub struct Counter {
    view: Arc<dyn LogView>,
    topic: String,
}

impl Counter {
    /// Records that were ever appended to the topic.
    ///
    /// # Errors
    /// Those of the log.
    pub async fn count(&self) -> Result<u64, LogError> {
        let (partitions, _) = self.view.state().await?;
        Ok(partitions.iter().filter(|state| *state.partition.topic == self.topic).map(|state| state.end).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_counted_over_its_topics() {
        let topic = |name: &str, partitions: &[u32]| {
            let mut bytes = (name.len() as u16).to_be_bytes().to_vec();
            bytes.extend(name.as_bytes());
            bytes.extend((partitions.len() as u32).to_be_bytes());
            partitions.iter().for_each(|partition| bytes.extend(partition.to_be_bytes()));
            bytes
        };
        let whole = [vec![0, 1, 0, 0, 0, 2], topic("one", &[0, 5, 7]), topic("another", &[2]), vec![0, 0, 0, 0]].concat();
        assert_eq!(assigned(&whole), Some(4));
        assert_eq!((assigned(&whole[..12]), assigned(&[])), (None, None));
    }
}
