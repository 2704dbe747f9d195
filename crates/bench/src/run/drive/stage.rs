//! A stage alone, as fast as it can; then the others, so that each message has a row and the ledger can be made.

use std::sync::Arc;
use std::time::Instant;

use super::{course, last_row, messages, opened, others, seconds};
use crate::failure::Failure;
use crate::ledger::Phase;
use crate::look::{Counter, Look};
use crate::model::Repeat;
use crate::run::session::{Session, WARM_UP, forget_topics};
use crate::run::{Context, metrics};
use crate::suite::{Role, Spec, find, scaled};

/// Events that wake a broker.
const WAKING: u64 = 60_000;

pub(super) async fn run(context: &Context<'_>, spec: &Spec, role: Role) -> Result<Repeat, Failure> {
    let mut session = opened(context, spec).await?;
    let since = Instant::now();
    session.start(role).await?;
    let look = session.look()?;
    match output(&session, &look, role) {
        Some((topic, counter)) => {
            session.warm_up_into(spec, &counter, role).await?;
            let warm_up_s = seconds(since);
            let sent = alone(&mut session, spec, messages(spec, context.options)).await?;
            session.records(&counter, WARM_UP + sent.generator.sent, role).await?;
            session.sampler.finish();
            let (inputs, outputs) = (appended(&look, &input(&session, role)).await?, appended(&look, &topic).await?);
            let mut course = course(&session, warm_up_s, sent, outputs.last().copied().unwrap_or(0)).await?;
            course.begin_us = inputs.first().copied().unwrap_or(course.begin_us);
            for role in others(role) {
                session.start(role).await?;
            }
            session.rows().await?;
            metrics::repeat(session, spec, course).await
        }
        None => {
            session.warm_up(spec).await?;
            let warm_up_s = seconds(since);
            let sent = alone(&mut session, spec, messages(spec, context.options)).await?;
            session.rows().await?;
            session.sampler.finish();
            let end_us = last_row(&session, &sent);
            let course = course(&session, warm_up_s, sent, end_us).await?;
            metrics::repeat(session, spec, course).await
        }
    }
}

/// Lets a broker that has just started work for a while: its code is compiled while it runs, and the first benchmark would be
/// measured on a slower one than the others.
pub(in crate::run) async fn wake(context: &Context<'_>) -> Result<(), Failure> {
    let Some(spec) = find("event_ingestion_throughput") else { return Ok(()) };
    let mut session = opened(context, spec).await?;
    session.start(Role::Ingest).await?;
    let look = session.look()?;
    let counter = look.counter(session.world.topics.pending());
    let count = scaled(WAKING, context.options.scale);
    let plan = session.plan(spec, "w", count, None)?;
    let sending = session.send(plan, Phase::WarmUp)?;
    session.sent(sending).await?;
    session.records(&counter, count, Role::Ingest).await?;
    session.stop_workers().await;
    forget_topics(&session.world.log, session.world.source()).await;
    Ok(())
}

/// The topic that a stage writes to; none for the one that writes rows.
pub(super) fn output(session: &Session<'_>, look: &Arc<Look>, role: Role) -> Option<(String, Counter)> {
    let topics = &session.world.topics;
    let topic = match role {
        Role::Ingest => topics.pending(),
        Role::Download => topics.results(),
        _ => return None,
    };
    Some((topic.clone(), look.counter(topic)))
}

/// The topic that a stage reads.
fn input(session: &Session<'_>, role: Role) -> String {
    let topics = &session.world.topics;
    if role == Role::Ingest { topics.raw() } else { topics.pending() }
}

/// When the log took the records of a topic, in order, without those of the warm-up: both ends of a stage by one clock.
pub(super) async fn appended(look: &Look, topic: &str) -> Result<Vec<i64>, Failure> {
    let mut times: Vec<i64> = look.records(topic).await?.values().map(|record| record.at_us).collect();
    times.sort_unstable();
    Ok(times.split_off(times.len().min(WARM_UP as usize)))
}

/// Sends the measured load to a stage that waits for it.
pub(super) async fn alone(session: &mut Session<'_>, spec: &Spec, count: u64) -> Result<crate::run::session::Sent, Failure> {
    let plan = session.plan(spec, "m", count, spec.load.rate_per_s)?;
    session.origin.reset().await?;
    let sending = session.send(plan, Phase::Measured)?;
    session.sent(sending).await
}
