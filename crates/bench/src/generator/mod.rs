//! The generator: sends the messages of a plan, in a process of its own, and tells how it kept its schedule.
//!
//! *Owns*: the schedule, and what counts as sent (what was acknowledged). *Does not own*: what becomes of the messages: the
//! schedule is kept whatever that is (open loop), so that a slow system cannot slow its own load down.
//!
//! ```text
//! plan ─▶ pace ─▶ kafka: librdkafka's queue [≤ 64 MiB], acknowledged by all in sync ─▶ counted
//!              └▶ http:  [≤ 8 batches of ≤ 500] ─▶ 4 connections, POST /v1/events/{source} ─▶ 202: counted
//! ```
//! A full queue holds the generator up; then it is late, and says so.

mod http;
mod kafka;
mod load;
mod pace;
mod plan;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::{lifeline, model};

pub use load::{Expected, Load, expected};
use pace::{Course, Sent};
pub use plan::{GeneratorPlan, Kind, Stall, Target};

/// How often progress is told.
const EVERY: Duration = Duration::from_secs(1);

/// What a generator tells, one JSON object a line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Told {
    /// At the end.
    Done {
        /// What it came to.
        done: model::Generator,
        /// The intended time of the first message, in microseconds since 1970.
        started_unix_us: i64,
        /// Whether it was told to end before its last message.
        stopped: bool,
    },
    /// Before the first message.
    Started {
        /// The intended time of the first message, in microseconds since 1970.
        started_unix_us: i64,
    },
    /// Each second.
    Sent {
        /// Messages that were acknowledged so far.
        sent: u64,
    },
}

/// Sends the messages of a plan and prints what it has to tell ([`Told`]) on standard output. Ends early when standard
/// input is closed.
///
/// # Errors
/// When the plan is none, nobody can be reached, messages are refused, or nobody reads what it prints.
pub async fn generate(plan: GeneratorPlan) -> Result<(), Error> {
    let stop = CancellationToken::new();
    let mut running = std::pin::pin!(run(plan, stop.clone(), print));
    tokio::select! {
        done = &mut running => return done,
        () = lifeline::closed() => stop.cancel(),
    }
    running.await
}

fn print(told: &Told) -> Result<(), Error> {
    let line = serde_json::to_string(told).unwrap_or_default();
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(Error::io("cannot say how far the generator is"))
}

/// The same within a process: stops when told to, and tells `tell`.
///
/// # Errors
/// As [`generate`], and those of `tell`.
pub async fn run(
    plan: GeneratorPlan,
    stop: CancellationToken,
    mut tell: impl FnMut(&Told) -> Result<(), Error>,
) -> Result<(), Error> {
    let load = Load::new(&plan)?;
    let stop = stop.child_token();
    // Whoever drops this future wants no more messages.
    let _stops = stop.clone().drop_guard();
    let (course, mut started) = Course::new(stop);
    let mut sending = tokio::spawn(send(load, course.clone()));
    let mut tick = tokio::time::interval_at(tokio::time::Instant::now() + EVERY, EVERY);
    let mut waiting = true;
    loop {
        tokio::select! {
            began = &mut started, if waiting => {
                waiting = false;
                if let Ok(started_unix_us) = began {
                    tell(&Told::Started { started_unix_us })?;
                }
            }
            _ = tick.tick() => tell(&Told::Sent { sent: course.sent.load(Relaxed) })?,
            ended = &mut sending => {
                return tell(&told(ended.map_err(broken_down)??));
            }
        }
    }
}

async fn send(load: Load, course: Arc<Course>) -> Result<Sent, Error> {
    match load.plan().to.clone() {
        Target::Http { url, token } => http::send(load, &url, token, &course).await,
        Target::Kafka { brokers, properties } => {
            // A thread of its own: a schedule of fractions of milliseconds is not the runtime's.
            let sending = move || kafka::send(&load, &brokers, &properties, &course);
            tokio::task::spawn_blocking(sending).await.map_err(broken_down)?
        }
    }
}

fn broken_down(error: JoinError) -> Error {
    Error::Refused(format!("the generator broke down: {error}"))
}

fn told(sent: Sent) -> Told {
    let Sent { count, seconds, late, started_unix_us, stopped } = sent;
    let done = model::Generator {
        sent: count,
        late_p99_s: late.at(0.99),
        late_max_s: late.max_s(),
        rate_per_s: count as f64 / seconds.max(1e-6),
    };
    Told::Done { done, started_unix_us, stopped }
}
