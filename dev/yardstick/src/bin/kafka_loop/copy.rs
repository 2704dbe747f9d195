//! The bare loop: consume → parse → produce. It checks nothing, remembers nothing and commits once, at its end.

use std::io::Write as _;
use std::time::{Duration, Instant};

use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::message::BorrowedMessage;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::Result;
use crate::client::{ANSWER, Producer, base};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    r#type: &'a str,
    utc_date_time: &'a str,
    trace_id: &'a str,
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    assignment_id: &'a str,
    #[serde(borrow)]
    attachments: Vec<&'a str>,
}

/// About 300 bytes.
#[derive(Serialize)]
struct Task<'a> {
    v: u32,
    r#type: &'a str,
    trace_id: &'a str,
    media_id: &'static str,
    url: &'a str,
    path: &'a str,
    event_time: &'a str,
    attempts: u32,
}

/// Consumes `count` events and produces a record for each; says how many a second, from the first record to the commit.
pub fn copy(broker: &str, from: &str, to: &str, count: u64) -> Result<()> {
    let (consumer, producer) = (consumer(broker, from)?, Producer::new(broker)?);
    let (mut begun, mut done, mut bytes) = (None, 0, 0);
    let (mut value, mut path) = (Vec::new(), Vec::new());
    while done < count {
        let message = next(&consumer)?;
        begun.get_or_insert_with(Instant::now);
        let event: Event<'_> = serde_json::from_slice(message.payload().unwrap_or_default())?;
        for url in &event.data.attachments {
            make(&event, url, &mut path, &mut value)?;
            bytes += value.len();
            producer.send(to, message.key().unwrap_or_default(), &value)?;
        }
        done += 1;
    }
    producer.finish()?;
    consumer.commit_consumer_state(CommitMode::Sync)?;
    let seconds = begun.map_or(0.0, |begun| begun.elapsed().as_secs_f64());
    let per_s = done as f64 / seconds;
    println!(
        "{}",
        json!({ "events": done, "seconds": seconds, "events_per_s": per_s, "bytes_each": bytes as u64 / done.max(1) })
    );
    Ok(())
}

fn make(event: &Event<'_>, url: &str, path: &mut Vec<u8>, value: &mut Vec<u8>) -> Result<()> {
    path.clear();
    let name = url.rsplit('/').next().unwrap_or("unknown");
    let Event { r#type, utc_date_time, trace_id, data } = event;
    write!(
        path,
        "{}/{}/{trace_id}/{}_{name}",
        r#type.rsplit('.').next().unwrap_or(r#type),
        data.assignment_id,
        data.assignment_id
    )?;
    value.clear();
    let media_id = "6d7ab70c-874d-5ff2-8698-454e7a9d3e4d";
    let (path, event_time) = (std::str::from_utf8(path)?, *utc_date_time);
    serde_json::to_writer(&mut *value, &Task { v: 1, r#type, trace_id, media_id, url, path, event_time, attempts: 0 })?;
    Ok(())
}

/// The next record. A poll ends without one after each rebalance, too.
fn next(consumer: &BaseConsumer) -> Result<BorrowedMessage<'_>> {
    let begun = Instant::now();
    while begun.elapsed() < ANSWER {
        if let Some(message) = consumer.poll(Duration::from_secs(1)) {
            return Ok(message?);
        }
    }
    Err("no record came for half a minute".into())
}

/// A member of a group of its own, with the read-ahead that makes the library fastest.
fn consumer(broker: &str, topic: &str) -> Result<BaseConsumer> {
    let consumer: BaseConsumer = base(broker)
        .set("group.id", format!("kafka_loop.{topic}.{}", std::process::id()))
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("fetch.queue.backoff.ms", "2")
        .create()?;
    consumer.subscribe(&[topic])?;
    Ok(consumer)
}
