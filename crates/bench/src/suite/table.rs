//! The table itself.

use std::time::Duration;

use super::{Aim, Cast, Drive, Given, Of, Place, Role, Spec};
use crate::model::{Asker, Category, Good};

const MB: f64 = 1e6;
const KB: u64 = 1_000;
const TEN_KB: u64 = 10 * KB;

const fn at_least(metric: &'static str, value: f64) -> Aim {
    Aim { metric, good: Good::AtLeast, value, from: Asker::Requirement }
}

const fn below(metric: &'static str, value: f64) -> Aim {
    Aim { metric, good: Good::Below, value, from: Asker::Requirement }
}

const fn at_most(metric: &'static str, value: f64) -> Aim {
    Aim { metric, good: Good::AtMost, value, from: Asker::Requirement }
}

/// The same as an aim of our own.
const fn budget(aim: Aim) -> Aim {
    Aim { from: Asker::Budget, ..aim }
}

const P50_BUDGET: Aim = budget(below("latency_p50_s", 0.3));
const P95: Aim = below("latency_p95_s", 5.0);
const P95_BUDGET: Aim = budget(below("latency_p95_s", 1.0));
const RSS_BUDGET: Aim = budget(below("rss_peak_bytes", 128.0 * MB));

/// A process for each role.
const EACH: Cast = Cast {
    workers: &[(Role::Ingest, 1), (Role::Download, 1), (Role::Retry, 1), (Role::Record, 1)],
    in_flight: 256,
    partitions: 12,
};
/// Three that download, as in the requirements.
const THREE: Cast = Cast {
    workers: &[(Role::Ingest, 1), (Role::Download, 3), (Role::Retry, 1), (Role::Record, 1)],
    in_flight: 64,
    partitions: 12,
};
/// As many partitions as every number of workers divides.
const MANY: Cast = Cast { workers: &[(Role::Download, 1), (Role::Record, 1)], in_flight: 20, partitions: 60 };

const fn given(messages: u64, of: Of, rate_per_s: Option<f64>, file_bytes: u64, delay_ms: u64) -> Given {
    Given { messages, of, rate_per_s, file_bytes, origin_delay: Duration::from_millis(delay_ms) }
}

