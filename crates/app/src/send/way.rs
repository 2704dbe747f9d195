//! The way of a batch into the log: through the service that has it, or directly.

use std::time::Duration;

use anyhow::{Result, bail};
use hyper::StatusCode;
use longshore_core::format::HEADER_URL_FIELD;
use longshore_log::EmbeddedLog;
use longshore_log::kafka::KafkaLog;
use longshore_stages::ports::{Log, TopicSpec};
use tokio::time::Instant;

use super::Totals;
use super::batch::Batch;
use crate::client::{Answer, Client};
use crate::config::{Http, Ready};
use crate::pipeline;
use crate::place::{Lane, LogPlace, Place};
use crate::service::{INPUT_LINE, INPUT_NAME};

/// How often a batch is sent again after its connection broke; not at all before the first has got through.
const BREAKS: u32 = 10;
/// The pause before that.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a service may put a batch off.
const PATIENCE: Duration = Duration::from_secs(600);

/// Sends batches.
pub(super) struct Sender {
    place: Place,
    http: Http,
    lane: Lane,
    topics: Vec<TopicSpec>,
    /// Headers of every event.
    headers: Vec<(String, String)>,
    way: Way,
}

enum Way {
    Service(Client),
    Log(EmbeddedLog),
    Kafka(KafkaLog),
}

/// What became of a try.
enum Tried {
    Sent,
    /// Not now.
    Later(Duration, String),
    /// These lines are never taken.
    Refused(String),
}

impl Sender {
    pub(super) async fn new(ready: &Ready, lane: &Lane, headers: Vec<(String, String)>) -> Result<Self> {
        let (place, http, topics) = (ready.plan.place.clone(), ready.http.clone(), pipeline::topics(&ready.plan));
        let way = choose(&place, &http, &topics).await?;
        Ok(Sender { place, http, lane: lane.clone(), topics, headers, way })
    }

    /// Sends a batch; returns once it is durable.
    pub(super) async fn deliver(&mut self, batch: &Batch, totals: &mut Totals) -> Result<()> {
        let (begun, mut breaks, mut told) = (Instant::now(), 0, false);
        loop {
            match self.attempt(batch).await {
                Ok(Tried::Sent) => {
                    totals.sent += batch.len();
                    return Ok(());
                }
                Ok(Tried::Refused(why)) => {
                    totals.note(format!("{}: {why}", batch.place()));
                    return Ok(());
                }
                Ok(Tried::Later(_, why)) if begun.elapsed() > PATIENCE => bail!("put off for {} s: {why}", PATIENCE.as_secs()),
                Ok(Tried::Later(wait, why)) => {
                    if !std::mem::replace(&mut told, true) {
                        eprintln!("waiting: {why}");
                    }
                    tokio::time::sleep(wait).await;
                }
                Err(error) if breaks == BREAKS || totals.sent == 0 => return Err(error),
                Err(_) => {
                    breaks += 1;
                    tokio::time::sleep(PAUSE).await;
                    // The service may have ended, and given the log back.
                    self.way = choose(&self.place, &self.http, &self.topics).await?;
                }
            }
        }
    }

    async fn attempt(&mut self, batch: &Batch) -> Result<Tried> {
        match &mut self.way {
            Way::Log(log) => {
                log.append(&self.lane.topics.raw(), &batch.messages(&self.headers)).await?;
                Ok(Tried::Sent)
            }
            Way::Kafka(log) => {
                log.append(&self.lane.topics.raw(), &batch.messages(&self.headers)).await?;
                Ok(Tried::Sent)
            }
            Way::Service(client) => judge(post(client, self.lane.name(), &self.headers, batch).await?, batch),
        }
    }

    /// Ends; tells which way was taken.
    pub(super) async fn close(self) -> Result<String> {
        match self.way {
            Way::Service(client) => Ok(format!("over http://{}", client.address())),
            Way::Kafka(_) => Ok(format!("to {}", self.place.log)),
            Way::Log(log) => {
                log.close().await?;
                Ok(format!("into the log in {}", self.place.log))
            }
        }
    }
}

/// Through the service if one has the log, else directly.
async fn choose(place: &Place, http: &Http, topics: &[TopicSpec]) -> Result<Way> {
    let directory = match &place.log {
        LogPlace::Embedded(directory) => directory,
        LogPlace::Kafka(settings) => return Ok(Way::Kafka(KafkaLog::new((**settings).clone())?)),
    };
    if place.log.writer()?.is_some() {
        return Ok(Way::Service(Client::new(http)));
    }
    match EmbeddedLog::open(directory) {
        Ok(log) => {
            log.ensure_topics(topics).await?;
            Ok(Way::Log(log))
        }
        // Somebody was faster.
        Err(_) if place.log.writer()?.is_some() => Ok(Way::Service(Client::new(http))),
        Err(error) => Err(error.into()),
    }
}

async fn post(client: &mut Client, source: &str, own: &[(String, String)], batch: &Batch) -> Result<Answer> {
    let first = batch.first_line().to_string();
    let mut headers =
        vec![("content-type", "application/x-ndjson"), (INPUT_NAME, batch.name.as_str()), (INPUT_LINE, first.as_str())];
    headers.extend(batch.url_field.as_deref().map(|field| (HEADER_URL_FIELD, field)));
    headers.extend(own.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    client.post(&format!("/v1/events/{source}"), &headers, batch.body()).await
}

fn judge(answer: Answer, batch: &Batch) -> Result<Tried> {
    let wait = answer.retry_after.unwrap_or(PAUSE);
    match answer.status {
        StatusCode::ACCEPTED if answer.body["accepted"] == batch.len() => Ok(Tried::Sent),
        StatusCode::ACCEPTED => bail!("the service counts {} events in a batch of {}", answer.body["accepted"], batch.len()),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Ok(Tried::Later(wait, answer.refusal())),
        StatusCode::PAYLOAD_TOO_LARGE if batch.len() == 1 => Ok(Tried::Refused(answer.refusal())),
        _ => bail!("{}", answer.refusal()),
    }
}
