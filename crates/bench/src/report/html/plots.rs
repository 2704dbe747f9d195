//! What is drawn of a benchmark.

use std::collections::BTreeMap;

use super::svg::{Across, Line, POINTS, Plot, along_shares, thinned};
use crate::analysis::steps;
use crate::figures::Unit;
use crate::model::{Benchmark, Repeat, Sample};
use crate::report::facts::at_once;

/// Roles have the same colour everywhere.
const ROLES: [&str; 9] = ["ingest", "download", "retry", "record", "broker", "origin", "generator", "reader", "all"];

/// All pictures of a benchmark; empty where it was not sampled.
pub(super) fn pictures(benchmark: &Benchmark) -> String {
    let Some((at, repeat)) = shown(benchmark) else { return String::new() };
    let of =
        if benchmark.repeats.len() > 1 { format!("Repeat {} of {}.", at + 1, benchmark.repeats.len()) } else { String::new() };
    let thin = if repeat.samples.len() > POINTS { " Each point is the highest of its neighbours." } else { "" };
    let note = format!("{of}{thin}");
    let figures = [
        scaling(benchmark).figure(""),
        percentiles(benchmark).figure(""),
        rates(repeat).figure(&note),
        lag(repeat).figure(&note),
        cpu(repeat).figure(&note),
        memory(repeat).figure(&note),
    ];
    let all = figures.concat();
    if all.is_empty() { all } else { format!("<div class=\"plots\">\n{all}</div>\n") }
}

/// The repeat that is drawn over time: where something was done, else the one of middle length.
fn shown(benchmark: &Benchmark) -> Option<(usize, &Repeat)> {
    let mut all: Vec<(usize, &Repeat)> = benchmark.repeats.iter().enumerate().collect();
    all.sort_by(|(_, a), (_, b)| a.duration_s.total_cmp(&b.duration_s));
    all.iter().find(|(_, repeat)| !repeat.marks.is_empty()).or_else(|| all.get(all.len() / 2)).copied()
}

fn slot(role: &str) -> usize {
    ROLES.iter().position(|known| *known == role).unwrap_or(ROLES.len())
}

fn line(name: &str, slot: usize, points: Vec<(f64, f64)>) -> Line {
    Line { name: name.to_owned(), slot, ideal: false, points: thinned(points) }
}

fn plot(title: &str, across: Across, unit: &str, lines: Vec<Line>) -> Plot {
    Plot { title: title.to_owned(), across, unit: unit.to_owned(), lines, marks: Vec::new() }
}

fn over_time(repeat: &Repeat, title: &str, unit: &str, lines: Vec<Line>) -> Plot {
    let marks = repeat.marks.iter().map(|mark| (mark.at_s, mark.what.clone())).collect();
    Plot { marks, ..plot(title, Across::Time, unit, lines) }
}

fn percentiles(benchmark: &Benchmark) -> Plot {
    let several = benchmark.repeats.len() > 1;
    let curve = |(at, repeat): (usize, &Repeat)| {
        let seen = repeat.latency.as_ref()?;
        let name = if several { format!("repeat {}", at + 1) } else { "end to end".to_owned() };
        let points = seen.quantiles.iter().map(|(share, seconds)| (along_shares(*share), *seconds));
        Some(line(&name, [7, 5, 6][at % 3], points.collect()))
    };
    let mut lines: Vec<Line> = benchmark.repeats.iter().enumerate().filter_map(curve).collect();
    lines.extend(benchmark.repeats.first().into_iter().flat_map(|repeat| &repeat.stage_latency).map(|(stage, seen)| {
        let points = seen.quantiles.iter().map(|(share, seconds)| (along_shares(*share), *seconds));
        Line { ideal: true, ..line(&format!("in {stage}"), slot(stage), points.collect()) }
    }));
    plot("Latency by share of the messages", Across::Shares, "s", lines)
}

