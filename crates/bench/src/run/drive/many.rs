//! One run for each number of download workers, put together into one.

use std::collections::BTreeMap;
use std::time::Instant;

use super::{chain, course, opened, seconds, stage};
use crate::failure::Failure;
use crate::model::{Generator, Ledger, Mark, Process, Repeat, Sample};
use crate::run::session::WARM_UP;
use crate::run::{Context, metrics, scale};
use crate::suite::{Role, Spec, scaled};

/// Above this the machine is the limit, and more workers cannot add what it does not have.
const MACHINE_BUSY: f64 = 0.9;
/// The share of linear that is asked for.
const GOOD: f64 = 0.8;
/// What is measured of each number of workers, and kept under its name.
const KEPT: [&str; 5] = ["throughput_per_s", "machine_busy", "partition_spread", "concurrency_peak", "cpu_sum_mean"];

/// How the rate grows with the number of workers.
pub(super) async fn scaling(context: &Context<'_>, spec: &Spec) -> Result<Repeat, Failure> {
    let mut parts = Vec::new();
    for count in spec.worker_counts(context.options.tier) {
        context.news.progress(&format!("{} with {count} workers", spec.name));
        parts.push((count, scaled_to(context, spec, count).await?));
    }
    let mut repeat = joined(parts);
    efficiency(&mut repeat, &spec.worker_counts(context.options.tier));
    Ok(repeat)
}

/// How evenly groups share their partitions.
pub(super) async fn groups(context: &Context<'_>, spec: &Spec, groups: &[(u32, u64)]) -> Result<Repeat, Failure> {
    let mut parts = Vec::new();
    for (count, messages) in groups {
        context.news.progress(&format!("{} with {count} workers", spec.name));
        let workers: Vec<(Role, u32)> =
            spec.cast.workers.iter().map(|(role, n)| (*role, if *role == Role::Download { *count } else { *n })).collect();
        let messages = scaled(*messages, scale(spec, context.options));
        parts.push((*count, chain::with(context, spec, &workers, messages).await?));
    }
    let mut repeat = joined(parts);
    // Of each, or it was not measured.
    let of = |(count, _): &(u32, u64)| repeat.metrics.get(&format!("partition_spread_w{count}")).copied();
    let spreads: Option<Vec<f64>> = groups.iter().map(of).collect();
    let spread = spreads.and_then(|spreads| spreads.into_iter().reduce(f64::max));
    repeat.metrics.remove("partition_spread");
    repeat.metrics.extend(spread.map(|spread| ("partition_spread".to_owned(), spread)));
    Ok(repeat)
}

/// Tasks wait for so many download workers; the rate is that of the middle, when all have work.
async fn scaled_to(context: &Context<'_>, spec: &Spec, count: u32) -> Result<Repeat, Failure> {
    let mut session = opened(context, spec).await?;
    let since = Instant::now();
    for _ in 0..count {
        session.start(Role::Download).await?;
    }
    let look = session.look()?;
    let Some((topic, counter)) = stage::output(&session, &look, Role::Download) else {
        return Err(Failure::Late("download puts nothing out".to_owned()));
    };
    session.warm_up_into(spec, &counter, Role::Download).await?;
    session.settled(count).await?;
    let warm_up_s = seconds(since);
    let messages = scaled(spec.load.messages, scale(spec, context.options)) * u64::from(count);
    let sent = stage::alone(&mut session, spec, messages).await?;
    session.records(&counter, WARM_UP + sent.generator.sent, Role::Download).await?;
    session.sampler.finish();
    let ends = stage::appended(&look, &topic).await?;
    let mut course = course(&session, warm_up_s, sent, ends.last().copied().unwrap_or(0)).await?;
    course.steady_per_s = metrics::steady(&ends);
    session.start(Role::Record).await?;
    session.rows().await?;
    metrics::repeat(session, spec, course).await
}

/// What N workers do, of N times what one does; up to the machine's limit, which is named: the first number that stays
/// below [`GOOD`] on a machine that is busy.
fn efficiency(repeat: &mut Repeat, counts: &[u32]) {
    let get = |name: String| repeat.metrics.get(&name).copied().unwrap_or(0.0);
    let rate = |count: u32| get(format!("throughput_per_s_w{count}"));
    let Some(first) = counts.first().copied().filter(|first| rate(*first) > 0.0) else { return };
    let of = |count: u32| rate(count) / rate(first) * f64::from(first) / f64::from(count);
    let is_limit = |count: &&u32| get(format!("machine_busy_w{count}")) > MACHINE_BUSY && of(**count) < GOOD;
    let limit = counts.iter().find(is_limit).copied();
    let within: Vec<u32> = counts.iter().copied().take_while(|count| Some(*count) != limit).collect();
    let mut found: BTreeMap<String, f64> = counts.iter().map(|count| (format!("efficiency_w{count}"), of(*count))).collect();
    if within.len() > 1 || limit.is_none() {
        found.insert("efficiency".to_owned(), within.iter().map(|count| of(*count)).fold(f64::INFINITY, f64::min));
    } else {
        repeat
            .inconclusive
            .push("the machine was at its limit with the second number of workers: it has no room to scale in".to_owned());
    }
    if let Some(limit) = limit {
        let busy = get(format!("machine_busy_w{limit}")) * 100.0;
        found.insert("limit_workers".to_owned(), f64::from(limit));
        repeat.marks.push(Mark { at_s: repeat.duration_s, what: format!("limit: CPU, {busy:.0} % busy with {limit} workers") });
    }
    repeat.metrics.extend(found);
}

