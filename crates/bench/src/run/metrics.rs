//! The figures of a run, from what was seen of it.
//!
//! *Owns*: the names of the metrics, and what each is made of. *Does not own*: what is seen, or what must hold.
//!
//! | metric | is |
//! |---|---|
//! | `throughput_per_s` | measured messages by the time of the measured part; where scaling is measured, the rate of its middle |
//! | `latency_*_s` | from the intended time of sending to the row as the reader saw it; of paced loads only |
//! | `drain_s` | from the intended time of the last message to the last row |
//! | `recovery_s` | a backlog: the time of the measured part; a kill: the longest pause of a partition since |
//! | `rss_peak_bytes`, `cpu_mean`, `cpu_peak` | of the worker that has the most |
//! | `rss_sum_peak_bytes`, `rss_chain_peak_bytes` | the sum of the peaks of the workers that ran together; the same of ingest, download and record |
//! | `helpers_share` | what generator, origin and reader took of all cores |

use std::collections::{BTreeMap, HashMap};

use longshore_core::time;

use super::session::{Sent, Session};
use super::{Context, fault::Fault};
use crate::failure::Failure;
use crate::follow::Arrival;
use crate::generator::Load;
use crate::look::{Records, key};
use crate::model::{Distribution, Generator, Ledger, Process, Repeat, together};
use crate::origin::Stats;
use crate::proc;
use crate::sampler::Seen;
use crate::suite::{Drive, Of, Spec};
use crate::times::Times;

/// A generator that is later than this with one message in a hundred has not kept its schedule, …
const LATE_S: f64 = 0.05;
/// … nor one that ever stood for so long, however short that is beside the whole run, …
const STOOD_S: f64 = 1.0;
/// … nor one that comes to less than this share of its rate, …
const RATE: f64 = 0.98;
/// … and is behind by more than this: the last acknowledgement is a part of its time.
const BEHIND_S: f64 = 0.5;
/// Helpers that take more than this share of a machine that is busier than that are what was measured.
const HELPERS: f64 = 0.5;
const BUSY: f64 = 0.95;
/// Messages of which each is followed through the topics; of longer runs the stages' times are not taken.
const FOLLOWED: u64 = 200_000;

/// What a run came to, once its sampler has stopped.
pub(super) struct Course {
    /// How long it took until the measured part.
    pub(super) warm_up_s: f64,
    pub(super) sent: Sent,
    /// The ends of the measured part, in microseconds since 1970.
    pub(super) begin_us: i64,
    pub(super) end_us: i64,
    /// What the origin counted since the measured part began.
    pub(super) origin: Stats,
    /// When a worker was killed, in microseconds since 1970.
    pub(super) killed_us: Option<i64>,
    /// Partitions of each download worker, where that is looked at.
    pub(super) shares: Vec<u64>,
    /// Messages a second in the middle of the run, where that is looked at.
    pub(super) steady_per_s: Option<f64>,
}

/// The records of a run's topics.
struct Topics {
    raw: Records,
    pending: Records,
    results: Records,
}

