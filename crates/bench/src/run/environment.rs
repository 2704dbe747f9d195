//! The machine, the versions, and what was configured.

use std::collections::BTreeMap;

use super::{Context, LogKind};
use crate::model::{Environment, Settings};
use crate::world::LogAt;
use crate::{broker, proc};

/// What is done at once: by record, and by the producer, whose figure is librdkafka's own.
const BATCHES: &str = "a commit has at most 10,000 rows of attachments, or 1 MiB of events";
const BATCHES_ON_KAFKA: &str =
    "a commit has at most 10,000 rows of attachments, or 1 MiB of events; a producer's batch 1,000,000 bytes, or those of 5 ms";

/// The machine and the versions.
pub(super) fn of(context: &Context<'_>) -> Environment {
    Environment {
        processor: proc::processor(),
        cores: proc::cores(),
        memory_bytes: proc::memory_bytes(),
        storage: proc::file_system(&context.places.store),
        network: network(context),
        os: proc::system(),
        versions: versions(context),
    }
}

fn network(context: &Context<'_>) -> String {
    match &context.options.brokers {
        Some(brokers) if !brokers.split(',').all(is_here) => "loopback; a network to the brokers".to_owned(),
        _ => "loopback".to_owned(),
    }
}

fn is_here(broker: &str) -> bool {
    ["127.", "localhost", "[::1]"].iter().any(|here| broker.trim().starts_with(here))
}

fn versions(context: &Context<'_>) -> BTreeMap<String, String> {
    let mut versions = BTreeMap::from([
        ("longshore".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("rustc".to_owned(), env!("LONGSHORE_RUSTC").to_owned()),
        ("build".to_owned(), if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned()),
    ]);
    if context.options.log == LogKind::Kafka {
        let kafka = if context.options.own_broker() { broker::version() } else { "unknown" };
        versions.insert("kafka".to_owned(), kafka.to_owned());
        versions.insert("librdkafka".to_owned(), rdkafka::util::get_rdkafka_version().1);
    }
    versions
}

/// What was configured, as far as figures depend on it.
pub(super) fn settings(context: &Context<'_>) -> Settings {
    let (log, brokers) = match &context.places.log {
        LogAt::Kafka(brokers) => ("kafka", Some(brokers.clone())),
        LogAt::Embedded => ("embedded", None),
    };
    let kafka = brokers.is_some();
    // What the product's own configuration says unless something else is written.
    let values = [
        ("record.freshness", "300ms"),
        ("record.max_rows", "10000"),
        ("batch sizes", if kafka { BATCHES_ON_KAFKA } else { BATCHES }),
        ("download.max_in_flight", "256; 64 in each of three workers, 20 where scaling is measured"),
        ("store_sync", "on"),
        ("partitions where scaling is measured", "60"),
        ("group protocol", if kafka { "classic" } else { "none" }),
        ("producer linger", if kafka { "5ms" } else { "none" }),
    ];
    Settings {
        log: log.to_owned(),
        own_broker: context.options.own_broker(),
        brokers: brokers.filter(|brokers| !brokers.is_empty()),
        store: context.places.store.display().to_string(),
        tables: context.places.tables.display().to_string(),
        partitions: if kafka { 12 } else { 1 },
        compression: if kafka { "lz4" } else { "none" }.to_owned(),
        values: values.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
    }
}
