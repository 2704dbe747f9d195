//! How one run of a benchmark goes, by how its load meets the workers.
//!
//! *Owns*: the order of things in a run, and where its measured part begins and ends. *Does not own*: what is started and
//! awaited ([`super::session`]), what figures are made of it ([`super::metrics`]).
//!
//! | drive | measured from | to |
//! |---|---|---|
//! | a stage alone | its first input in the log | its last output in the log, or its last row seen |
//! | the chain | the first message sent, or intended to be | the last row seen |
//! | a backlog | the start of the workers | the last row seen |

mod backlog;
mod chain;
mod many;
mod stage;

use std::time::Instant;

use super::metrics::Course;
use super::session::{Sent, Session};
use super::{Context, Options, nothing, scale};
use crate::failure::Failure;
use crate::model::{Load, Repeat};
use crate::suite::{Drive, Role, Spec, scaled};
use crate::world::Wanted;

pub(super) use stage::wake;

/// One run of a benchmark. Whatever goes wrong, it says so itself.
pub(super) async fn one(context: &Context<'_>, spec: &Spec) -> Repeat {
    let ran = match spec.drive {
        Drive::Stage(role) => stage::run(context, spec, role).await,
        Drive::Chain | Drive::Kill | Drive::Restart | Drive::Soak => chain::run(context, spec).await,
        Drive::Backlog => backlog::run(context, spec).await,
        Drive::Scaling(_) => many::scaling(context, spec).await,
        Drive::Groups(groups) => many::groups(context, spec, groups).await,
    };
    ran.unwrap_or_else(|failure| match failure {
        died @ Failure::Died { .. } => Repeat { broken: vec![died.to_string()], ..nothing("it broke off".to_owned()) },
        failure => nothing(failure.to_string()),
    })
}

/// The load of one run.
pub(super) fn load(spec: &Spec, options: &Options) -> Load {
    let mut load = spec.load(scale(spec, options));
    load.messages = messages(spec, options);
    load
}

/// Messages of one run, of all of its parts.
pub(super) fn messages(spec: &Spec, options: &Options) -> u64 {
    let scale = scale(spec, options);
    match spec.drive {
        Drive::Soak => scaled((options.soak.as_secs_f64() * spec.load.rate_per_s.unwrap_or(1.0)) as u64, options.scale),
        Drive::Scaling(_) => {
            let workers: u32 = spec.worker_counts(options.tier).iter().sum();
            scaled(spec.load.messages, scale) * u64::from(workers)
        }
        Drive::Groups(groups) => groups.iter().map(|(_, messages)| scaled(*messages, scale)).sum(),
        _ => scaled(spec.load.messages, scale),
    }
}

/// A new world for a run.
async fn opened<'a>(context: &'a Context<'a>, spec: &Spec) -> Result<Session<'a>, Failure> {
    let Spec { cast, .. } = spec;
    let wanted = Wanted { source: context.name(), partitions: cast.partitions, in_flight: cast.in_flight };
    Session::open(context, wanted, spec.drive).await
}

/// What a run came to, once its sampler has stopped.
async fn course(session: &Session<'_>, warm_up_s: f64, sent: Sent, end_us: i64) -> Result<Course, Failure> {
    let (origin, begin_us) = (session.origin.stats().await?, sent.started_us);
    Ok(Course { warm_up_s, sent, begin_us, end_us, origin, killed_us: None, shares: Vec::new(), steady_per_s: None })
}

/// When the last row was seen, in microseconds since 1970.
fn last_row(session: &Session<'_>, sent: &Sent) -> i64 {
    session.follow.arrivals().iter().map(|arrival| arrival.seen_us).max().unwrap_or(sent.started_us)
}

/// The roles that a stage working alone leaves to do.
fn others(role: Role) -> Vec<Role> {
    let chain = [Role::Ingest, Role::Download, Role::Record];
    chain.into_iter().skip_while(|one| *one != role).skip(1).collect()
}

fn seconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64()
}