/// Ends a run and makes its figures.
pub(super) async fn repeat(session: Session<'_>, spec: &Spec, course: Course) -> Result<Repeat, Failure> {
    let context = session.context;
    let (seen, arrivals) = (session.sampler.seen(), session.follow.arrivals());
    let (latency, topics) = (session.follow.accounts(|accounts| accounts.latency()), topics(&session, &course).await?);
    let complaints = session.complaints.clone();
    let workers = spec.workers(context.options.tier);
    let (ledger, broken) = session.close(spec.load.of).await?;
    let mut metrics = BTreeMap::new();
    let mut add = |found: Vec<(&str, Option<f64>)>| {
        metrics.extend(found.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    };
    add(rates(spec, &course, &arrivals));
    add(latencies(latency.as_ref()));
    add(used(&seen.processes, &workers));
    add(counted(&course, &ledger));
    add(machine(&seen, course.duration_s()));
    add(vec![("recovery_s", recovery(spec, &course, &topics))]);
    if spec.drive == Drive::Soak {
        add(growth(&seen, &course, &arrivals));
    }
    let inconclusive = doubts(context, &course, &metrics);
    Ok(Repeat {
        started_at: time::format(course.begin_us),
        warm_up_s: course.warm_up_s,
        duration_s: course.duration_s(),
        latency,
        stage_latency: stages(spec, &course.sent, &topics, &arrivals)?,
        processes: seen.processes,
        samples: seen.samples,
        marks: seen.marks.into_iter().chain(complaints.into_iter().map(|what| crate::model::Mark { at_s: 0.0, what })).collect(),
        generator: Some(course.sent.generator.clone()),
        metrics,
        ledger,
        inconclusive,
        broken,
    })
}

impl Course {
    pub(super) fn duration_s(&self) -> f64 {
        ((self.end_us - self.begin_us) as f64 / 1e6).max(1e-6)
    }

    /// Messages that were really sent in the measured part.
    fn messages(&self) -> f64 {
        self.sent.generator.sent as f64
    }
}

/// Whether figures of several runs add up; of others the largest counts.
pub(super) fn is_sum(metric: &str) -> bool {
    matches!(metric, "lost" | "doubled" | "repeated_downloads" | "temp_files_left")
}

/// The rate between the first tenth and the last of these times (microseconds, in order).
pub(super) fn steady(ends: &[i64]) -> Option<f64> {
    let (from, to) = (ends.len() / 10, ends.len() * 9 / 10);
    let seconds = (ends.get(to)? - ends.get(from)?) as f64 / 1e6;
    (seconds > 0.0).then(|| (to - from) as f64 / seconds)
}

async fn topics(session: &Session<'_>, course: &Course) -> Result<Topics, Failure> {
    let (look, topics) = (session.look()?, &session.world.topics);
    if course.sent.plan.count > FOLLOWED {
        return Ok(Topics { raw: Records::new(), pending: Records::new(), results: Records::new() });
    }
    let (raw, pending) = (look.records(&topics.raw()).await?, look.records(&topics.pending()).await?);
    Ok(Topics { raw, pending, results: look.records(&topics.results()).await? })
}

fn rates(spec: &Spec, course: &Course, arrivals: &[Arrival]) -> Vec<(&'static str, Option<f64>)> {
    let whole = course.messages() / course.duration_s();
    let plan = &course.sent.plan;
    let last = plan.due_us(plan.first + plan.count.saturating_sub(1)).map(|due| course.sent.started_us + due);
    let seen = arrivals.iter().map(|arrival| arrival.seen_us).max();
    let drain = last.zip(seen).map(|(last, seen)| (seen - last) as f64 / 1e6);
    let backlog = (spec.drive == Drive::Backlog).then_some(course.messages());
    vec![
        ("throughput_per_s", Some(course.steady_per_s.unwrap_or(whole))),
        ("duration_s", Some(course.duration_s())),
        ("drain_s", drain),
        ("backlog_messages", backlog),
    ]
}

fn latencies(latency: Option<&Distribution>) -> Vec<(&'static str, Option<f64>)> {
    let at = |share: f64| latency.and_then(|latency| latency.at(share));
    vec![
        ("latency_p50_s", at(0.5)),
        ("latency_p95_s", at(0.95)),
        ("latency_p99_s", at(0.99)),
        ("latency_mean_s", latency.map(|latency| latency.mean_s)),
        ("latency_max_s", latency.map(|latency| latency.max_s)),
    ]
}

fn used(processes: &[Process], counts: &BTreeMap<String, u32>) -> Vec<(&'static str, Option<f64>)> {
    let workers: Vec<&Process> = processes.iter().filter(|process| process.worker).collect();
    let most = |of: fn(&Process) -> f64| Some(workers.iter().map(|process| of(process)).fold(0.0, f64::max));
    let sum = |of: fn(&Process) -> f64| together(processes, counts, of);
    let is_of_chain = |process: &Process| matches!(process.role.as_str(), "ingest" | "download" | "record" | "all");
    let of_chain = |process: &Process| if is_of_chain(process) { process.rss_peak_bytes as f64 } else { 0.0 };
    vec![
        ("rss_peak_bytes", most(|process| process.rss_peak_bytes as f64)),
        ("rss_mean_bytes", most(|process| process.rss_mean_bytes)),
        ("rss_sum_peak_bytes", sum(|process| process.rss_peak_bytes as f64)),
        ("rss_chain_peak_bytes", together(processes, counts, of_chain)),
        ("cpu_mean", most(|process| process.cpu_mean)),
        ("cpu_peak", most(|process| process.cpu_peak)),
        ("cpu_sum_mean", sum(|process| process.cpu_mean)),
    ]
}

fn counted(course: &Course, ledger: &Ledger) -> Vec<(&'static str, Option<f64>)> {
    let Course { sent, origin, shares, .. } = course;
    let asked = origin.served > 0;
    let again = origin.served.saturating_sub(sent.generator.sent) as f64;
    vec![
        ("lost", Some(ledger.missing as f64)),
        ("doubled", Some(ledger.doubled as f64)),
        ("temp_files_left", Some(ledger.left_over as f64)),
        ("concurrency_peak", asked.then_some(origin.at_once_max as f64)),
        ("repeated_downloads", asked.then_some(again)),
        ("partition_spread", spread(shares)),
    ]
}

/// How far the one that is farthest from the mean is from it, as a share of it.
fn spread(shares: &[u64]) -> Option<f64> {
    let mean = shares.iter().sum::<u64>() as f64 / shares.len() as f64;
    (mean > 0.0).then(|| shares.iter().map(|share| (*share as f64 - mean).abs() / mean).fold(0.0, f64::max))
}

fn machine(seen: &Seen, duration_s: f64) -> Vec<(&'static str, Option<f64>)> {
    let all = duration_s * f64::from(proc::cores());
    let share = |roles: &[&str]| {
        let mine = seen.processes.iter().filter(|process| roles.contains(&process.role.as_str()));
        Some(mine.map(|process| process.cpu_s).sum::<f64>() / all)
    };
    vec![
        ("machine_busy", Some(seen.machine_busy)),
        ("helpers_share", share(&["generator", "origin", "reader"])),
        ("broker_share", share(&["broker"])),
    ]
}

/// How long work took to go on: that of a backlog, or of the partitions of a worker that was killed.
fn recovery(spec: &Spec, course: &Course, topics: &Topics) -> Option<f64> {
    if spec.drive == Drive::Backlog {
        return Some(course.duration_s());
    }
    let killed = course.killed_us?;
    let mut by_partition: HashMap<u32, Vec<i64>> = HashMap::new();
    for (key, result) in &topics.results {
        let Some(task) = topics.pending.get(key) else { continue };
        by_partition.entry(task.partition).or_default().extend((result.at_us > killed).then_some(result.at_us));
    }
    by_partition
        .into_values()
        .map(|ends| longest_pause(killed, ends))
        .fold(None, |most, one| Some(most.map_or(one, |most: f64| most.max(one))))
}

fn longest_pause(from: i64, mut ends: Vec<i64>) -> f64 {
    ends.push(from);
    ends.sort_unstable();
    ends.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / 1e6).fold(0.0, f64::max)
}