fn rates(repeat: &Repeat) -> Plot {
    let rate = |of: &dyn Fn(&Sample) -> Option<u64>| {
        let pair = |pair: &[Sample]| {
            let (from, to) = (of(&pair[0])?, of(&pair[1])?);
            let seconds = pair[1].at_s - pair[0].at_s;
            (seconds > 0.0).then(|| (pair[1].at_s, to.saturating_sub(from) as f64 / seconds))
        };
        repeat.samples.windows(2).filter_map(pair).collect::<Vec<_>>()
    };
    let sent = rate(&|sample| sample.sent);
    let rows = rate(&|sample| Some(sample.rows));
    let sent = (!sent.is_empty()).then(|| line("sent", 5, sent));
    over_time(repeat, "Messages a second", "/s", sent.into_iter().chain([line("rows seen", 0, rows)]).collect())
}

fn lag(repeat: &Repeat) -> Plot {
    let mut stages: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    for sample in &repeat.samples {
        for (stage, lag) in &sample.lag {
            stages.entry(stage).or_default().push((sample.at_s, *lag as f64));
        }
    }
    let lines = stages.into_iter().map(|(stage, points)| line(stage, slot(stage), points)).collect();
    over_time(repeat, "Messages waiting before each stage", "messages", lines)
}

fn cpu(repeat: &Repeat) -> Plot {
    let shares = |sample: &Sample| sample.cpu.iter().map(|(name, share)| (name.clone(), *share)).collect();
    per_role(repeat, "Processor by role (100 % is one core)", Unit::Cores, shares)
}

fn memory(repeat: &Repeat) -> Plot {
    let bytes = |sample: &Sample| sample.rss_bytes.iter().map(|(name, bytes)| (name.clone(), *bytes as f64)).collect();
    per_role(repeat, "Resident memory by role", Unit::Bytes, bytes)
}

/// The sum of each role's processes, over time.
fn per_role(repeat: &Repeat, title: &str, unit: Unit, of: impl Fn(&Sample) -> Vec<(String, f64)>) -> Plot {
    let mut roles: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    let named: BTreeMap<&str, &str> = repeat.processes.iter().map(|one| (one.name.as_str(), one.role.as_str())).collect();
    for sample in &repeat.samples {
        let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
        for (name, value) in of(sample) {
            if let Some(role) = named.get(name.as_str()) {
                *sums.entry(role).or_default() += unit.scaled(value);
            }
        }
        for (role, sum) in sums {
            roles.entry(role).or_default().push((sample.at_s, sum));
        }
    }
    let name = |role: &str| match at_once(repeat, role) {
        0 | 1 => role.to_owned(),
        count => format!("{role} ({count} processes)"),
    };
    let lines = roles.into_iter().map(|(role, points)| line(&name(role), slot(role), points)).collect();
    over_time(repeat, title, unit.name(), lines)
}

fn scaling(benchmark: &Benchmark) -> Plot {
    let steps = steps(benchmark);
    let base = steps.first().map_or(1.0, |step| f64::from(step.workers));
    let per_worker = steps.first().and_then(|step| step.per_s).map(|per_s| per_s / base);
    // Without rates, multiples of what the fewest workers do.
    let (unit, of_one) = per_worker.map_or(("×", 1.0), |rate| ("/s", rate));
    let points = |efficient: bool| {
        let value = |step: &crate::analysis::Step| {
            let linear = f64::from(step.workers) * of_one;
            (f64::from(step.workers), if efficient { step.per_s.unwrap_or(linear * step.efficiency) } else { linear })
        };
        steps.iter().map(value).collect::<Vec<_>>()
    };
    let lines = if steps.is_empty() {
        vec![]
    } else {
        vec![Line { ideal: true, ..line("linear", 2, points(false)) }, line("measured", 0, points(true))]
    };
    plot("Throughput by number of workers", Across::Workers, unit, lines)
}
