//! Conclusions, rule by rule.

#![allow(clippy::unwrap_used)]

mod fixtures;

use fixtures::*;
use longshore_bench::analysis::{Analysis, Cause, Limit, RULES, analyse, steps};
use longshore_bench::model::*;
use longshore_bench::verdict::judge;

fn analysed(report: &Report) -> Analysis {
    analyse(report, &judge(report))
}

/// What limits one benchmark of 60,000 messages in 20 s.
fn limit(rate_per_s: Option<f64>, busy: f64, cpu_of_download: f64, lag: impl Fn(&str, f64) -> u64) -> Limit {
    let mut one = benchmark("b");
    one.load.rate_per_s = rate_per_s;
    let mut run = full_repeat(&[("throughput_per_s", 3_000.0)], 3_000.0, busy, lag);
    run.processes
        .iter_mut()
        .filter(|p| p.role == "download")
        .for_each(|p| (p.cpu_mean, p.cpu_s) = (cpu_of_download, cpu_of_download * 20.0));
    one.repeats.push(run);
    analysed(&report_of(vec![one])).limit_of("b").unwrap().clone()
}

fn before(stage: &'static str, messages: u64) -> impl Fn(&str, f64) -> u64 {
    move |of, _| if of == stage { messages } else { 10 }
}

#[test]
fn the_stage_before_which_most_messages_wait_limits() {
    for stage in ["ingest", "download", "record"] {
        let found = limit(None, 0.5, 0.3, before(stage, 20_000));
        assert_eq!((found.stage.as_str(), found.rules[0]), (stage, "Q1"), "{found:?}");
        assert!(found.figures.contains("20,000 messages wait before it on average, 6.67 s at 3,000/s"), "{found:?}");
    }
    let none = limit(None, 0.5, 0.3, before("record", 2_999));
    assert_eq!(none.rules[0], "Q3", "less than 5 % of all is no queue that stands");
    assert_eq!(limit(None, 0.5, 0.3, before("record", 3_000)).rules[0], "Q1");
}

#[test]
fn behind_a_stage_that_works_alone_messages_wait_for_nobody() {
    let mut one = benchmark("horizontal_scaling");
    one.workers = [("download".to_owned(), 1), ("record".to_owned(), 1)].into();
    let lag = |stage: &str, _: f64| if stage == "record" { 50_000 } else { 10_000 };
    one.repeats.push(full_repeat(&[("throughput_per_s", 3_000.0)], 3_000.0, 0.5, lag));
    let limit = |one: &Benchmark| analysed(&report_of(vec![one.clone()])).limits[0].1.stage.clone();
    assert_eq!(limit(&one), "record", "it ran as well");
    one.repeats[0].processes.retain(|process| process.role == "download");
    assert_eq!(limit(&one), "download", "record came only when all was measured");
    one.repeats[0].processes.clear();
    one.workers = [("ingest".to_owned(), 1)].into();
    assert_eq!(limit(&one), "ingest", "without samples, what was to run counts");
    one.repeats[0].processes.push(process("all-1", "all", 0.9, 1));
    assert_eq!(limit(&one), "record", "one process does all");
}

#[test]
fn a_run_shorter_than_its_samples_is_told_by_processor_time() {
    let mut one = benchmark("event_ingestion_throughput");
    let mut run = full_repeat(&[("throughput_per_s", 200_000.0)], 200_000.0, 0.95, before("ingest", 50_000));
    run.processes.retain(|process| ["ingest", "broker"].contains(&process.role.as_str()));
    // It was looked at for half a second, and worked in a tenth of that.
    (run.processes[0].cpu_s, run.processes[0].cpu_mean, run.duration_s) = (0.047, 0.094, 0.05);
    one.repeats.push(run);
    let report = report_of(vec![one.clone()]);
    let found = analysed(&report);
    let limit = found.limit_of("event_ingestion_throughput").unwrap();
    assert_eq!((limit.stage.as_str(), limit.cause, limit.rules.as_slice()), ("ingest", Cause::OneCore, ["U1", "C3"].as_slice()));
    assert!(limit.figures.contains("94 % of a core"), "{limit:?}");
    one.repeats[0].duration_s = 2.0;
    let longer = analysed(&report_of(vec![one])).limit_of("event_ingestion_throughput").unwrap().clone();
    assert_eq!(longer.rules.as_slice(), ["Q1", "C1"]);
}

