//! The benchmarks by name: what each loads, who works, what must hold, and how much of it each tier takes.
//!
//! *Owns*: the table ([`SUITE`]), its sizes and its targets. *Does not own*: how a benchmark is run ([`crate::run`]).
//!
//! The names, loads and targets are those of the requirements; budgets are Longshore's own, harder aims, which stand beside
//! them and make no verdict.

mod table;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{Asker, Category, Good, Load, Target, Tier};

pub use table::SUITE;

/// One benchmark of the suite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spec {
    /// Its name.
    pub name: &'static str,
    /// What it measures, in a sentence.
    pub description: &'static str,
    /// The chapter of the report.
    pub category: Category,
    /// What is sent at full size.
    pub load: Given,
    /// How the load meets the workers.
    pub drive: Drive,
    /// The processes under test.
    pub cast: Cast,
    /// What must hold.
    pub targets: &'static [Aim],
    /// In which tiers it is.
    pub place: Place,
}

/// What is sent at full size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Given {
    /// Messages.
    pub messages: u64,
    /// What they are.
    pub of: Of,
    /// Messages a second by schedule; none is as fast as possible.
    pub rate_per_s: Option<f64>,
    /// Of each file.
    pub file_bytes: u64,
    /// Before the first byte of each answer.
    pub origin_delay: Duration,
}

/// What messages are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// Events from outside: the whole chain works on them.
    Events,
    /// Tasks as ingest makes them.
    Tasks,
    /// Results as download makes them.
    Results,
}

impl Of {
    /// As the report has it.
    pub fn name(self) -> &'static str {
        match self {
            Of::Events => "events",
            Of::Tasks => "tasks",
            Of::Results => "results",
        }
    }
}

/// How the load meets the workers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Drive {
    /// One stage works alone until it has put out everything; then the others finish, so that the accounts can be made.
    Stage(Role),
    /// All work while the load comes; it ends with the last row.
    Chain,
    /// The load waits in the log before the workers start.
    Backlog,
    /// One run for each number of download workers.
    Scaling(&'static [u32]),
    /// A download worker is killed at half-way.
    Kill,
    /// One run for each number of download workers, with so many messages.
    Groups(&'static [(u32, u64)]),
    /// All workers stop at half-way and start again.
    Restart,
    /// The load goes on for as long as is asked.
    Soak,
}

/// A worker's role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Events to tasks.
    Ingest,
    /// Tasks to files.
    Download,
    /// Tasks that wait.
    Retry,
    /// Results to rows.
    Record,
    /// All of it in one process.
    All,
}

impl Role {
    /// As it is written and shown.
    pub fn name(self) -> &'static str {
        match self {
            Role::Ingest => "ingest",
            Role::Download => "download",
            Role::Retry => "retry",
            Role::Record => "record",
            Role::All => "all",
        }
    }
}

/// How many processes of each role, and what they may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cast {
    /// Processes of each role.
    pub workers: &'static [(Role, u32)],
    /// Downloads in flight in each.
    pub in_flight: u32,
    /// Partitions of the topics of events and tasks.
    pub partitions: u32,
}

/// Something that must hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Aim {
    /// The metric.
    pub metric: &'static str,
    /// Which side is good.
    pub good: Good,
    /// The bound.
    pub value: f64,
    /// Who asks.
    pub from: Asker,
}

/// In which tiers a benchmark is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Place {
    /// In every tier; in the fast one at this share of its full size.
    Short(f64),
    /// From the full tier on.
    Long,
    /// In the release tier only.
    Release,
}

/// Repeats of a benchmark that is short, where it is not run once.
const REPEATS: u32 = 3;
/// Worker counts of the full tier go up to this.
const FULL_WORKERS: u32 = 12;

impl Spec {
    /// Whether it belongs to a tier.
    pub fn is_in(&self, tier: Tier) -> bool {
        match self.place {
            Place::Short(_) => true,
            Place::Long => tier != Tier::Fast,
            Place::Release => tier == Tier::Release,
        }
    }

    /// The share of the full size that a tier takes.
    pub fn scale(&self, tier: Tier) -> f64 {
        match self.place {
            Place::Short(share) if tier == Tier::Fast => share,
            _ => 1.0,
        }
    }

    /// How often a tier runs it: short ones thrice, long ones once. In the fast tier short ones run once too, but ingest, whose
    /// measured part is a tenth of a second: one such says little.
    pub fn repeats(&self, tier: Tier) -> u32 {
        let once = tier == Tier::Fast && self.drive != Drive::Stage(Role::Ingest);
        if matches!(self.place, Place::Short(_)) && !once { REPEATS } else { 1 }
    }

