//! The benchmarks that a report has a place for, in the order of the requirements' template.
//!
//! *Owns*: chapters, headings, and what each block shows. *Does not own*: what was measured. A benchmark that this list
//! does not know gets a place of its own at the end.

/// A chapter of the results.
#[derive(Debug)]
pub(super) struct Chapter {
    pub(super) title: &'static str,
    pub(super) blocks: &'static [Block],
}

/// The place of a benchmark.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) title: &'static str,
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    pub(super) lines: &'static [Line],
}

/// A line of a block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Line {
    /// How many messages, by what it is called, and their unit.
    Messages(&'static str, &'static str),
    /// How long the measured part took.
    Time,
    /// A metric: what it is called, its name, the unit if not its own.
    Metric(&'static str, &'static str, &'static str),
    /// Messages a second.
    Rate(&'static str, &'static str),
    /// The time that this share of the messages took at most.
    Quantile(&'static str, f64),
    /// The mean latency.
    MeanLatency,
    /// The highest latency.
    MaxLatency,
    /// A backlog's time to clear, in seconds and minutes.
    Recovery,
    /// The busiest second of the busiest worker.
    PeakCpu,
    /// The busiest worker.
    MeanCpu,
    /// The largest worker, and all together.
    PeakMemory,
    /// The same, on average.
    MeanMemory,
}

use Line::{MaxLatency, MeanCpu, MeanLatency, MeanMemory, Messages, Metric, PeakCpu, PeakMemory, Quantile, Rate, Recovery, Time};

const LATENCY: &[Line] =
    &[Messages("Events Processed", ""), Quantile("p50", 0.5), Quantile("p95", 0.95), Quantile("p99", 0.99), MaxLatency];

/// Every chapter.
pub(super) const CHAPTERS: &[Chapter] = &[
    Chapter {
        title: "Throughput Benchmarks",
        blocks: &[
            Block {
                title: "Event Ingestion Throughput",
                name: "event_ingestion_throughput",
                description: "Measures event ingester's ability to consume events and produce download tasks",
                lines: &[Messages("Messages Processed", ""), Time, Rate("Throughput", "events/sec"), PeakCpu, PeakMemory],
            },
            Block {
                title: "Download Worker Throughput",
                name: "download_worker_throughput",
                description: "Measures download worker's processing rate against a real HTTP origin",
                lines: &[Messages("Downloads Processed", ""), Time, Rate("Throughput", "downloads/sec"), PeakCpu, PeakMemory],
            },
            Block {
                title: "Result Processor Throughput",
                name: "result_processor_throughput",
                description: "Measures result processor's batching and write performance",
                lines: &[Messages("Results Processed", ""), Time, Rate("Throughput", "results/sec"), PeakCpu, PeakMemory],
            },
            Block {
                title: "Sustained Throughput",
                name: "sustained_throughput",
                description: "Full pipeline throughput over extended duration (60,000 events)",
                lines: &[Messages("Events Processed", ""), Time, Rate("Sustained Throughput", "events/sec"), PeakCpu, PeakMemory],
            },
        ],
    },
    Chapter {
        title: "Latency Benchmarks",
        blocks: &[
            Block {
                title: "End-to-End Latency",
                name: "end_to_end_latency",
                description: "Complete pipeline latency from event ingestion to inventory write",
                lines: LATENCY,
            },
            Block {
                title: "Latency Under Load",
                name: "latency_under_load",
                description: "Latency degradation under high load (10,000 events)",
                lines: LATENCY,
            },
            Block {
                title: "Latency Percentiles",
                name: "latency_percentiles",
                description: "Comprehensive latency distribution (5,000 events)",
                lines: &[
                    Messages("Events Processed", ""),
                    Quantile("p50", 0.5),
                    Quantile("p95", 0.95),
                    Quantile("p99", 0.99),
                    MeanLatency,
                    MaxLatency,
                ],
            },
        ],
    },
    Chapter {
        title: "Resource Usage Benchmarks",
        blocks: &[
            Block {
                title: "Memory Usage Under Load",
                name: "memory_usage_under_load",
                description: "Memory consumption during sustained processing (20,000 events)",
                lines: &[Messages("Events Processed", ""), PeakMemory, MeanMemory, PeakCpu, MeanCpu],
            },
            Block {
                title: "Download Concurrency",
                name: "download_concurrency",
                description: "Maximum concurrent downloads (NFR-1.3 target: 50 parallel)",
                lines: &[
                    Messages("Downloads Processed", ""),
                    Metric("Max Concurrent Downloads", "concurrency_peak", ""),
                    PeakMemory,
                    PeakCpu,
                ],
            },
            Block {
                title: "Consumer Lag Recovery",
                name: "consumer_lag_recovery",
                description: "Time to clear 100k message backlog (NFR-1.4 target: < 10 minutes)",
                lines: &[Messages("Backlog Size", "messages"), Recovery, Rate("Recovery Rate", "msg/sec"), PeakMemory, PeakCpu],
            },
            Block {
                title: "CPU Usage Under Load",
                name: "cpu_usage_under_load",
                description: "CPU utilization during high-throughput processing (15,000 events)",
                lines: &[Messages("Events Processed", ""), PeakCpu, MeanCpu, PeakMemory],
            },
        ],
    },
    Chapter {
        title: "Peak Load Benchmarks",
        blocks: &[Block {
            title: "Peak Load",
            name: "peak_load",
            description: "Twice the required rate for a minute: whether the pipeline keeps up",
            lines: &[
                Messages("Events Processed", ""),
                Time,
                Rate("Throughput", "events/sec"),
                Quantile("p50", 0.5),
                Quantile("p95", 0.95),
                Quantile("p99", 0.99),
                MaxLatency,
                PeakCpu,
                PeakMemory,
            ],
        }],
    },
    Chapter {
        title: "Scaling Benchmarks",
        blocks: &[Block {
            title: "Horizontal Scaling",
            name: "horizontal_scaling",
            description: "Downloads a second with 1, 3, 6, 12 and 20 workers",
            lines: &[Messages("Downloads Processed", ""), Time, PeakCpu, PeakMemory],
        }],
    },
    Chapter {
        title: "Failure and Coordination Benchmarks",
        blocks: &[
            Block {
                title: "Consumer Failure",
                name: "consumer_failure",
                description: "One of three download workers is killed at half-way",
                lines: &[
                    Messages("Events Processed", ""),
                    Time,
                    Metric("Recovery Time", "recovery_s", ""),
                    Quantile("p50", 0.5),
                    MaxLatency,
                    PeakMemory,
                ],
            },
            Block {
                title: "Group Coordination",
                name: "group_coordination",
                description: "How evenly workers of a group share the partitions, and whether anything is counted twice",
                lines: &[Messages("Events Processed", ""), Time, PeakCpu, PeakMemory],
            },
            Block {
                title: "Offset Commit Behaviour",
                name: "offset_commit_behaviour",
                description: "All workers stop at half-way and start again",
                lines: &[Messages("Events Processed", ""), Time, PeakMemory],
            },
        ],
    },
    Chapter {
        title: "Soak Benchmarks",
        blocks: &[Block {
            title: "Soak",
            name: "soak",
            description: "The required rate for a long time: growth of memory and of latency",
            lines: &[
                Messages("Events Processed", ""),
                Time,
                Quantile("p50", 0.5),
                Quantile("p95", 0.95),
                Quantile("p99", 0.99),
                MaxLatency,
                MeanCpu,
                PeakMemory,
            ],
        }],
    },
];

/// The block of this benchmark, if it is known.
pub(super) fn block(name: &str) -> Option<&'static Block> {
    CHAPTERS.iter().flat_map(|chapter| chapter.blocks).find(|block| block.name == name)
}

