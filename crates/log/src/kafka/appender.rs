//! Appending: batches that are sent at once, and acknowledged when the brokers in sync have all of it.
//!
//! ```text
//! append ─▶ [≤ 32 MiB in the client] ─▶ brokers ─▶ reports (the client's own thread) ─▶ the batch's ticket ─▶ append returns
//! ```
//! A batch of which anything was not delivered comes back whole as an error; its caller appends it again (readers tolerate
//! repeats). A client that has broken down for good is replaced by a new one.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use longshore_stages::ports::{LogError, Message};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use tokio::sync::Notify;

use super::cluster::{ANSWER, Cluster, made};
use super::context::Told;
use super::fault;
use super::record;
use super::settings::Settings;
use crate::catalog::locked;

/// The wait for room in the client's queue.
const NO_ROOM: Duration = Duration::from_millis(2);
/// How often room is waited for before the batch comes back.
const NO_ROOM_TIMES: u32 = 5_000;

/// What a batch waits for.
#[derive(Debug)]
struct Ticket {
    open: AtomicUsize,
    failed: Mutex<Option<Code>>,
    done: Notify,
}

impl Ticket {
    fn new(records: usize) -> Arc<Self> {
        Arc::new(Ticket { open: AtomicUsize::new(records), failed: Mutex::new(None), done: Notify::new() })
    }

    fn fail(&self, code: Code) {
        locked(&self.failed).get_or_insert(code);
    }

    /// Notes that so many records have ended, one way or another.
    fn end(&self, records: usize) {
        if self.open.fetch_sub(records, Ordering::AcqRel) == records {
            self.done.notify_one();
        }
    }

    async fn ended(&self) -> Option<Code> {
        while self.open.load(Ordering::Acquire) > 0 {
            self.done.notified().await;
        }
        *locked(&self.failed)
    }
}

/// Hears of deliveries.
#[derive(Debug, Default)]
struct Reports(Told);

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.0.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Arc<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Arc<Ticket>) {
        if let Err((error, _)) = result {
            ticket.fail(error.rdkafka_error_code().unwrap_or(Code::Fail));
        }
        ticket.end(1);
    }
}

type Client = ThreadedProducer<Reports>;

/// Appends to topics.
pub(super) struct Appender {
    settings: Settings,
    cluster: Arc<Cluster>,
    client: Mutex<Option<Arc<Client>>>,
    /// Topics that were there when they were looked for.
    known: Mutex<HashSet<String>>,
}

impl Appender {
    pub(super) fn new(settings: Settings, cluster: Arc<Cluster>) -> Self {
        Appender { settings, cluster, client: Mutex::new(None), known: Mutex::default() }
    }

    /// Starts the client, which takes half a second to become idempotent.
    pub(super) fn start(&self) -> Result<(), LogError> {
        self.client().map(drop)
    }

    /// Appends a batch; see the port.
    pub(super) async fn append(&self, topic: &str, batch: &[Message]) -> Result<(), LogError> {
        if batch.is_empty() {
            return Ok(());
        }
        self.find(topic).await?;
        let client = self.client()?;
        let ticket = Ticket::new(batch.len());
        for (sent, message) in batch.iter().enumerate() {
            if let Err(code) = send(&client, topic, message, &ticket).await {
                ticket.fail(code);
                ticket.end(batch.len() - sent);
                break;
            }
        }
        match ticket.ended().await {
            None => Ok(()),
            Some(code) => Err(self.failed(&client, topic, code)),
        }
    }

    /// Makes sure that the topic is there: the client would look for a missing one until the records time out.
    async fn find(&self, topic: &str) -> Result<(), LogError> {
        if locked(&self.known).contains(topic) {
            return Ok(());
        }
        let cluster = self.cluster.clone();
        let wanted = topic.to_owned();
        let topics = super::blocking(move || {
            let topics = cluster.topics(ANSWER)?;
            if topics.contains_key(&wanted) { Ok(topics) } else { Err(cluster.missing(&wanted)) }
        });
        let topics = topics.await?;
        locked(&self.known).extend(topics.into_keys());
        Ok(())
    }

    fn client(&self) -> Result<Arc<Client>, LogError> {
        let mut client = locked(&self.client);
        if let Some(client) = client.as_ref() {
            return Ok(client.clone());
        }
        let new = self.settings.producer().create_with_context::<_, Client>(Reports::default());
        let new = Arc::new(made(&self.settings.brokers, new)?);
        *client = Some(new.clone());
        Ok(new)
    }

    fn failed(&self, client: &Arc<Client>, topic: &str, code: Code) -> LogError {
        if let Some((fatal, reason)) = client.client().fatal_error() {
            tracing::warn!(error = %fatal, reason, "the Kafka producer broke down and is replaced");
            let mut present = locked(&self.client);
            if present.as_ref().is_some_and(|present| Arc::ptr_eq(present, client)) {
                *present = None;
            }
            return LogError::Unavailable(format!("appending to {topic} on Kafka: {fatal}: a new client takes its place"));
        }
        // The topic took records, or was there at least: whoever has changed that can change it back, and we go on.
        let (LogError::Fatal(text) | LogError::Unavailable(text)) = fault::of("appending to", topic, code);
        LogError::Unavailable(text)
    }
}

/// Hands a record to the client, waiting for room.
async fn send(client: &Client, topic: &str, message: &Message, ticket: &Arc<Ticket>) -> Result<(), Code> {
    for _ in 0..NO_ROOM_TIMES {
        match try_send(client, topic, message, ticket) {
            Ok(()) => return Ok(()),
            Err(Code::QueueFull) => tokio::time::sleep(NO_ROOM).await,
            Err(code) => return Err(code),
        }
    }
    Err(Code::QueueFull)
}

fn try_send(client: &Client, topic: &str, message: &Message, ticket: &Arc<Ticket>) -> Result<(), Code> {
    let mut sent = BaseRecord::<[u8], [u8], Arc<Ticket>>::with_opaque_to(topic, ticket.clone());
    sent.key = message.key.as_deref();
    sent.payload = message.value.as_deref();
    sent.headers = record::headers(message);
    client.send(sent).map_err(|(error, _)| error.rdkafka_error_code().unwrap_or(Code::Fail))
}
