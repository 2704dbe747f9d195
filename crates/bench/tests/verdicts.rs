//! Verdicts, rule by rule.

#![allow(clippy::unwrap_used)]

mod fixtures;

use fixtures::*;
use longshore_bench::model::*;
use longshore_bench::verdict::{Overruled, Verdict, judge, verdict_on};

#[test]
fn a_target_is_met_or_missed_by_little_or_by_much() {
    use Good::{AtLeast, AtMost, Below};
    use Verdict::{Fail, Pass, Warn};
    for (good, aim, value, expected) in [
        (AtLeast, 1_000.0, 1_000.0, Pass),
        (AtLeast, 1_000.0, 999.9, Warn),
        (AtLeast, 1_000.0, 800.0, Warn),
        (AtLeast, 1_000.0, 799.9, Fail),
        (AtLeast, 0.8, 0.8, Pass),
        (AtLeast, 0.8, 0.64, Warn),
        (AtLeast, 0.8, 0.6399, Fail),
        (Below, 5.0, 4.999, Pass),
        (Below, 5.0, 5.0, Warn),
        (Below, 5.0, 6.0, Warn),
        (Below, 5.0, 6.001, Fail),
        (Below, 0.7, 0.84, Warn),
        (AtMost, 0.3, 0.3, Pass),
        (AtMost, 0.3, 0.36, Warn),
        (AtMost, 0.3, 0.3601, Fail),
        (AtMost, 0.0, 0.0, Pass),
        (AtMost, 0.0, 1.0, Fail),
    ] {
        assert_eq!(verdict_on(&target("m", good, aim), value), expected, "{good:?} {aim}: {value}");
    }
}

#[test]
fn the_median_of_the_repeats_decides_and_the_spread_is_shown() {
    let judged = judge(&throughput(&[1_300.0, 600.0, 1_100.0]));
    let one = &judged.benchmarks[0].targets[0];
    let measured = one.measured.unwrap();
    assert_eq!(
        (judged.verdict, measured.median, measured.min, measured.max, measured.repeats),
        (Verdict::Pass, 1_100.0, 600.0, 1_300.0, 3)
    );
    assert!((one.margin_percent.unwrap() - 10.0).abs() < 1e-9);
    assert_eq!(judge(&throughput(&[1_300.0, 700.0])).verdict, Verdict::Pass, "the middle of two is 1,000");
    assert_eq!(judge(&throughput(&[1_300.0, 690.0])).verdict, Verdict::Warn);
}

#[test]
fn margins_are_positive_where_it_is_better() {
    let margin =
        |aim: Target, value: f64| judge(&report_of(vec![with("b", aim, &[value])])).benchmarks[0].targets[0].margin_percent;
    assert_eq!(margin(target("m", Good::AtLeast, 100.0), 70.0), Some(-30.0));
    assert_eq!(margin(target("m", Good::Below, 5.0), 2.5), Some(50.0));
    assert_eq!(margin(target("m", Good::AtMost, 5.0), 7.5), Some(-50.0));
    assert_eq!(margin(target("m", Good::AtMost, 0.0), 0.0), None);
}

#[test]
fn a_metric_that_is_missing_is_never_passed() {
    let mut report = throughput(&[2_000.0, 2_000.0, 2_000.0]);
    report.benchmarks[0].repeats[1].metrics.clear();
    let judged = judge(&report);
    assert_eq!(judged.verdict, Verdict::Inconclusive);
    assert_eq!(judged.benchmarks[0].targets[0].measured.unwrap().repeats, 2, "what there is, is shown");
    assert!(judged.benchmarks[0].why[0].contains("throughput_per_s was not measured"), "{judged:?}");
    report.benchmarks[0].repeats[1].metrics.insert("throughput_per_s".to_owned(), f64::NAN);
    assert_eq!(judge(&report).verdict, Verdict::Inconclusive, "no number is no measurement");
    report.benchmarks[0].targets.push(target("other", Good::Below, 1.0));
    for repeat in &mut report.benchmarks[0].repeats {
        repeat.metrics.insert("other".to_owned(), 9.0);
    }
    assert_eq!(judge(&report).verdict, Verdict::Fail, "what failed was measured");
}