/// The suite, in the order of the report.
pub const SUITE: &[Spec] = &[
    Spec {
        name: "event_ingestion_throughput",
        description: "Events that one ingest worker makes tasks of, from the first event sent to the last task in the log",
        category: Category::Throughput,
        load: given(10_000, Of::Events, None, KB, 0),
        drive: Drive::Stage(Role::Ingest),
        cast: EACH,
        targets: &[at_least("throughput_per_s", 1_000.0), RSS_BUDGET],
        place: Place::Short(1.0),
    },
    Spec {
        name: "download_worker_throughput",
        description: "Tasks that one download worker fetches and stores, from the first task sent to the last result in the log",
        category: Category::Throughput,
        load: given(5_000, Of::Tasks, None, TEN_KB, 20),
        drive: Drive::Stage(Role::Download),
        cast: EACH,
        targets: &[at_least("throughput_per_s", 1_000.0), RSS_BUDGET],
        place: Place::Short(0.6),
    },
    Spec {
        name: "result_processor_throughput",
        description: "Results that one record worker makes rows of, from the first result sent to the last row seen",
        category: Category::Throughput,
        load: given(10_000, Of::Results, None, TEN_KB, 0),
        drive: Drive::Stage(Role::Record),
        cast: EACH,
        targets: &[at_least("throughput_per_s", 1_000.0), RSS_BUDGET],
        place: Place::Short(1.0),
    },
    Spec {
        name: "sustained_throughput",
        description: "The whole chain as fast as possible, from the first event sent to the last row seen",
        category: Category::Throughput,
        load: given(60_000, Of::Events, None, TEN_KB, 20),
        drive: Drive::Chain,
        cast: EACH,
        targets: &[at_least("throughput_per_s", 1_000.0), RSS_BUDGET],
        place: Place::Long,
    },
    Spec {
        name: "end_to_end_latency",
        description: "From the intended time of sending an event to its row, at 1,000 events a second",
        category: Category::Latency,
        load: given(1_000, Of::Events, Some(1_000.0), TEN_KB, 20),
        drive: Drive::Chain,
        cast: EACH,
        targets: &[P95, P50_BUDGET, P95_BUDGET],
        place: Place::Short(1.0),
    },
    Spec {
        name: "latency_under_load",
        description: "The same at 2,000 events a second",
        category: Category::Latency,
        load: given(10_000, Of::Events, Some(2_000.0), TEN_KB, 20),
        drive: Drive::Chain,
        cast: EACH,
        targets: &[P95, P95_BUDGET],
        place: Place::Short(0.5),
    },
    Spec {
        name: "latency_percentiles",
        description: "The distribution of the same times at 1,000 events a second",
        category: Category::Latency,
        load: given(5_000, Of::Events, Some(1_000.0), TEN_KB, 20),
        drive: Drive::Chain,
        cast: EACH,
        targets: &[below("latency_p50_s", 0.5), P95, below("latency_p99_s", 10.0), P50_BUDGET, P95_BUDGET],
        place: Place::Short(0.6),
    },
    Spec {
        name: "memory_usage_under_load",
        description: "Resident memory of the workers at 1,000 events a second",
        category: Category::Resources,
        load: given(20_000, Of::Events, Some(1_000.0), TEN_KB, 0),
        drive: Drive::Chain,
        cast: EACH,
        targets: &[
            below("rss_peak_bytes", 512.0 * MB),
            below("rss_chain_peak_bytes", 1_536.0 * MB),
            at_most("temp_files_left", 0.0),
            RSS_BUDGET,
        ],
        place: Place::Short(0.25),
    },
    Spec {
        name: "download_concurrency",
        description: "Downloads that the origin served at once to one download worker",
        category: Category::Resources,
        load: given(2_000, Of::Tasks, None, TEN_KB, 100),
        drive: Drive::Stage(Role::Download),
        cast: EACH,
        targets: &[at_least("concurrency_peak", 50.0), budget(at_least("concurrency_peak", 256.0))],
        place: Place::Short(1.0),
    },
    Spec {
        name: "consumer_lag_recovery",
        description: "How long a backlog takes to clear, from the start of the workers to the last row seen",
        category: Category::Resources,
        load: given(100_000, Of::Events, None, TEN_KB, 5),
        drive: Drive::Backlog,
        cast: EACH,
        targets: &[below("recovery_s", 600.0), budget(below("recovery_s", 60.0)), RSS_BUDGET],
        place: Place::Long,
    },
    Spec {
        name: "cpu_usage_under_load",
        description: "Processor time of each worker at 1,000 events a second",
        category: Category::Resources,
        load: given(15_000, Of::Events, Some(1_000.0), TEN_KB, 20),
        drive: Drive::Chain,
        cast: EACH,
        targets: &[below("cpu_mean", 0.8), RSS_BUDGET],
        place: Place::Short(0.4),
    },
    Spec {
        name: "peak_load",
        description: "The whole chain at 2,000 events a second for a minute: whether it keeps up, and with how much memory",
        category: Category::Latency,
        load: given(120_000, Of::Events, Some(2_000.0), TEN_KB, 20),
        drive: Drive::Chain,
        cast: EACH,
        targets: &[below("drain_s", 5.0), below("rss_sum_peak_bytes", 1_024.0 * MB), P95_BUDGET, RSS_BUDGET],
        place: Place::Long,
    },
    Spec {
        name: "horizontal_scaling",
        description: "Downloads a second by the number of workers, each bound by the latency of its origin",
        category: Category::Scaling,
        load: given(1_000, Of::Tasks, None, TEN_KB, 200),
        drive: Drive::Scaling(&[1, 3, 6, 12, 20]),
        cast: MANY,
        targets: &[at_least("efficiency", 0.8)],
        place: Place::Long,
    },
    Spec {
        name: "consumer_failure",
        description: "One of three download workers is killed: what is lost, and how long its partitions pause",
        category: Category::Failure,
        load: given(10_000, Of::Events, Some(400.0), TEN_KB, 20),
        drive: Drive::Kill,
        cast: THREE,
        targets: &[at_most("lost", 0.0), budget(below("recovery_s", 15.0))],
        place: Place::Long,
    },
    Spec {
        name: "group_coordination",
        description: "How evenly 4 and 6 download workers share the partitions, and whether any attachment is counted twice",
        category: Category::Failure,
        load: given(5_000, Of::Events, None, TEN_KB, 0),
        drive: Drive::Groups(&[(4, 5_000), (6, 6_000)]),
        cast: THREE,
        targets: &[at_most("doubled", 0.0), at_most("partition_spread", 0.3)],
        place: Place::Long,
    },
    Spec {
        name: "offset_commit_behaviour",
        description: "All workers stop at half-way and start again: what is lost or counted twice",
        category: Category::Failure,
        load: given(5_000, Of::Events, Some(500.0), TEN_KB, 0),
        drive: Drive::Restart,
        cast: EACH,
        targets: &[at_most("lost", 0.0), at_most("doubled", 0.0)],
        place: Place::Long,
    },
    Spec {
        name: "soak",
        description: "The whole chain at 1,000 events a second for a long time: growth of memory and of latency",
        category: Category::Soak,
        load: given(3_600_000, Of::Events, Some(1_000.0), 2 * KB, 0),
        drive: Drive::Soak,
        cast: EACH,
        targets: &[below("rss_growth_bytes", 100.0 * MB), at_most("latency_p95_growth", 0.3)],
        place: Place::Release,
    },
];
