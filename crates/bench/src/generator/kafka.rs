//! Messages to Apache Kafka: idempotent, acknowledged by all brokers in sync, lz4.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use longshore_stages::ports::Message;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use tokio_util::sync::CancellationToken;

use super::load::Load;
use super::pace::{Course, Sent, unix_us};
use crate::error::Error;

/// How long the brokers may take to answer.
const ANSWER: Duration = Duration::from_secs(30);
/// How long the last acknowledgements may take, and when nobody waits for them any more.
const LAST: Duration = Duration::from_secs(130);
const LAST_WHEN_STOPPED: Duration = Duration::from_secs(10);
/// How long one waits for room in the client's queue before he tries again.
const NO_ROOM: Duration = Duration::from_millis(1);

/// Sends all messages of a load; see the module.
pub(super) fn send(load: &Load, brokers: &str, properties: &BTreeMap<String, String>, course: &Course) -> Result<Sent, Error> {
    let producer = Producer::connect(brokers, properties, load.topic(), course)?;
    let mut pace = course.begin(load.plan());
    for number in load.plan().numbers() {
        if !pace.wait(number) {
            break;
        }
        if load.plan().lose == Some(number) {
            course.sent.fetch_add(1, Relaxed);
        } else if !producer.send(load.topic(), &load.message(number, unix_us())?)? {
            break;
        }
        pace.sent(number);
    }
    producer.finish()?;
    Ok(pace.end(course.sent.load(Relaxed)))
}

/// Hears what became of messages.
struct Acknowledgements {
    acknowledged: Arc<AtomicU64>,
    refused: AtomicU64,
    first_refusal: Mutex<Option<KafkaError>>,
}

impl ClientContext for Acknowledgements {}

impl ProducerContext for Acknowledgements {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => drop(self.acknowledged.fetch_add(1, Relaxed)),
            Err((error, _)) => {
                self.refused.fetch_add(1, Relaxed);
                self.first_refusal.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error.clone());
            }
        }
    }
}

struct Producer {
    client: ThreadedProducer<Acknowledgements>,
    stop: CancellationToken,
}

impl Producer {
    /// Connects, and finds out where the topic's partitions are.
    fn connect(brokers: &str, properties: &BTreeMap<String, String>, topic: &str, course: &Course) -> Result<Self, Error> {
        let context =
            Acknowledgements { acknowledged: course.sent.clone(), refused: AtomicU64::new(0), first_refusal: Mutex::default() };
        let client: ThreadedProducer<_> =
            settings(brokers, properties).create_with_context(context).map_err(Error::kafka("making a producer"))?;
        let metadata = client.client().fetch_metadata(Some(topic), ANSWER).map_err(Error::kafka("looking for the topic"))?;
        let partitions: usize = metadata.topics().iter().map(|topic| topic.partitions().len()).sum();
        match partitions {
            0 => Err(Error::Refused(format!("there is no topic {topic} on Kafka at {brokers}"))),
            _ => Ok(Producer { client, stop: course.stop.clone() }),
        }
    }

    /// Hands a message over, waiting for room; false when to stop.
    fn send(&self, topic: &str, message: &Message) -> Result<bool, Error> {
        let mut record = BaseRecord::<[u8], [u8]>::to(topic);
        (record.key, record.payload) = (message.key.as_deref(), message.value.as_deref());
        record.headers = headers(message);
        loop {
            match self.client.send(record) {
                Ok(()) => return Ok(true),
                Err((KafkaError::MessageProduction(Code::QueueFull), back)) => record = back,
                Err((error, _)) => return Err(Error::kafka("sending")(error)),
            }
            if self.stop.is_cancelled() {
                return Ok(false);
            }
            std::thread::sleep(NO_ROOM);
        }
    }

    /// Waits for all acknowledgements.
    fn finish(self) -> Result<(), Error> {
        let patience = if self.stop.is_cancelled() { LAST_WHEN_STOPPED } else { LAST };
        self.client.flush(patience).map_err(Error::kafka("waiting for acknowledgements"))?;
        let Acknowledgements { refused, first_refusal, .. } = &**self.client.context();
        let first = first_refusal.lock().unwrap_or_else(PoisonError::into_inner).take();
        match first {
            None => Ok(()),
            Some(error) => Err(Error::Refused(format!("{} messages were refused, first: {error}", refused.load(Relaxed)))),
        }
    }
}

/// The user's settings, and above them what an acknowledgement must mean.
fn settings(brokers: &str, properties: &BTreeMap<String, String>) -> ClientConfig {
    let mut config = ClientConfig::new();
    for (name, value) in properties {
        config.set(name, value);
    }
    config
        .set("bootstrap.servers", brokers)
        .set("client.id", "longshore-bench")
        .set("allow.auto.create.topics", "false")
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("compression.type", "lz4")
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "5")
        .set("queue.buffering.max.kbytes", "65536")
        .set("message.timeout.ms", "120000");
    config
}

fn headers(message: &Message) -> Option<OwnedHeaders> {
    let all = message.headers.iter().map(|(key, value)| Header { key, value: Some(value.as_ref()) });
    (!message.headers.is_empty()).then(|| all.fold(OwnedHeaders::new(), OwnedHeaders::insert))
}
