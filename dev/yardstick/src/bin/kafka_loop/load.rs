//! Events by the heap, or on a schedule.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::Result;
use crate::client::Producer;
use crate::event::{Event, micros};

/// Produces `count` events, whose numbers begin with `first`.
pub fn fill(broker: &str, topic: &str, count: u64, url: &str, first: u64) -> Result<()> {
    let (producer, mut event, begun) = (Producer::new(broker)?, Event::default(), Instant::now());
    let mut bytes = 0;
    for number in first..first + count {
        event.make(format_args!("{:08x}-{number:08}", number.wrapping_mul(0x9e37_79b9) & 0xffff_ffff), number, url)?;
        bytes += event.value.len();
        producer.send(topic, &event.key, &event.value)?;
    }
    let sent = producer.finish()?;
    let seconds = begun.elapsed().as_secs_f64();
    println!("{}", json!({ "sent": sent, "bytes_each": bytes as u64 / count.max(1), "seconds": seconds }));
    Ok(())
}

/// Produces events at a rate, each at its own time. Says how late they were handed over: a schedule that could not be kept
/// measures nothing.
pub fn pace(broker: &str, topic: &str, rate: u64, seconds: u64, url: &str) -> Result<()> {
    let (producer, mut event) = (Producer::new(broker)?, Event::default());
    let mut late = Vec::with_capacity(usize::try_from(rate * seconds)?);
    // What a connection and the topic's metadata take is no part of the schedule.
    let begin = Instant::now() + Duration::from_millis(500);
    let began_at = micros() + 500_000;
    producer.connect(topic)?;
    for number in 0..rate * seconds {
        let due = Duration::from_micros(number * 1_000_000 / rate);
        std::thread::sleep((begin + due).saturating_duration_since(Instant::now()));
        late.push((begin.elapsed().saturating_sub(due)).as_secs_f64() * 1_000.0);
        event.make(format_args!("{}-{number:07}", began_at + due.as_micros()), number, url)?;
        producer.send(topic, &event.key, &event.value)?;
    }
    let sent = producer.finish()?;
    late.sort_by(f64::total_cmp);
    let part = |share: f64| late.get((late.len() as f64 * share) as usize).or(late.last()).copied();
    println!("{}", json!({ "sent": sent, "late_ms": { "p50": part(0.5), "p99": part(0.99), "max": late.last() } }));
    Ok(())
}
