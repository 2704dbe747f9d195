//! Two reports beside each other.

#![allow(clippy::unwrap_used)]

mod fixtures;

use fixtures::*;
use longshore_bench::compare::{Change, Comparison, compare, differences, merged};
use longshore_bench::model::*;

/// A report of one benchmark with one metric, whose target is always met.
fn of(metric: &str, values: &[f64]) -> Report {
    report_of(vec![with("b", target(metric, Good::AtLeast, 0.0), values)])
}

fn changed(metric: &str, base: f64, new: f64) -> Change {
    compare(&of(metric, &[base]), &of(metric, &[new])).change
}

#[test]
fn thresholds_are_those_of_the_requirements_and_hold_to_the_digit() {
    use Change::{Failure, Fine, Warning};
    for (metric, base, cases) in [
        ("throughput_per_s", 1_000.0, [(1_500.0, Fine), (900.0, Fine), (899.9, Warning), (800.0, Warning), (799.9, Failure)]),
        ("throughput_per_s_w12", 30.0, [(60.0, Fine), (27.0, Fine), (26.9, Warning), (24.0, Warning), (23.9, Failure)]),
        ("latency_p95_s", 0.2, [(0.1, Fine), (0.23, Fine), (0.2301, Warning), (0.26, Warning), (0.2601, Failure)]),
        ("rss_peak_bytes", 1e8, [(5e7, Fine), (1.2e8, Fine), (1.2001e8, Warning), (1.4e8, Warning), (1.4001e8, Failure)]),
        ("rss_chain_peak_bytes", 1e8, [(5e7, Fine), (1.2e8, Fine), (1.2001e8, Warning), (1.4e8, Warning), (1.4001e8, Failure)]),
        ("latency_p99_s", 0.2, [(0.1, Fine), (0.3, Fine), (1.0, Fine), (9.0, Fine), (99.0, Fine)]),
        ("rss_growth_bytes", 1e3, [(0.0, Fine), (1e4, Fine), (1e5, Fine), (1e6, Fine), (1e7, Fine)]),
    ] {
        for (new, expected) in cases {
            assert_eq!(changed(metric, base, new), expected, "{metric}: {base} to {new}");
        }
    }
    assert_eq!(changed("latency_p95_s", 0.0, 1.0), Fine, "nothing is a share of zero");
}

#[test]
fn medians_are_compared_and_noise_is_told() {
    let (base, new) = (of("throughput_per_s", &[1_000.0, 700.0, 1_040.0]), of("throughput_per_s", &[500.0, 870.0, 880.0]));
    let comparison = compare(&base, &new);
    let metric = &comparison.benchmarks[0].metrics[0];
    assert_eq!((metric.base.median, metric.new.median, metric.change, metric.overlaps), (1_000.0, 870.0, Change::Warning, true));
    assert_eq!(metric.shown_change(), "−13 %");
    assert_eq!(metric.shown_sides(), ("1,000/s".to_owned(), "870/s".to_owned()));
    let apart = compare(&base, &of("throughput_per_s", &[500.0]));
    assert!(!apart.benchmarks[0].metrics[0].overlaps);
}

#[test]
fn what_says_nothing_or_lost_something_is_not_compared_in_silence() {
    let note = |comparison: &Comparison| comparison.benchmarks[0].note.clone().unwrap();
    let good = of("throughput_per_s", &[1_000.0]);
    let mut late = good.clone();
    late.benchmarks[0].repeats[0].inconclusive.push("the generator was late".to_owned());
    let mut wrong = good.clone();
    wrong.benchmarks[0].repeats[0].ledger.doubled = 1;
    for (base, new, change, word) in [
        (&good, &late, Change::Warning, "new is INCONCLUSIVE: the generator was late"),
        (&late, &good, Change::Warning, "base is INCONCLUSIVE"),
        (&good, &wrong, Change::Failure, "1 doubled"),
        (&wrong, &good, Change::Warning, "base: the ledger"),
        (&late, &wrong, Change::Failure, "1 doubled"),
    ] {
        let comparison = compare(base, new);
        assert_eq!(comparison.change, change, "{word}");
        assert!(note(&comparison).contains(word) && comparison.benchmarks[0].metrics.is_empty(), "{comparison:?}");
    }
}

