//! Waiting for a log on Kafka before anything starts: until a broker answers, and all topics are there.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, bail};
use longshore_log::kafka::KafkaLog;
use longshore_stages::ports::LogError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::pipeline::{Plan, topics};
use crate::voice::Voice;

/// The longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(5);
/// The pause between two questions.
const PAUSE: Duration = Duration::from_secs(1);
/// How often it is said that a broker is waited for.
const SAY_EVERY: Duration = Duration::from_secs(10);
/// How long topics may be missing: a broker that has just started may not know them all yet.
const MISSING: Duration = Duration::from_secs(10);

/// The topics of the cluster, once it has all that the configuration needs; nothing when `draining` was cancelled first.
///
/// # Errors
/// When the brokers refuse us, or topics are missing: with what to do.
pub(super) async fn wait(log: &KafkaLog, plan: &Plan, draining: &CancellationToken, voice: Voice) -> Result<Option<Vec<String>>> {
    let mut said: Option<Instant> = None;
    let mut missing_since: Option<Instant> = None;
    loop {
        let asked = tokio::select! {
            asked = log.topics(ANSWER) => asked,
            () = draining.cancelled() => return Ok(None),
        };
        match asked {
            Ok(found) => {
                let missing = missing(plan, &found);
                if missing.is_empty() {
                    return Ok(Some(found.into_keys().collect()));
                }
                if missing_since.get_or_insert_with(Instant::now).elapsed() >= MISSING {
                    let why = log.why_missing(&missing[0]).await;
                    let (all, file) = (missing.join(", "), plan.place.root.display());
                    bail!("{why}; not there are: {all} (longshore topics create -c {file})");
                }
            }
            Err(LogError::Unavailable(why)) if said.is_none_or(|at| at.elapsed() >= SAY_EVERY) => {
                voice.say(&format!("Waiting for Kafka: {why}"));
                said = Some(Instant::now());
            }
            Err(LogError::Unavailable(_)) => {}
            Err(error) => return Err(error.into()),
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = draining.cancelled() => return Ok(None),
        }
    }
}

fn missing(plan: &Plan, found: &BTreeMap<String, u32>) -> Vec<String> {
    topics(plan).into_iter().map(|spec| spec.name).filter(|name| !found.contains_key(name)).collect()
}
