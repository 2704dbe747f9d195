//! The stage that limits a benchmark, and why: rules Q1 to Q4 and C1 to C4.

use serde::Serialize;

use super::evidence::{Evidence, highest};
use super::{STANDING_S, STANDING_SHARE, used_up};
use crate::figures::{Unit, number};

/// What limits a benchmark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Limit {
    /// The stage or role, such as `download`; `schedule` where the load was less than could be done; `unknown` without figures.
    pub stage: String,
    /// Why.
    pub cause: Cause,
    /// The figures that it stands on.
    pub figures: String,
    /// The ids of the rules.
    pub rules: Vec<&'static str>,
}

/// Why a stage limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// It does not: the load was met.
    Schedule,
    /// All cores of the machine are busy.
    Processor,
    /// No more downloads may be in flight.
    InFlight,
    /// Its process takes a whole core.
    OneCore,
    /// It waits for the log, the disk or the origin.
    Waiting,
}

impl Limit {
    /// In a few words, such as `download (the machine's processor)`.
    pub fn words(&self) -> String {
        match self.cause {
            Cause::Schedule => "none, the load was met".to_owned(),
            cause => format!("{} ({})", self.stage, cause.words()),
        }
    }
}

impl Cause {
    /// In a few words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Schedule => "the schedule",
            Self::Processor => "the machine's processor",
            Self::InFlight => "its limit of downloads in flight",
            Self::OneCore => "one core",
            Self::Waiting => "waiting for the log, the disk or the origin",
        }
    }
}

/// What limits this benchmark.
pub(super) fn limit(seen: &Evidence<'_>) -> Limit {
    if let Some((stage, figures, rule)) = standing(seen) {
        return because(seen, stage, figures, rule);
    }
    let busiest = seen.busiest();
    if seen.benchmark.load.rate_per_s.is_some() {
        return met(seen, busiest);
    }
    match busiest {
        Some((role, _)) if seen.short => because(seen, role, "it was too short to see a queue".to_owned(), "U1"),
        Some((role, _)) => because(seen, role, "no queue stands".to_owned(), "Q3"),
        None => Limit {
            stage: "unknown".to_owned(),
            cause: Cause::Waiting,
            figures: "no process was sampled".to_owned(),
            rules: vec!["Q3", "C4"],
        },
    }
}

/// The stage before which a queue stands, by Q1 or Q2.
fn standing<'a>(seen: &'a Evidence<'_>) -> Option<(&'a str, String, &'static str)> {
    let (stage, lag) = highest(&seen.lag)?;
    let wait_s = lag / seen.mean_per_s.max(1e-9);
    let share = lag / seen.benchmark.load.messages.max(1) as f64;
    let paced = seen.benchmark.load.rate_per_s.is_some();
    let stands = if paced { wait_s >= STANDING_S } else { share >= STANDING_SHARE };
    let figures = format!(
        "{} messages wait before it on average, {} at {}",
        number(lag),
        Unit::Seconds.show(wait_s),
        Unit::PerSecond.show(seen.mean_per_s)
    );
    stands.then_some((stage, figures, if paced { "Q2" } else { "Q1" }))
}

/// A schedule that was kept, by Q4.
fn met(seen: &Evidence<'_>, busiest: Option<(&str, f64)>) -> Limit {
    let next = busiest.map(|(role, busy)| format!("{role} is busiest, with {} of a core", Unit::Cores.show(busy)));
    let slowest = highest(&seen.stage_mean_s)
        .map(|(stage, mean)| format!("most of the time is spent in {stage}, {} on average", Unit::Seconds.show(mean)));
    let longest = highest(&seen.lag).map_or(0.0, |(_, lag)| lag / seen.throughput_per_s.max(1e-9));
    let queue = format!("the longest wait before a stage is {}", Unit::Seconds.show(longest));
    Limit {
        stage: "schedule".to_owned(),
        cause: Cause::Schedule,
        figures: [Some(queue), next, slowest].into_iter().flatten().collect::<Vec<_>>().join("; "),
        rules: vec!["Q4"],
    }
}

/// The cause, by C1 to C4.
fn because(seen: &Evidence<'_>, stage: &str, figures: String, rule: &'static str) -> Limit {
    let (cause, why, by) = cause(seen, stage);
    Limit { stage: stage.to_owned(), cause, figures: format!("{figures}; {why}"), rules: vec![rule, by] }
}

fn cause(seen: &Evidence<'_>, stage: &str) -> (Cause, String, &'static str) {
    let role = role_of(seen, stage);
    let busy = role.and_then(|role| seen.busy.get(role)).copied();
    if let Some(machine) = seen.machine_busy.filter(|busy| used_up(*busy)) {
        let roles: Vec<String> = seen
            .cores_taken
            .iter()
            .filter(|(_, taken)| **taken >= 0.01)
            .map(|(role, taken)| format!("{role} {}", Unit::Cores.show(*taken)))
            .collect();
        let taken = format!("the machine is {} busy (of one core: {})", Unit::Share.show(machine), roles.join(", "));
        return (Cause::Processor, taken, "C1");
    }
    if let Some(figures) = in_flight_used(seen, stage) {
        return (Cause::InFlight, figures, "C2");
    }
    let shown = busy.map_or("its processes were not sampled".to_owned(), |busy| {
        format!("its busiest process takes {} of a core", Unit::Cores.show(busy))
    });
    match busy {
        Some(busy) if used_up(busy) => (Cause::OneCore, shown, "C3"),
        _ => (Cause::Waiting, shown, "C4"),
    }
}

/// The role that does a stage's work: that of its name, or the one for all.
fn role_of<'a>(seen: &'a Evidence<'_>, stage: &'a str) -> Option<&'a str> {
    [stage, "all"].into_iter().find(|role| seen.busy.contains_key(*role))
}

/// What is in flight at least, where it comes to the limit.
fn in_flight_used(seen: &Evidence<'_>, stage: &str) -> Option<String> {
    let delay = seen.benchmark.load.origin_delay_s.filter(|_| stage == "download")?;
    let workers = ["download", "all"].iter().find_map(|role| seen.benchmark.workers.get(*role)).copied().unwrap_or(1);
    let limit = seen.in_flight? * f64::from(workers.max(1));
    let in_flight = seen.throughput_per_s * delay;
    used_up(in_flight / limit).then(|| {
        format!(
            "{} × {} = {} in flight at least, of {} that may be",
            Unit::PerSecond.show(seen.throughput_per_s),
            Unit::Seconds.show(delay),
            number(in_flight),
            number(limit)
        )
    })
}