#[test]
fn a_benchmark_that_is_gone_warns_and_a_new_one_does_not() {
    let (one, other) = (of("throughput_per_s", &[1.0]), report_of(vec![with("c", target("m", Good::AtLeast, 0.0), &[1.0])]));
    let both = report_of([one.benchmarks.clone(), other.benchmarks.clone()].concat());
    assert_eq!(compare(&both, &one).change, Change::Warning);
    assert_eq!(compare(&one, &both).change, Change::Fine);
    assert_eq!(compare(&one, &other).change, Change::Warning);
    assert_eq!(compare(&report(), &report()).change, Change::Warning, "nothing is no good news");
}

#[test]
fn other_machines_tiers_scales_and_configurations_are_named() {
    type Change = fn(&mut Report);
    let changes: [(&str, Change); 18] = [
        ("processor", |r| r.environment.processor.push('x')),
        ("cores", |r| r.environment.cores = 4),
        ("memory", |r| r.environment.memory_bytes /= 2),
        ("storage", |r| r.environment.storage = "ext4, on a disk".to_owned()),
        ("network", |r| r.environment.network = "10 Gbit/s".to_owned()),
        ("operating system", |r| r.environment.os.push('x')),
        ("version of kafka", |r| drop(r.environment.versions.insert("kafka".to_owned(), "3.9.0".to_owned()))),
        ("tier", |r| r.tier = Tier::Fast),
        ("log", |r| r.settings.log = "embedded".to_owned()),
        ("own broker", |r| r.settings.own_broker = false),
        ("store", |r| r.settings.store = "s3://bucket/files".to_owned()),
        ("tables", |r| r.settings.tables = "s3://bucket/tables".to_owned()),
        ("partitions", |r| r.settings.partitions = 6),
        ("compression", |r| r.settings.compression = "zstd".to_owned()),
        ("record.freshness", |r| drop(r.settings.values.insert("record.freshness".to_owned(), "1 s".to_owned()))),
        ("sustained_throughput: scale", |r| r.benchmarks[0].load.scale = 0.5),
        ("sustained_throughput: messages", |r| r.benchmarks[0].load.messages = 1),
        ("sustained_throughput: workers", |r| r.benchmarks[0].workers.retain(|role, _| role != "retry")),
    ];
    let base = throughput(&[1_000.0]);
    for (what, change) in changes {
        let mut new = base.clone();
        change(&mut new);
        let found: Vec<String> = differences(&base, &new).into_iter().map(|one| one.what).collect();
        assert!(found.iter().any(|one| one == what), "{what}: {found:?}");
        assert_eq!(compare(&base, &new).differences.len(), found.len());
    }
}

#[test]
fn what_is_being_compared_may_differ() {
    let base = throughput(&[1_000.0]);
    let mut new = base.clone();
    for name in ["longshore", "rustc", "librdkafka"] {
        new.environment.versions.insert(name.to_owned(), "9".to_owned());
    }
    new.environment.memory_bytes -= 1_000_000;
    new.settings.brokers = Some("127.0.0.1:40123".to_owned());
    new.settings.store = "/tmp/another/files".to_owned();
    new.command.push("--out".to_owned());
    new.started_at = "2027-01-01T00:00:00Z".to_owned();
    new.benchmarks[0].repeats.push(repeat(&[("throughput_per_s", 1_000.0)]));
    assert_eq!(differences(&base, &new), []);
}

#[test]
fn runs_of_one_side_are_merged_into_one_report() {
    let runs = vec![throughput(&[1.0]), throughput(&[3.0, 2.0]), Report { complete: false, ..of("m", &[5.0]) }];
    let all = merged(runs).unwrap();
    let repeats: Vec<f64> = all.benchmarks[0].repeats.iter().map(|repeat| repeat.metrics["throughput_per_s"]).collect();
    assert_eq!((repeats, all.benchmarks.len(), all.complete), (vec![1.0, 3.0, 2.0], 2, false));
    assert!(merged(vec![]).is_none());
}