/// A row of the requirements' table of targets.
#[derive(Debug)]
pub(super) struct Headline {
    pub(super) title: &'static str,
    pub(super) target: &'static str,
    /// What the system that the requirements were written for did.
    pub(super) baseline: &'static str,
    pub(super) requirement: &'static str,
    pub(super) benchmark: &'static str,
    pub(super) metric: &'static str,
}

/// The table, in its order.
pub(super) const HEADLINES: &[Headline] = &[
    Headline {
        title: "End-to-end latency (p95)",
        target: "< 5 seconds",
        baseline: "60-120 seconds",
        requirement: "NFR-1.1",
        benchmark: "end_to_end_latency",
        metric: "latency_p95_s",
    },
    Headline {
        title: "Throughput",
        target: "1,000 events/second",
        baseline: "100 events/cycle",
        requirement: "NFR-1.2",
        benchmark: "sustained_throughput",
        metric: "throughput_per_s",
    },
    Headline {
        title: "Download concurrency",
        target: "50 parallel downloads",
        baseline: "10 parallel",
        requirement: "NFR-1.3",
        benchmark: "download_concurrency",
        metric: "concurrency_peak",
    },
    Headline {
        title: "Consumer lag recovery",
        target: "< 10 minutes for 100k backlog",
        baseline: "N/A",
        requirement: "NFR-1.4",
        benchmark: "consumer_lag_recovery",
        metric: "recovery_s",
    },
    Headline {
        title: "Memory per worker",
        target: "< 512MB",
        baseline: "not known",
        requirement: "-",
        benchmark: "memory_usage_under_load",
        metric: "rss_peak_bytes",
    },
    Headline {
        title: "CPU usage (mean)",
        target: "< 80%",
        baseline: "not known",
        requirement: "-",
        benchmark: "cpu_usage_under_load",
        metric: "cpu_mean",
    },
];
