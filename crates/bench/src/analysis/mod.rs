//! What the figures mean: which stage limits each benchmark, what follows from it, and what is to be done.
//!
//! *Owns*: the rules, [`RULES`]; every conclusion names the one it stands on and the figures. *Does not own*: verdicts;
//! how conclusions are shown. Nothing is concluded that no rule says.

mod advice;
mod evidence;
mod limits;
mod scaling;

use serde::Serialize;

use crate::model::Report;
use crate::verdict::{Judged, Overruled};

pub use evidence::Evidence;
pub use limits::{Cause, Limit};
pub use scaling::{Step, steps};

/// A wait before a stage below this many seconds is no queue that stands.
pub const STANDING_S: f64 = 1.0;
/// The mean share of a run's messages that wait before the stage that limits it, at least.
pub const STANDING_SHARE: f64 = 0.05;
/// From here on a machine, a core or a limit counts as used up.
pub const SATURATED: f64 = 0.9;

/// Whether a machine, a core or a limit is used up. A mean of shares that are exactly there may come out a hair below.
fn used_up(share: f64) -> bool {
    share >= SATURATED - 1e-9
}

/// The share of linear scaling that is asked for.
pub const LINEAR: f64 = 0.8;
/// From here on those who help (generator, origin, broker, reader) take enough of the machine to be named.
pub const HELPERS: f64 = 0.3;

/// A rule by which something is concluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// What conclusions cite.
    pub id: &'static str,
    /// What it says.
    pub says: &'static str,
}

/// Every rule, in the order of their ids.
pub const RULES: &[Rule] = &[
    Rule {
        id: "Q1",
        says: "Little's law: the wait before a stage is its mean lag divided by the throughput. As fast as possible, the stage \
               with the most messages before it (5 % of all or more, on average) is the one that limits.",
    },
    Rule { id: "Q2", says: "By schedule, a stage limits when the wait before it, by the same law, is 1 s or more." },
    Rule { id: "Q3", says: "Where no queue stands and there is no schedule, the role with the busiest process limits." },
    Rule {
        id: "Q4",
        says: "By schedule and without a standing queue, the schedule limits. What would come next is the role whose process is \
               busiest; what most of the latency is spent in is the stage with the highest mean.",
    },
    Rule { id: "C1", says: "The cause is the machine's processor when all cores together are 90 % busy or more, on average." },
    Rule {
        id: "C2",
        says: "The cause is the limit of downloads in flight when throughput × the origin's delay (Little's law: what is in flight \
               at least) is 90 % of it or more.",
    },
    Rule {
        id: "C3",
        says: "The cause is one core when each process of the stage takes 90 % of one or more, and C1 does not hold.",
    },
    Rule {
        id: "C4",
        says: "Otherwise the stage waits for something outside it: the log's acknowledgements, the disk, or the origin.",
    },
    Rule {
        id: "O1",
        says: "The role with the most CPU seconds per 1,000 messages is where work pays; where the processor is the limit, halving \
               it gives at most 1 ÷ (1 − share ÷ 2).",
    },
    Rule {
        id: "O2",
        says: "What helps to measure is named when it takes 30 % of the busy time or more: elsewhere it would not.",
    },
    Rule {
        id: "O3",
        says: "The stage with the largest share of the mean latency is where latency can be won, at most its share.",
    },
    Rule { id: "O4", says: "A budget that is missed is an opportunity: the margin says how much." },
    Rule {
        id: "S1",
        says: "Efficiency is throughput divided by that of the fewest workers, times the ratio of workers; 80 % of linear is asked \
               for, up to where the machine is 90 % busy.",
    },
    Rule { id: "S2", says: "More cores help where C1 holds; one core suffices for throughput ÷ busy cores." },
    Rule {
        id: "U1",
        says: "The utilisation law: of a part shorter than 2 s, which samples of a second do not show, the busy share of a process \
               is its CPU seconds divided by the time of that part; nothing is said of queues and of the machine, and the role \
               with the busiest process limits.",
    },
    Rule { id: "A1", says: "What is not PASS is to be dealt with at once: the ledger first, then load, then targets." },
];

/// A conclusion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about, such as `download`.
    pub about: String,
    /// What is the case, with its figures.
    pub text: String,
    /// What follows from it, or how much could be won.
    pub effect: String,
    /// What could be done, or how urgent it is.
    pub answer: String,
    /// The ids of the rules.
    pub rules: Vec<&'static str>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Advice {
    /// In a sentence or two, with the figures.
    pub text: String,
    /// The ids of the rules.
    pub rules: Vec<&'static str>,
}

/// Everything that is concluded from a report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Analysis {
    /// For each benchmark that ran, in the order of the report, by its name.
    pub limits: Vec<(String, Limit)>,
    /// Stages that limit.
    pub bottlenecks: Vec<Finding>,
    /// What could be won where; `answer` is the priority.
    pub opportunities: Vec<Finding>,
    /// More workers.
    pub horizontal: Advice,
    /// More processor and memory.
    pub vertical: Advice,
    /// What is used up.
    pub resources: Advice,
    /// What to do now.
    pub immediate: Vec<Advice>,
    /// What to do later.
    pub future: Vec<Advice>,
}

impl Analysis {
    /// What limits this benchmark.
    pub fn limit_of(&self, name: &str) -> Option<&Limit> {
        self.limits.iter().find(|(of, _)| of == name).map(|(_, limit)| limit)
    }
}

/// Concludes from a report and its verdicts.
pub fn analyse(report: &Report, judged: &Judged) -> Analysis {
    let mut seen: Vec<Evidence<'_>> = report.benchmarks.iter().filter_map(|benchmark| Evidence::of(report, benchmark)).collect();
    let limits: Vec<(String, Limit)> = seen.iter().map(|one| (one.benchmark.name.clone(), limits::limit(one))).collect();
    // A run that says nothing has its limit shown, but nothing follows from it.
    seen.retain(|one| judged.of(&one.benchmark.name).is_some_and(|judged| judged.overruled != Some(Overruled::Load)));
    let opportunities = advice::opportunities(report, judged, &seen, &limits);
    Analysis {
        bottlenecks: advice::bottlenecks(judged, &seen, &limits),
        horizontal: scaling::horizontal(report, &seen),
        vertical: advice::vertical(report, &seen),
        resources: advice::resources(report, &seen),
        immediate: advice::immediate(report, judged, &limits),
        future: advice::future(report, &opportunities),
        opportunities,
        limits,
    }
}
