//! A producer that is not ours: events arrive on their schedule, whatever becomes of the fleet.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DeliveryResult, NoCustomPartitioner, Producer, ProducerContext, ThreadedProducer};

use super::plan::Event;

/// What became of the records so far.
#[derive(Default)]
struct Deliveries {
    acknowledged: AtomicUsize,
    refused: Mutex<Vec<String>>,
}

impl ClientContext for Deliveries {
    /// A broker that is away is part of the test.
    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: KafkaError, _: &str) {}
}

impl ProducerContext<NoCustomPartitioner> for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => {
                self.acknowledged.fetch_add(1, Relaxed);
            }
            Err((error, _)) => self.refused.lock().unwrap().push(error.to_string()),
        }
    }
}

/// Produces all events, evenly over a time, and returns when each is acknowledged by the broker.
pub(crate) fn send(broker: &str, topic: &str, events: &[Event], over: Duration) {
    let producer: ThreadedProducer<Deliveries> = ClientConfig::new()
        .set("bootstrap.servers", broker)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("message.timeout.ms", "300000")
        .set("reconnect.backoff.max.ms", "500")
        .create_with_context(Deliveries::default())
        .unwrap();
    let begun = Instant::now();
    for (number, event) in events.iter().enumerate() {
        let due = over.mul_f64(number as f64 / events.len() as f64);
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
        enqueue(&producer, topic, event);
    }
    producer.flush(Duration::from_secs(120)).unwrap();
    let deliveries = producer.context();
    assert_eq!(*deliveries.refused.lock().unwrap(), [""; 0], "the broker refused events");
    assert_eq!(deliveries.acknowledged.load(Relaxed), events.len(), "acknowledged");
}

fn enqueue(producer: &ThreadedProducer<Deliveries>, topic: &str, event: &Event) {
    let mut record = BaseRecord::to(topic).key(&event.key).payload(&event.value);
    while let Err((error, back)) = producer.send(record) {
        assert_eq!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull));
        std::thread::sleep(Duration::from_millis(10));
        record = back;
    }
}