#[test]
fn nothing_follows_from_a_run_that_says_nothing() {
    let mut report = good();
    report.benchmarks.truncate(4);
    assert!(!analysed(&report).bottlenecks.is_empty());
    for one in &mut report.benchmarks {
        one.repeats[0].inconclusive.push("the generator was late".to_owned());
    }
    let found = analysed(&report);
    assert!(found.bottlenecks.is_empty() && found.opportunities.is_empty(), "{found:#?}");
    assert_eq!(found.limits.len(), 4, "what limited them is still shown");
}

#[test]
fn a_schedule_that_is_met_limits_nothing_and_tells_what_would_come_next() {
    let met = limit(Some(3_000.0), 0.97, 0.7, before("download", 2_999));
    assert_eq!((met.cause, met.rules.as_slice()), (Cause::Schedule, ["Q4"].as_slice()), "{met:?}");
    assert!(met.figures.contains("download is busiest, with 70 % of a core"), "{met:?}");
    assert!(met.figures.contains("most of the time is spent in record, 0.176 s on average"), "{met:?}");
    let behind = limit(Some(3_000.0), 0.97, 0.7, before("download", 3_000));
    assert_eq!((behind.stage.as_str(), behind.rules[0]), ("download", "Q2"), "a wait of a second: {behind:?}");
}

#[test]
fn a_cause_is_what_is_used_up() {
    let waiting = before("download", 20_000);
    for (busy, cpu, cause, rule) in [
        (0.9, 0.95, Cause::Processor, "C1"),
        (0.89, 0.95, Cause::OneCore, "C3"),
        (0.89, 0.9, Cause::OneCore, "C3"),
        (0.89, 0.89, Cause::Waiting, "C4"),
    ] {
        let found = limit(None, busy, cpu, &waiting);
        assert_eq!((found.cause, found.rules[1]), (cause, rule), "{busy} {cpu}: {found:?}");
    }
    let processor = limit(None, 0.95, 0.9, &waiting);
    assert!(processor.figures.contains("the machine is 95 % busy (of one core: broker 50 %, download 90 %"), "{processor:?}");
}

#[test]
fn littles_law_finds_the_limit_of_downloads_in_flight() {
    let at = |per_s: f64, workers: u32| {
        let mut one = benchmark("b");
        one.load.origin_delay_s = Some(0.2);
        one.workers.insert("download".to_owned(), workers);
        one.repeats.push(full_repeat(&[("throughput_per_s", per_s)], per_s, 0.3, before("download", 20_000)));
        analysed(&report_of(vec![one])).limit_of("b").unwrap().clone()
    };
    let full = at(1_152.0, 1);
    assert_eq!((full.cause, full.rules[1]), (Cause::InFlight, "C2"), "230.4 of 256: {full:?}");
    assert!(full.figures.contains("1,152/s × 0.2 s = 230 in flight at least, of 256 that may be"), "{full:?}");
    assert_ne!(at(1_150.0, 1).cause, Cause::InFlight);
    assert_ne!(at(1_152.0, 3).cause, Cause::InFlight, "three may have three times as many");
}

#[test]
fn every_conclusion_cites_a_rule_that_there_is() {
    for report in [good(), troubled(), interrupted(), report(), throughput(&[])] {
        let found = analysed(&report);
        let of_findings = found.bottlenecks.iter().chain(&found.opportunities).map(|one| &one.rules);
        let of_advice = found.immediate.iter().chain(&found.future).chain([&found.horizontal, &found.vertical, &found.resources]);
        let all: Vec<&str> = of_findings
            .chain(of_advice.map(|one| &one.rules))
            .chain(found.limits.iter().map(|(_, limit)| &limit.rules))
            .inspect(|rules| assert!(!rules.is_empty()))
            .flatten()
            .copied()
            .collect();
        let known = |id: &&str| RULES.iter().any(|rule| rule.id == *id);
        assert!(all.iter().all(known), "{all:?}");
    }
}

#[test]
fn every_benchmark_that_ran_has_its_limit() {
    let report = good();
    let found = analysed(&report);
    let named: Vec<&str> = found.limits.iter().map(|(name, _)| name.as_str()).collect();
    let ran: Vec<&str> = report.benchmarks.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(named, ran);
    assert!(found.limits.iter().all(|(_, limit)| !limit.figures.is_empty()));
    let mut nothing = throughput(&[]);
    nothing.benchmarks[0].repeats.push(Repeat { duration_s: 0.0, ..repeat(&[]) });
    assert!(analysed(&nothing).limits.is_empty(), "a run that came to nothing shows nothing");
}

