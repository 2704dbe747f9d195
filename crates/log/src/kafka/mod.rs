//! The log on Apache Kafka, and on what speaks its protocol.
//!
//! *Owns*: the clients of the brokers; which records are acknowledged, which positions committed, who has which partition.
//! *Does not own*: the topics' numbers and names, what the records mean, when to commit.
//!
//! ```text
//! append    ─▶ appender ─▶ one idempotent producer, [≤ 32 MiB] ─▶ acknowledged by all in sync
//! subscribe ─▶ member ◀─ [≤ 2 batches] ─ poller: a thread, a consumer, a queue for each partition, read ahead of it:
//!                                        [≤ 4 MiB in all, but 256 KiB or one batch of each]
//! view      ─▶ the cluster is asked; a consumer without a group reads
//! ```
//! A position that nobody has committed is the partition's beginning, by our own resolution; one that the partition does not
//! hold stops the group (`auto.offset.reset=error`). Beside each position stands the id of its topic, so that a topic which
//! was deleted and made again is read from its beginning.
//! Promises: 1, 3, 4, 5.

mod appender;
mod cluster;
mod context;
mod fault;
mod member;
mod native;
mod poller;
mod position;
mod record;
mod restart;
mod settings;
mod topics;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use longshore_stages::ports::{Consumer, Epoch, Group, Log, LogError, Message, TopicSpec};

use appender::Appender;
use cluster::{ANSWER, Cluster, made};
use context::MemberContext;
use member::{Member, Shared};
use poller::{Client, Poller};
pub use settings::{GroupProtocol, MAX_RECORD_BYTES, Settings, check_property, reserved};
pub use topics::{Found, KEPT, Made};
pub use view::{KafkaView, Readers};

/// Numbers for assignments: each is above all that this process gave before, and above those that any process gave earlier.
#[derive(Debug, Default)]
struct Epochs(AtomicU64);

impl Epochs {
    fn next(&self) -> Epoch {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(since.as_micros()).unwrap_or(0);
        let last = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |last| Some(now.max(last + 1)));
        Epoch(now.max(last.unwrap_or(0) + 1))
    }
}

/// The log on Kafka. Cheap to clone.
#[derive(Clone)]
pub struct KafkaLog {
    settings: Settings,
    cluster: Arc<Cluster>,
    appender: Arc<Appender>,
    epochs: Arc<Epochs>,
}

impl KafkaLog {
    /// Clients of these brokers; nothing is dialled yet.
    ///
    /// # Errors
    /// `Fatal` when the client library does not take the settings.
    pub fn new(settings: Settings) -> Result<Self, LogError> {
        let cluster = Arc::new(Cluster::new(&settings)?);
        let appender = Arc::new(Appender::new(settings.clone(), cluster.clone()));
        Ok(KafkaLog { settings, cluster, appender, epochs: Arc::default() })
    }

    /// Asks the brokers for their topics, once, within this time.
    ///
    /// # Errors
    /// `Unavailable` while none answers; `Fatal` when they refuse who we are.
    pub async fn topics(&self, patience: Duration) -> Result<BTreeMap<String, u32>, LogError> {
        let cluster = self.cluster.clone();
        let topics = blocking(move || cluster.topics(patience)).await?;
        Ok(topics.into_iter().map(|(name, partitions)| (name, partitions.len() as u32)).collect())
    }

    /// Why a topic is not among those that the cluster shows.
    pub async fn why_missing(&self, topic: &str) -> LogError {
        let (cluster, topic) = (self.cluster.clone(), topic.to_owned());
        blocking(move || Ok(cluster.missing(&topic))).await.unwrap_or_else(|error| error)
    }

    /// Makes the topics that are not there, with so many replicas or the broker's own number, and says which were new.
    ///
    /// # Errors
    /// `Fatal` when the brokers refuse, or a topic is there with fewer partitions.
    pub async fn create_topics(&self, specs: &[TopicSpec], replicas: Option<u16>) -> Result<Vec<(String, Made)>, LogError> {
        topics::create(&self.cluster, specs, replicas).await
    }

    /// The topics of these names as the cluster has them; those that are not there are left out.
    ///
    /// # Errors
    /// Those of asking.
    pub async fn describe_topics(&self, names: &[String]) -> Result<BTreeMap<String, Found>, LogError> {
        topics::describe(&self.cluster, names).await
    }

    /// An onlooker at the topics that have readers.
    pub fn view(&self, readers: Box<Readers>) -> KafkaView {
        KafkaView::new(self.settings.clone(), self.cluster.clone(), readers)
    }
}

#[async_trait]
impl Log for KafkaLog {
    async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        self.create_topics(topics, None).await.map(drop)
    }

    async fn append(&self, topic: &str, batch: &[Message]) -> Result<(), LogError> {
        self.appender.append(topic, batch).await
    }

    async fn subscribe(&self, group: &Group, topics: &[&str]) -> Result<Box<dyn Consumer>, LogError> {
        let (cluster, wanted) = (self.cluster.clone(), topics.iter().map(|topic| (*topic).to_owned()).collect::<Vec<_>>());
        let partitions = blocking(move || {
            let known = cluster.topics(ANSWER)?;
            let of = |topic: &String| known.get(topic).map(Vec::len).ok_or_else(|| cluster.missing(topic));
            wanted.iter().map(of).sum::<Result<usize, _>>()
        });
        let partitions = partitions.await?;
        // Whoever reads is going to append, at the latest when something fails.
        self.appender.start()?;
        let client = self.settings.consumer(group, partitions).create_with_context(MemberContext::default());
        let mut client: Client = made(&self.settings.brokers, client)?;
        let whole = self.settings.group(group);
        let shared = Arc::new(Shared::default());
        let waker = shared.clone();
        client.set_nonempty_callback(move || waker.wake());
        rdkafka::consumer::Consumer::subscribe(&client, topics).map_err(|error| fault::of_error("joining", &whole, &error))?;
        let poller = Poller::new(client, self.cluster.clone(), shared.clone(), self.epochs.clone(), whole);
        let thread = std::thread::Builder::new().name("kafka-consumer".to_owned()).spawn(move || poller.run());
        let thread =
            thread.map_err(|error| LogError::Unavailable(format!("a thread for the consumer cannot be started: {error}")))?;
        Ok(Box::new(Member::new(shared, thread)))
    }
}

/// Does what blocks on a thread for it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, LogError> + Send + 'static) -> Result<T, LogError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(LogError::Unavailable(format!("asking Kafka was given up: {error}"))))
}
