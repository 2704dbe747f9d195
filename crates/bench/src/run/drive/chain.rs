//! All work while the load comes, until the last row is seen; and what may be done to them at half-way.

use std::time::Instant;

use super::{course, last_row, messages, opened, seconds};
use crate::failure::Failure;
use crate::ledger::Phase;
use crate::model::Repeat;
use crate::process::{Signal, Worker};
use crate::run::session::Session;
use crate::run::{Context, metrics, now_us};
use crate::suite::{Drive, Role, Spec};

pub(super) async fn run(context: &Context<'_>, spec: &Spec) -> Result<Repeat, Failure> {
    with(context, spec, spec.cast.workers, messages(spec, context.options)).await
}

/// The same with these workers and so many messages.
pub(super) async fn with(context: &Context<'_>, spec: &Spec, workers: &[(Role, u32)], count: u64) -> Result<Repeat, Failure> {
    let mut session = opened(context, spec).await?;
    let since = Instant::now();
    session.start_all(workers).await?;
    session.warm_up(spec).await?;
    let plan = session.plan(spec, "m", count, spec.load.rate_per_s)?;
    let warm_up_s = seconds(since);
    session.origin.reset().await?;
    let mut sending = session.send(plan, Phase::Measured)?;
    session.started(&mut sending).await?;
    let killed_us = disturbed(&mut session, spec, workers, count).await?;
    let sent = session.sent(sending).await?;
    session.rows().await?;
    session.sampler.finish();
    let end_us = last_row(&session, &sent);
    let shared = if matches!(spec.drive, Drive::Groups(_)) { Some(shares(&session).await?) } else { None };
    let mut course = course(&session, warm_up_s, sent, end_us).await?;
    (course.killed_us, course.shares) = (killed_us, shared.unwrap_or_default());
    metrics::repeat(session, spec, course).await
}

/// Partitions of tasks that each download worker has.
async fn shares(session: &Session<'_>) -> Result<Vec<u64>, Failure> {
    let look = session.look()?;
    look.shares(&session.world.topics.download_group()).await
}

/// What is done at half-way; when a worker was killed, in microseconds since 1970.
async fn disturbed(session: &mut Session<'_>, spec: &Spec, workers: &[(Role, u32)], count: u64) -> Result<Option<i64>, Failure> {
    let half = super::super::session::WARM_UP + count / 2;
    match spec.drive {
        Drive::Kill => {
            session.wait("half of the rows", move |session| Ok(session.follow.counter().rows() >= half)).await?;
            Ok(Some(kill(session).await?))
        }
        Drive::Restart => {
            session.wait("half of the rows", move |session| Ok(session.follow.counter().rows() >= half)).await?;
            restart(session, workers).await?;
            Ok(None)
        }
        _ => Ok(None),
    }
}

/// Kills one download worker as a crash would. Nobody takes its place: the others take its partitions.
async fn kill(session: &mut Session<'_>) -> Result<i64, Failure> {
    let victim = session.workers.iter().position(|worker| worker.role == Role::Download);
    let victim = victim.ok_or_else(|| Failure::Late("no download worker runs".to_owned()))?;
    let worker: Worker = session.workers.remove(victim);
    session.sampler.mark(format!("kill {}", worker.name));
    let at = now_us();
    worker.signal(Signal::KILL);
    worker.kill().await;
    Ok(at)
}

/// Lets all workers end in order, and starts as many again.
async fn restart(session: &mut Session<'_>, workers: &[(Role, u32)]) -> Result<(), Failure> {
    session.sampler.mark("stop all workers".to_owned());
    session.stop_workers().await;
    session.sampler.mark("start all workers".to_owned());
    session.start_all(workers).await
}
