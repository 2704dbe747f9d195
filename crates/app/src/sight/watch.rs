//! The lag, sampled, and the watchdog that looks at it.
//!
//! One sample at a time, at most every [`EVERY`], given up after [`LONGEST`]; its failure is counted and stops nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use longshore_core::health::{Stage, Waiting, Watchdog, work_waits};
use longshore_stages::ports::LogView;
use prometheus::{Registry, Result};
use tokio::task::JoinSet;

use super::board::Part;
use super::names::{self, Metric};
use super::observed::{self, Values};
use super::{Shared, Sight, lanes, lock};
use crate::chain::{self, Standing};
use crate::pipeline::{Plan, Role, Roles, World};
use crate::place::Lane;
use crate::walk::Moment;

/// How often the lag is sampled.
const EVERY: Duration = Duration::from_secs(5);
/// The least time between two looks of the watchdog.
const LEAST: Duration = Duration::from_millis(100);
/// The longest that a sample may take.
const LONGEST: Duration = Duration::from_secs(10);

/// What is watched.
pub(crate) struct Watched {
    /// The log, as an onlooker.
    pub(crate) view: Arc<dyn LogView>,
    /// The sources.
    pub(crate) lanes: Vec<Lane>,
    /// The work of this process.
    pub(crate) roles: Roles,
    /// The longest that record lets a row wait on purpose.
    pub(crate) freshness: Duration,
    /// How long work may wait without anything being completed.
    pub(crate) patience: Duration,
}

/// Watches until it is dropped.
pub(crate) struct Watch(#[allow(dead_code, reason = "its drop ends the task")] JoinSet<()>);

impl Watch {
    /// Starts to watch.
    pub(crate) fn start(sight: Arc<Sight>, watched: Watched) -> Self {
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { watched.run(&sight).await });
        Watch(tasks)
    }
}

impl Watched {
    /// What there is to watch in this world when these roles run.
    pub(crate) fn of(world: &World, plan: &Plan, roles: &Roles, patience: Duration) -> Self {
        Watched {
            view: world.view.clone(),
            lanes: plan.place.lanes.clone(),
            roles: roles.clone(),
            freshness: plan.gather.freshness.max(plan.gather_events.freshness),
            patience,
        }
    }

    async fn run(self, sight: &Sight) {
        let mut watchdog = Watchdog::new(self.patience);
        let mut every = tokio::time::interval((self.patience / 4).clamp(LEAST, EVERY));
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut was = None;
        loop {
            every.tick().await;
            self.sample(sight).await;
            let stalled = watchdog.look(self.work_waits(sight), sight.completed(), sight.board.now());
            sight.board.set_stalled(stalled);
            if stalled.is_some() != was.is_some() {
                tell(stalled, self.patience);
            }
            was = stalled;
        }
    }

    /// Takes in where the stages of this process stand; on a failure the last values stay.
    pub(super) async fn sample(&self, sight: &Sight) {
        match tokio::time::timeout(LONGEST, self.standings()).await {
            Ok(Ok(standings)) => {
                sight.board.answered(Part::Log);
                sight.lag.set(standings);
            }
            Ok(Err(error)) => sight.lag.missed(&error),
            Err(_) => sight.lag.missed(&"it took too long"),
        }
    }

    async fn standings(&self) -> anyhow::Result<Vec<Standing>> {
        let moment = Moment::of(self.view.as_ref()).await?;
        let mut standings = Vec::new();
        for lane in &self.lanes {
            standings.extend(chain::standings(self.view.as_ref(), &moment, lane, |link| self.roles.has(link.role)).await);
        }
        Ok(standings)
    }

    /// Whether anything waits that this process could do now.
    fn work_waits(&self, sight: &Sight) -> bool {
        let (standings, assigned) = (lock(&sight.lag.standings), lock(&sight.assigned));
        let ours = |one: &&Standing| assigned.contains(&(one.link.group.clone(), one.state.partition.clone()));
        lock(&sight.lanes).iter().any(|(source, progress)| {
            let waiting = standings.iter().filter(|one| one.source == *source).filter(ours);
            let waiting: Vec<Waiting> = waiting.map(|one| self.waiting(one)).collect();
            work_waits(&waiting, lanes::downloads(progress))
        })
    }

    fn waiting(&self, standing: &Standing) -> Waiting {
        let role = standing.link.role;
        Waiting {
            records: standing.waiting(),
            oldest: standing.oldest.map(|micros| Duration::from_micros(micros.unsigned_abs())),
            may_lie: if role == Role::Record { self.freshness } else { standing.link.delay },
            stage: if role == Role::Download { Stage::Download } else { Stage::Other },
        }
    }
}

fn tell(stalled: Option<Duration>, patience: Duration) {
    match stalled {
        Some(_) => tracing::warn!(
            stalled_after_ms = patience.as_millis() as u64,
            "work waits and nothing is completed: not ready until something is"
        ),
        None => tracing::info!("work is completed again: ready"),
    }
}

/// Where the stages of this process stood last.
#[derive(Clone, Default)]
pub(super) struct Lag {
    standings: Shared<Vec<Standing>>,
    samples: Arc<AtomicU64>,
    missed: Arc<AtomicU64>,
}

impl Lag {
    pub(super) fn register(&self, registry: &Registry) -> Result<()> {
        let lag = self.clone();
        let metrics = &[names::LAG, names::LAG_SECONDS, names::LAG_SAMPLES];
        observed::register(registry, metrics, Box::new(move |metric| lag.values(metric)))
    }

    fn set(&self, standings: Vec<Standing>) {
        self.samples.fetch_add(1, Relaxed);
        *lock(&self.standings) = standings;
    }

    fn missed(&self, error: &dyn std::fmt::Display) {
        self.missed.fetch_add(1, Relaxed);
        tracing::debug!(%error, "the lag could not be sampled");
    }

    fn values(&self, metric: &Metric) -> Values {
        if metric.name == names::LAG_SAMPLES.name {
            let count = |result: &str, count: &AtomicU64| (vec![result.to_owned()], count.load(Relaxed) as f64);
            return vec![count("ok", &self.samples), count("error", &self.missed)];
        }
        let seconds = metric.name == names::LAG_SECONDS.name;
        let value = |one: &Standing| match (seconds, one.waiting()) {
            (false, waiting) => Some(waiting as f64),
            (true, 0) => Some(0.0),
            // Of a record that cannot be read nobody knows the age.
            (true, _) => one.oldest.map(|micros| micros as f64 / 1e6),
        };
        lock(&self.standings).iter().filter_map(|one| Some((labels(one), value(one)?))).collect()
    }
}

fn labels(standing: &Standing) -> Vec<String> {
    let partition = &standing.state.partition;
    vec![standing.source.clone(), standing.link.name.clone(), partition.topic.to_string(), partition.index.to_string()]
}