/// Puts runs together: one after the other in time, processes under names of their own.
fn joined(parts: Vec<(u32, Repeat)>) -> Repeat {
    let mut whole = super::nothing(String::new());
    whole.inconclusive.clear();
    for (count, part) in parts {
        let shift = whole.duration_s;
        if shift == 0.0 {
            whole.started_at = part.started_at.clone();
        }
        whole.marks.push(Mark { at_s: shift, what: format!("{count} worker{}", if count == 1 { "" } else { "s" }) });
        whole.marks.extend(part.marks.into_iter().map(|mark| Mark { at_s: mark.at_s + shift, ..mark }));
        whole
            .samples
            .extend(part.samples.into_iter().filter(|sample| sample.at_s >= 0.0).map(|sample| renamed(sample, count, shift)));
        whole.processes.extend(part.processes.into_iter().map(|process| Process { name: name(count, &process.name), ..process }));
        for (metric, value) in part.metrics {
            if KEPT.contains(&metric.as_str()) {
                whole.metrics.insert(format!("{metric}_w{count}"), value);
            }
            let of_all = whole.metrics.entry(metric.clone()).or_insert(0.0);
            *of_all = if metrics::is_sum(&metric) { *of_all + value } else { of_all.max(value) };
        }
        whole.inconclusive.extend(part.inconclusive);
        whole.broken.extend(part.broken);
        // The stages' times and the schedule are those of the last part, the messages those of all.
        whole.stage_latency = part.stage_latency;
        let before = whole.generator.map_or(0, |generator| generator.sent);
        whole.generator = part.generator.map(|generator| Generator { sent: generator.sent + before, ..generator });
        whole.ledger = sum(&whole.ledger, &part.ledger);
        whole.warm_up_s += part.warm_up_s;
        whole.duration_s += part.duration_s;
    }
    whole
}

fn name(count: u32, name: &str) -> String {
    format!("w{count}/{name}")
}

fn renamed(sample: Sample, count: u32, shift: f64) -> Sample {
    let cpu = sample.cpu.into_iter().map(|(process, share)| (name(count, &process), share)).collect();
    let rss_bytes = sample.rss_bytes.into_iter().map(|(process, bytes)| (name(count, &process), bytes)).collect();
    Sample { at_s: sample.at_s + shift, cpu, rss_bytes, ..sample }
}

fn sum(one: &Ledger, other: &Ledger) -> Ledger {
    Ledger {
        produced: one.produced + other.produced,
        stored: one.stored + other.stored,
        failed: one.failed + other.failed,
        doubled: one.doubled + other.doubled,
        missing: one.missing + other.missing,
        strange: one.strange + other.strange,
        wrong_hash: one.wrong_hash + other.wrong_hash,
        objects_checked: one.objects_checked + other.objects_checked,
        left_over: one.left_over + other.left_over,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(count: u32, per_s: f64, busy: f64) -> (u32, Repeat) {
        let mut repeat = super::super::nothing(String::new());
        repeat.inconclusive.clear();
        repeat.duration_s = 2.0;
        repeat.metrics = [("throughput_per_s".to_owned(), per_s), ("machine_busy".to_owned(), busy)].into();
        repeat.ledger = Ledger { produced: u64::from(count), stored: u64::from(count), ..Ledger::default() };
        (count, repeat)
    }

    #[test]
    fn efficiency_is_that_of_the_worst_number_that_the_machine_has_room_for() {
        let mut repeat = joined(vec![part(1, 100.0, 0.2), part(3, 270.0, 0.5), part(6, 300.0, 0.95)]);
        efficiency(&mut repeat, &[1, 3, 6]);
        let get = |name: &str| repeat.metrics.get(name).copied();
        assert!(
            (get("efficiency").expect("some") - 0.9).abs() < 1e-9 && (get("efficiency_w6").expect("some") - 0.5).abs() < 1e-9
        );
        assert_eq!((get("limit_workers"), get("throughput_per_s_w3")), (Some(6.0), Some(270.0)));
        assert!(repeat.marks.iter().any(|mark| mark.what == "limit: CPU, 95 % busy with 6 workers"), "{:?}", repeat.marks);
        assert!(repeat.ledger.holds() && repeat.ledger.produced == 10 && (repeat.duration_s - 6.0).abs() < 1e-9);
    }

    #[test]
    fn a_machine_without_room_says_nothing_about_scaling() {
        let mut repeat = joined(vec![part(1, 100.0, 0.99), part(3, 200.0, 0.99)]);
        efficiency(&mut repeat, &[1, 3]);
        assert!(!repeat.metrics.contains_key("efficiency") && repeat.inconclusive.len() == 1);
    }
}
