//! What comes after the results: conclusions, environment, method.

use super::{advised, cited, numbered, tier};
use crate::analysis::{Finding, RULES};
use crate::figures::command_line;
use crate::model::Report;
use crate::report::Told;
use crate::report::escape::{block, code, markdown as text, sentence};

/// What was concluded.
pub(super) fn analysis(told: &Told<'_>) -> String {
    let analysis = &told.analysis;
    let bottleneck = |one: &Finding| {
        format!(
            "**{}**: {} {}\n   - Impact: {}\n   - Mitigation: {}",
            text(&one.about),
            sentence(&one.text),
            cited(&one.rules),
            sentence(&one.effect),
            sentence(&one.answer)
        )
    };
    let opportunity = |one: &Finding| {
        format!(
            "**{}**: {} {}\n   - Expected Improvement: {}\n   - Priority: {}",
            text(&one.about),
            sentence(&one.text),
            cited(&one.rules),
            sentence(&one.effect),
            text(&one.answer)
        )
    };
    let none = "None that a conclusive benchmark shows.";
    format!(
        "## Performance Analysis\n\nEvery conclusion cites the rules that it stands on; they are listed in the appendix.\n\n\
         ### Bottlenecks Identified\n\n{}\n\n### Optimization Opportunities\n\n{}\n\n### Scalability Assessment\n\n\
         - **Horizontal Scaling**: {}\n- **Vertical Scaling**: {}\n- **Resource Bottlenecks**: {}",
        numbered(analysis.bottlenecks.iter().map(bottleneck), none),
        numbered(analysis.opportunities.iter().map(opportunity), "None that a rule finds."),
        advised(&analysis.horizontal),
        advised(&analysis.vertical),
        advised(&analysis.resources)
    )
}

/// What is to be done.
pub(super) fn recommendations(told: &Told<'_>) -> String {
    format!(
        "## Recommendations\n\n### Immediate Actions\n\n{}\n\n### Future Improvements\n\n{}",
        numbered(told.analysis.immediate.iter().map(advised), "None."),
        numbered(told.analysis.future.iter().map(advised), "None that a rule finds.")
    )
}

/// Where it was measured.
pub(super) fn environment(told: &Told<'_>) -> String {
    let (report, environment) = (told.report, &told.report.environment);
    let fenced =
        |lines: Vec<String>| format!("```\n{}\n```", lines.iter().map(|line| block(line)).collect::<Vec<_>>().join("\n"));
    let hardware = vec![
        format!("Processor: {}, {} cores", environment.processor, environment.cores),
        format!("Memory: {}", crate::figures::Unit::Bytes.show(environment.memory_bytes as f64)),
        format!("Storage: {}", environment.storage),
        format!("Network: {}", environment.network),
    ];
    let mut software: Vec<String> = environment.versions.iter().map(|(name, version)| format!("{name}: {version}")).collect();
    software.push(format!("OS: {}", environment.os));
    format!(
        "## Test Environment\n\n### Hardware Specifications\n\n{}\n\n### Software Versions\n\n{}\n\n### Test Configuration\n\n{}\n\n\
         The exact command:\n\n{}",
        fenced(hardware),
        fenced(software),
        fenced(configuration(report)),
        fenced(vec![command_line(&report.command)])
    )
}

/// Names and values of what was configured.
pub(in crate::report) fn configuration(report: &Report) -> Vec<String> {
    let settings = &report.settings;
    let brokers = match (&settings.brokers, settings.own_broker) {
        (None, _) => "none".to_owned(),
        (Some(brokers), true) => format!("{brokers}, started for this run"),
        (Some(brokers), false) => brokers.clone(),
    };
    let group = |workers: &std::collections::BTreeMap<String, u32>| {
        workers.iter().map(|(role, count)| format!("{role} {count}")).collect::<Vec<_>>().join(", ")
    };
    let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
    for one in &report.benchmarks {
        let said = group(&one.workers);
        match groups.iter_mut().find(|(of, _)| *of == said) {
            Some((_, names)) => names.push(&one.name),
            None => groups.push((said, vec![&one.name])),
        }
    }
    let sizes = groups.iter().map(|(said, names)| format!("Consumer Group Size: {said} ({})", names.join(", ")));
    let (batches, others): (Vec<_>, Vec<_>) = settings.values.iter().partition(|(name, _)| *name == "batch sizes");
    let batches = batches.into_iter().map(|(_, value)| format!("Batch Sizes: {value}"));
    let values = others.into_iter().map(|(name, value)| format!("{name}: {value}"));
    let mut lines = vec![
        format!("Tier: {}", tier(report.tier)),
        format!("Log: {}; brokers: {brokers}", settings.log),
        format!("Kafka Partitions: {}", settings.partitions),
        format!("Compression: {}", settings.compression),
        format!("Store: {}", settings.store),
        format!("Tables: {}", settings.tables),
    ];
    lines.extend(sizes.chain(batches).chain(values));
    lines
}