/// The times that each stage took of the messages, by the times at which the log took their records: `send` from the
/// intended time to the event in the log, then `ingest`, `download`, and `record` to the row that was seen. Of a stage that
/// worked alone its own, since the others came later.
fn stages(spec: &Spec, sent: &Sent, topics: &Topics, arrivals: &[Arrival]) -> Result<BTreeMap<String, Distribution>, Failure> {
    let (load, mut times) = (Load::new(&sent.plan)?, BTreeMap::<&str, Times>::new());
    for Arrival { number, seen_us } in arrivals.iter().take(if topics.results.is_empty() { 0 } else { usize::MAX }) {
        let key = key(load.expected(*number).trace_id.as_bytes());
        let at = |records: &Records| records.get(&key).map(|record| record.at_us);
        let intended = sent.plan.due_us(*number).map(|due| sent.started_us + due);
        let (event, task, result) = (at(&topics.raw), at(&topics.pending), at(&topics.results));
        let stretches =
            [("send", intended, event), ("ingest", event, task), ("download", task, result), ("record", result, Some(*seen_us))];
        for (stage, from, to) in stretches {
            if let Some((from, to)) = from.zip(to) {
                times.entry(stage).or_default().add_us(to - from);
            }
        }
    }
    let mine = |stage: &str| match spec.drive {
        Drive::Stage(role) => role.name() == stage,
        Drive::Scaling(_) => stage == "download",
        _ => true,
    };
    let told = times.into_iter().filter(|(stage, _)| mine(stage));
    Ok(told.filter_map(|(stage, times)| Some((stage.to_owned(), times.distribution()?))).collect())
}