#[test]
fn an_inconclusive_repeat_outranks_targets_and_a_wrong_ledger_outranks_both() {
    for values in [[2_000.0, 2_000.0], [900.0, 900.0], [10.0, 10.0]] {
        let mut report = throughput(&values);
        report.benchmarks[0].repeats[1].inconclusive.push("the generator was late".to_owned());
        let judged = judge(&report);
        assert_eq!(
            (judged.verdict, judged.benchmarks[0].overruled),
            (Verdict::Inconclusive, Some(Overruled::Load)),
            "{values:?}"
        );
        assert!(judged.benchmarks[0].why[0].contains("repeat 2: the generator was late"), "{judged:?}");
        report.benchmarks[0].repeats[0].ledger.doubled = 1;
        let judged = judge(&report);
        assert_eq!((judged.verdict, judged.benchmarks[0].overruled), (Verdict::Fail, Some(Overruled::Ledger)), "{values:?}");
        assert!(judged.benchmarks[0].why[0].contains("repeat 1: the ledger does not hold: 1 doubled"), "{judged:?}");
    }
}

#[test]
fn a_worker_that_broke_fails_whatever_was_measured() {
    let mut report = throughput(&[2_000.0, 2_000.0]);
    report.benchmarks[0].repeats[1].inconclusive.push("it broke off".to_owned());
    report.benchmarks[0].repeats[1].broken.push("record-1 ended unasked".to_owned());
    let judged = judge(&report);
    assert_eq!((judged.verdict, judged.benchmarks[0].overruled), (Verdict::Fail, Some(Overruled::Worker)));
    assert!(judged.benchmarks[0].why[0].contains("repeat 2: record-1 ended unasked"), "{judged:?}");
}

#[test]
fn every_fault_of_a_ledger_fails() {
    let faults: [fn(&mut Ledger); 6] =
        [|l| l.doubled = 1, |l| l.missing = 1, |l| l.strange = 1, |l| l.wrong_hash = 1, |l| l.left_over = 1, |l| l.produced += 1];
    for (at, fault) in faults.iter().enumerate() {
        let mut report = throughput(&[2_000.0]);
        fault(&mut report.benchmarks[0].repeats[0].ledger);
        assert_eq!(judge(&report).verdict, Verdict::Fail, "fault {at}");
    }
}

#[test]
fn budgets_make_no_verdict() {
    let mut report = throughput(&[2_000.0]);
    report.benchmarks[0].targets.push(budget("throughput_per_s", Good::AtLeast, 9_000.0));
    report.benchmarks[0].targets.push(budget("not_measured", Good::AtLeast, 9_000.0));
    let judged = judge(&report);
    assert_eq!((judged.verdict, judged.benchmarks[0].targets[1].verdict), (Verdict::Pass, None));
    assert!(judged.benchmarks[0].targets[1].margin_percent.unwrap() < -70.0);
}

#[test]
fn a_report_is_as_good_as_its_worst_benchmark() {
    let judged = judge(&troubled());
    let verdicts: Vec<Verdict> = judged.benchmarks.iter().map(|one| one.verdict).collect();
    assert_eq!(verdicts, [Verdict::Warn, Verdict::Fail, Verdict::Inconclusive, Verdict::Fail, Verdict::Pass]);
    assert_eq!(judged.verdict, Verdict::Fail);
    assert!(judged.why.contains(&"FAIL: sustained_throughput, offset_commit_behaviour".to_owned()), "{:?}", judged.why);
    assert_eq!(judge(&good()).verdict, Verdict::Pass);
}

#[test]
fn what_is_incomplete_or_empty_is_never_a_pass() {
    let judged = judge(&interrupted());
    assert!(judged.benchmarks.iter().all(|one| one.verdict == Verdict::Pass));
    assert_eq!(judged.verdict, Verdict::Inconclusive);
    assert_eq!(judge(&report()).verdict, Verdict::Inconclusive);
    assert_eq!(judge(&throughput(&[])).verdict, Verdict::Inconclusive, "a benchmark without a run");
    let failed = Report { complete: false, ..throughput(&[10.0]) };
    assert_eq!(judge(&failed).verdict, Verdict::Fail, "what failed, failed");
}