    /// Whether one process can do it: then it runs on the embedded log too.
    pub fn fits_one_process(&self) -> bool {
        matches!(self.drive, Drive::Chain | Drive::Soak)
    }

    /// The load at this share of the full size.
    pub fn load(&self, scale: f64) -> Load {
        let given = self.load;
        let files = given.of != Of::Results;
        Load {
            messages: scaled(given.messages, scale),
            of: given.of.name().to_owned(),
            rate_per_s: given.rate_per_s,
            file_bytes: files.then_some(given.file_bytes),
            origin_delay_s: files.then_some(given.origin_delay.as_secs_f64()),
            scale,
        }
    }

    /// What must hold.
    pub fn targets(&self) -> Vec<Target> {
        let target = |aim: &Aim| Target { metric: aim.metric.to_owned(), good: aim.good, value: aim.value, from: aim.from };
        self.targets.iter().map(target).collect()
    }

    /// The numbers of download workers that a tier tries; empty where the benchmark is about something else.
    pub fn worker_counts(&self, tier: Tier) -> Vec<u32> {
        let Drive::Scaling(counts) = self.drive else { return Vec::new() };
        counts.iter().copied().filter(|count| tier == Tier::Release || *count <= FULL_WORKERS).collect()
    }

    /// The processes under test, by role; of a benchmark that tries several numbers, the highest.
    pub fn workers(&self, tier: Tier) -> BTreeMap<String, u32> {
        let meant = self.cast.workers.iter().filter(|(role, _)| !matches!(self.drive, Drive::Stage(one) if one != *role));
        let mut workers: BTreeMap<String, u32> = meant.map(|(role, count)| (role.name().to_owned(), *count)).collect();
        let most = match self.drive {
            Drive::Scaling(_) => self.worker_counts(tier).into_iter().max(),
            Drive::Groups(groups) => groups.iter().map(|(count, _)| *count).max(),
            _ => None,
        };
        if let Some(most) = most {
            workers.insert(Role::Download.name().to_owned(), most);
        }
        workers
    }
}

/// A share of a number of messages, at least one.
pub fn scaled(messages: u64, scale: f64) -> u64 {
    ((messages as f64 * scale).round() as u64).max(1)
}

/// The benchmark of this name.
pub fn find(name: &str) -> Option<&'static Spec> {
    SUITE.iter().find(|spec| spec.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The template does not mark these long.
    const SHORT: [&str; 9] = [
        "event_ingestion_throughput",
        "download_worker_throughput",
        "result_processor_throughput",
        "end_to_end_latency",
        "latency_under_load",
        "latency_percentiles",
        "memory_usage_under_load",
        "download_concurrency",
        "cpu_usage_under_load",
    ];

    fn names(tier: Tier) -> Vec<&'static str> {
        SUITE.iter().filter(|spec| spec.is_in(tier)).map(|spec| spec.name).collect()
    }

    #[test]
    fn each_tier_has_what_it_should() {
        assert_eq!(names(Tier::Fast), SHORT);
        assert_eq!(names(Tier::Release).len(), 17);
        let full = names(Tier::Full);
        assert!(full.len() == 16 && !full.contains(&"soak"), "{full:?}");
        let scaling = find("horizontal_scaling").expect("it is there");
        assert_eq!(scaling.worker_counts(Tier::Full), [1, 3, 6, 12]);
        assert_eq!(scaling.worker_counts(Tier::Release), [1, 3, 6, 12, 20]);
        assert_eq!(scaling.workers(Tier::Full).get("download"), Some(&12));
    }

    #[test]
    fn names_are_unique_and_every_benchmark_asks_for_something() {
        let unique: std::collections::BTreeSet<_> = SUITE.iter().map(|spec| spec.name).collect();
        assert_eq!(unique.len(), SUITE.len());
        for spec in SUITE {
            let asked = spec.targets().iter().any(|target| target.from == Asker::Requirement);
            assert!(asked, "{} asks for nothing", spec.name);
            assert!(!spec.cast.workers.is_empty() && spec.load(0.0).messages == 1, "{}", spec.name);
        }
    }

    #[test]
    fn a_scaled_load_says_so() {
        let spec = find("latency_under_load").expect("it is there");
        let load = spec.load(spec.scale(Tier::Fast));
        assert!(load.scale < 1.0 && load.messages < 10_000, "{load:?}");
        assert_eq!((spec.load(1.0).messages, spec.load(1.0).rate_per_s), (10_000, Some(2_000.0)));
        assert_eq!((spec.repeats(Tier::Fast), spec.repeats(Tier::Full)), (1, 3));
    }
}