/// What a soak is about: memory and latency late in the run beside those early in it.
fn growth(seen: &Seen, course: &Course, arrivals: &[Arrival]) -> Vec<(&'static str, Option<f64>)> {
    let tenth = |nth: f64, name: &str| {
        let (from, to) = (course.duration_s() * nth / 10.0, course.duration_s() * (nth + 1.0) / 10.0);
        let inside = seen.samples.iter().filter(|sample| sample.at_s >= from && sample.at_s < to);
        let sizes: Vec<f64> = inside.filter_map(|sample| sample.rss_bytes.get(name).map(|bytes| *bytes as f64)).collect();
        (!sizes.is_empty()).then(|| sizes.iter().sum::<f64>() / sizes.len() as f64)
    };
    let workers = seen.processes.iter().filter(|process| process.worker);
    let grown = workers.filter_map(|process| Some(tenth(9.0, &process.name)? - tenth(1.0, &process.name)?));
    let p95 = |quarter: u64| {
        let (plan, mut times) = (&course.sent.plan, Times::default());
        let range = plan.count * quarter / 4..plan.count * (quarter + 1) / 4;
        for arrival in arrivals.iter().filter(|arrival| range.contains(&arrival.number)) {
            times.add_us(arrival.seen_us - course.sent.started_us - plan.due_us(arrival.number).unwrap_or(0));
        }
        times.at(0.95)
    };
    let latency = p95(3).zip(p95(1)).map(|(late, early)| (late / early - 1.0).max(0.0));
    vec![
        ("rss_growth_bytes", grown.fold(None, |most: Option<f64>, one| Some(most.map_or(one, |m| m.max(one))))),
        ("latency_p95_growth", latency),
    ]
}

/// Why a run says nothing, by rules that are the same for all.
fn doubts(context: &Context<'_>, course: &Course, metrics: &BTreeMap<String, f64>) -> Vec<String> {
    let mut doubts = schedule(&course.sent);
    let (helpers, busy) = (metrics.get("helpers_share").copied(), metrics.get("machine_busy").copied());
    if let Some((helpers, busy)) = helpers.zip(busy).filter(|(helpers, busy)| *helpers > HELPERS && *busy > BUSY) {
        let (helpers, busy) = (helpers * 100.0, busy * 100.0);
        doubts.push(format!("generator, origin and reader took {helpers:.0} % of a machine that was {busy:.0} % busy: it was they that were measured"));
    }
    if context.options.fault == Some(Fault::StallGenerator) && course.sent.plan.rate_per_s.is_none() {
        doubts.push("a load without a schedule cannot be late".to_owned());
    }
    doubts
}

/// Whether a paced load came as it was meant to.
fn schedule(sent: &Sent) -> Vec<String> {
    let Some(rate) = sent.plan.rate_per_s else { return Vec::new() };
    let Generator { late_p99_s, late_max_s, rate_per_s, .. } = sent.generator;
    let mut doubts = Vec::new();
    if let Some(late) = late_p99_s.filter(|late| *late > LATE_S) {
        let (late, bound) = (late * 1_000.0, LATE_S * 1_000.0);
        doubts.push(format!(
            "the generator did not keep its schedule: one message in a hundred was {late:.0} ms late or more, above {bound:.0} ms"
        ));
    }
    if let Some(late) = late_max_s.filter(|late| *late > STOOD_S) {
        doubts.push(format!("the generator did not keep its schedule: a message was {late:.1} s late, above {STOOD_S:.0} s"));
    }
    let behind_s = sent.plan.count as f64 / rate_per_s - sent.plan.count as f64 / rate;
    if behind_s > BEHIND_S && rate_per_s < rate * RATE {
        doubts.push(format!("the generator came to {rate_per_s:.0} messages a second of {rate:.0}"));
    }
    doubts
}

/// Whether objects are compared with their rows.
pub(super) fn has_objects(of: Of) -> bool {
    of != Of::Results
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steady_rate_is_that_of_the_middle() {
        // A slow start, 1,000 in a second, a slow end.
        let ends: Vec<i64> = (0..1_000).map(|n| n * 1_000).chain([9_000_000]).collect();
        let rate = steady(&ends).expect("a rate");
        assert!((rate - 1_000.0).abs() < 5.0, "{rate}");
        assert_eq!(steady(&[1]), None);
    }

    #[test]
    fn a_pause_is_the_longest_between_two_ends() {
        assert!((longest_pause(0, vec![500_000, 11_500_000, 11_600_000]) - 11.0).abs() < 1e-9);
        assert!(longest_pause(0, Vec::new()).abs() < 1e-9);
    }

    #[test]
    fn shares_are_even_or_not() {
        assert_eq!(spread(&[3, 3, 3, 3]), Some(0.0));
        assert_eq!(spread(&[2, 2, 8]), Some(1.0));
        assert_eq!(spread(&[]), None);
    }
}