/// How regressions are found.
pub(super) fn regression() -> String {
    "## Regression Testing\n\nPerformance benchmarks should be run regularly to detect regressions:\n\n\
     - **On PR merge**: Run fast benchmarks (< 2 minutes)\n- **Weekly**: Run full benchmark suite\n\
     - **Before release**: Complete benchmark analysis with report\n\n```bash\n\
     longshore bench compare BASE.json NEW.json                  # two reports of one machine and one configuration\n\
     longshore bench compare --against v1.2.0 --tier fast        # builds the other version, runs both in turns\n```\n\n\
     ### Performance Regression Thresholds\n\n\
     - **Throughput**: > 10% decrease = warning, > 20% decrease = failure\n\
     - **Latency p95**: > 15% increase = warning, > 30% increase = failure\n\
     - **Memory**: > 20% increase = warning, > 40% increase = failure"
        .to_owned()
}

/// How it was measured, and how to read it.
pub(super) fn appendix(told: &Told<'_>) -> String {
    let rules: Vec<String> = RULES.iter().map(|rule| format!("- **{}**: {}", rule.id, text(rule.says))).collect();
    let version = told.report.environment.versions.get("longshore").map_or("unknown", String::as_str);
    let updated = told.report.finished_at.as_ref().unwrap_or(&told.report.started_at);
    format!(
        "## Appendix\n\n### Benchmark Methodology\n\n{METHOD}\n\n### Interpreting Results\n\n{READING}\n\n### Rules of the Analysis\n\n{}\n\n\
         ---\n\n*Last Updated*: {}  \n*Test Version*: {}, form {}  \n*Document Version*: 1.0",
        rules.join("\n"),
        text(updated),
        code(version),
        told.report.schema
    )
}

const METHOD: &str = "#### Throughput Measurement
- Events are produced in batches to the log by a generator, a process of its own
- Workers process messages concurrently, each in a process of its own
- Throughput = (total messages processed) / (processing duration); the warm-up before it does not count
- An independent reader of the tables, which shares no code with their writer, says what has arrived

#### Latency Measurement
- Paced loads are open loop: messages are sent by a schedule, whether or not the pipeline keeps up
- Latency counts from the intended time of sending, so that a stall is not left out
- Completion is the commit of the attachment's row, as the independent reader sees it
- Latency = completion time - intended time of sending; percentiles come from HDR histograms
- A generator that was late makes the run INCONCLUSIVE

#### Resource Monitoring
- CPU and resident memory are sampled every second for every process; 100 % is one core
- Peak values represent maximum observed during test
- Mean values represent average across all samples
- Process-level metrics (not system-wide); generator, origin, broker and reader are shown beside the workers

#### Correctness
- Each run ends with a ledger: produced = stored + failed, nothing missing, doubled or strange, hashes and sizes right
- A ledger that does not hold is FAIL, however fast it was";

const READING: &str = "#### Pass/Fail Criteria
- **PASS**: Metric meets or exceeds target, by the median of the repeats
- **WARN**: Metric misses its target by 20% or less
- **FAIL**: Metric misses its target by > 20%, or the ledger does not hold
- **INCONCLUSIVE**: The load was not as it was meant to be, or a metric was not measured: nothing is said. It outranks what the
  figures say; a ledger that does not hold outranks it, since a row that is lost or doubled is a fact under any load

#### Margin for Test Environment
- Targets allow 20% margin for test environment variability
- Production performance expected to match or exceed test results
- CI/CD environments may show higher variability";