#[test]
fn what_is_not_a_pass_is_to_be_dealt_with_at_once() {
    let found = analysed(&troubled());
    let said: Vec<&str> = found.immediate.iter().map(|one| one.text.as_str()).collect();
    assert_eq!(said.len(), 4, "{said:#?}");
    assert!(said[0].starts_with("`sustained_throughput` is FAIL: throughput_per_s misses its target by 30.0 %"), "{said:#?}");
    assert!(
        said[1].contains("`offset_commit_behaviour` is FAIL: the ledger does not hold: 1 missing")
            && said[1].contains("keep its data")
    );
    assert!(said[2].contains("`latency_under_load` is INCONCLUSIVE") && said[2].contains("Run it again"), "{said:#?}");
    assert!(said[3].contains("`event_ingestion_throughput` is WARN"), "{said:#?}");
    let calm = analysed(&good());
    assert!(
        calm.immediate.len() == 1 && calm.immediate[0].text.starts_with("None: every requirement is met."),
        "{:?}",
        calm.immediate
    );
    assert!(calm.immediate[0].text.contains("The smallest margin is that of efficiency in `horizontal_scaling`: 15.0 %"));
    assert!(analysed(&interrupted()).immediate[0].text.contains("Run it to its end"));
}

#[test]
fn opportunities_come_with_what_they_are_worth() {
    let found = analysed(&good());
    let about = |what: &str| found.opportunities.iter().find(|one| one.about == what).unwrap_or_else(|| panic!("{what}"));
    let processor = about("processor time of download");
    assert_eq!(processor.answer, "High", "the processor is the limit of the widest run: {processor:?}");
    // 0.62 cores of 1.94 that are busy: 1 / (1 - 0.32 / 2) - 1
    assert!(processor.effect.contains("19 % more throughput at most"), "{processor:?}");
    let machines = about("machines");
    assert!(machines.text.contains("44.8 % of the busy time") && machines.text.contains("broker 50 %"), "{machines:?}");
    let latency = about("latency of record");
    assert!(latency.text.contains("72.7 % of all stages") && latency.text.contains("record.freshness"), "{latency:?}");
    let budget = about("our budget for rss_peak_bytes");
    assert!(budget.text.contains("135 MB in `memory_usage_under_load`, where our own aim is 128 MB"), "{budget:?}");
    assert!(!found.opportunities.iter().any(|one| one.about.contains("latency_p95_s")), "a budget that is met is none");
}

#[test]
fn scaling_is_told_with_the_machines_limit() {
    let told = |steps: &[(u32, f64, f64)], limit: Option<f64>| {
        let mut one = scaling(steps);
        one.repeats[0].metrics.extend(limit.map(|workers| ("limit_workers".to_owned(), workers)));
        one.repeats[0].metrics.insert("machine_busy_w12".to_owned(), 0.96);
        analysed(&report_of(vec![one])).horizontal.text
    };
    let all = told(&[(1, 98.0, 1.0), (12, 1_080.0, 0.92)], None);
    assert!(all.starts_with("It scales to all 12 workers") && all.contains("12 workers: 1,080/s, 92 % of linear"), "{all}");
    assert!(all.contains("were not used up"), "{all}");
    let some = told(&[(1, 98.0, 1.0), (6, 570.0, 0.97), (12, 700.0, 0.6)], Some(12.0));
    assert!(
        some.starts_with("It scales to 6 workers")
            && some.contains("With 12 workers the machine's 2 cores are used up, 96 % busy"),
        "{some}"
    );
    assert!(analysed(&throughput(&[1.0])).horizontal.text.starts_with("Not measured"));
    let mut unnamed = scaling(&[(2, 100.0, 1.0), (4, 150.0, 0.75)]);
    unnamed.repeats[0].metrics.retain(|name, _| !name.starts_with("efficiency"));
    let found: Vec<f64> = steps(&unnamed).iter().map(|step| step.efficiency).collect();
    assert_eq!(found, [1.0, 0.75], "from the rates, where the shares are not there");
}
