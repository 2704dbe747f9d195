//! Clients of the broker, and its topics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};

use crate::Result;

pub const ANSWER: Duration = Duration::from_secs(30);

pub fn base(broker: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker);
    config
}

/// Seconds since 1970.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Counts what was acknowledged, and what was not.
#[derive(Default)]
pub struct Deliveries {
    pub acknowledged: AtomicU64,
    failed: AtomicU64,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let counter = if result.is_ok() { &self.acknowledged } else { &self.failed };
        counter.fetch_add(1, Relaxed);
    }
}

/// Idempotent, acknowledged by all, lz4, the library's own linger of 5 ms.
pub struct Producer(ThreadedProducer<Deliveries>);

impl Producer {
    pub fn new(broker: &str) -> Result<Self> {
        let mut config = base(broker);
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("compression.type", "lz4")
            .set("partitioner", "murmur2_random")
            .set("linger.ms", "5");
        Ok(Producer(config.create_with_context(Deliveries::default())?))
    }

    /// Hands a record over; waits while there is no room.
    pub fn send(&self, topic: &str, key: &[u8], value: &[u8]) -> Result<()> {
        let mut record = BaseRecord::to(topic).key(key).payload(value);
        loop {
            match self.0.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(Code::QueueFull), back)) => {
                    record = back;
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }

    /// Finds out where the topic's partitions are.
    pub fn connect(&self, topic: &str) -> Result<()> {
        self.0.client().fetch_metadata(Some(topic), ANSWER)?;
        Ok(())
    }

    /// Waits for all acknowledgements.
    pub fn finish(&self) -> Result<u64> {
        self.0.flush(Duration::from_secs(120))?;
        let Deliveries { acknowledged, failed } = &**self.0.context();
        match failed.load(Relaxed) {
            0 => Ok(acknowledged.load(Relaxed)),
            failed => Err(format!("{failed} records were refused").into()),
        }
    }
}

fn admin(broker: &str) -> Result<AdminClient<DefaultClientContext>> {
    Ok(base(broker).create()?)
}

pub fn create(broker: &str, partitions: i32, topics: &[String]) -> Result<()> {
    let new: Vec<_> = topics.iter().map(|name| NewTopic::new(name, partitions, TopicReplication::Fixed(1))).collect();
    let made = wait(admin(broker)?.create_topics(&new, &AdminOptions::new().operation_timeout(Some(ANSWER))))??;
    made.into_iter().try_for_each(|one| one.map(drop).map_err(|(topic, code)| format!("{topic}: {code}").into()))
}

pub fn delete(broker: &str, prefix: &str) -> Result<()> {
    let consumer: BaseConsumer = base(broker).create()?;
    let metadata = consumer.fetch_metadata(None, ANSWER)?;
    let names: Vec<_> = metadata.topics().iter().map(|topic| topic.name()).filter(|name| name.starts_with(prefix)).collect();
    if !names.is_empty() {
        wait(admin(broker)?.delete_topics(&names, &AdminOptions::new().operation_timeout(Some(ANSWER))))??;
    }
    Ok(())
}

fn wait<T>(future: impl Future<Output = T>) -> Result<T> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future))
}
