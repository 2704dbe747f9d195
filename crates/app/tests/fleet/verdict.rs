//! Whether a fleet kept its promises: read from the tables, the files and the dead letters, against the plan.
//!
//! Rows come through `longshore inventory`, dead letters through a client of Kafka's own; keys, digests and ends are
//! computed here, not by the code under test.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use longshore::demo::origin::Origin;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::Value;
use uuid::Uuid;

use super::plan::{End, Plan};
use super::workers::Workers;
use super::{DEAD_LETTERS, Fleet};
use crate::batch::sha256;

/// How many faults of a kind are named.
const NAMED: usize = 10;

type Row = BTreeMap<String, Value>;

/// Waits until nothing waits in any stage, and there is a row for every attachment.
pub(crate) fn until_terminal(fleet: &Fleet, plan: &Plan, workers: &mut Workers<'_>, limit: Duration) {
    let begun = Instant::now();
    loop {
        workers.watch();
        let (waiting, rows) = (fleet.waiting(), fleet.count("attachments") + fleet.count("failed"));
        if waiting == Some(0) && rows >= plan.ends.len() as u64 && fleet.count("events") >= plan.distinct as u64 {
            return;
        }
        if begun.elapsed() > limit {
            check_rows(fleet, plan, None);
            panic!("{waiting:?} records wait {limit:?} after the last fault, and {rows} of {} rows are there", plan.ends.len());
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Everything at once, so that a failure names all that is wrong.
pub(crate) fn check(fleet: &Fleet, origin: &Origin, plan: &Plan) {
    check_rows(fleet, plan, Some(origin));
    assert_eq!(origin.canary_dials(), 0, "a forbidden address was dialled");
}

fn check_rows(fleet: &Fleet, plan: &Plan, origin: Option<&Origin>) {
    let mut faults = Faults::default();
    let (stored, failed) = (fleet.rows("attachments"), fleet.rows("failed"));
    println!("{} rows of stored and {} of failed attachments", stored.len(), failed.len());
    let (stored, failed) = (by_key(&stored, "a stored row", &mut faults), by_key(&failed, "a failed row", &mut faults));
    for (id, end) in &plan.ends {
        judge(id, end, stored.get(id).copied(), failed.get(id).copied(), origin, &mut faults);
    }
    for id in stored.keys().chain(failed.keys()).filter(|id| !plan.ends.contains_key(id)) {
        faults.add("a row of what nobody sent", id);
    }
    if origin.is_some() {
        objects(&fleet.files(), stored.values().copied(), &mut faults);
        events(fleet, plan, &mut faults);
        poison(fleet, plan, &mut faults);
    }
    faults.none();
}

/// Rows by their `media_id`; a second row of an id is a fault.
fn by_key<'a>(rows: &'a [Row], what: &str, faults: &mut Faults) -> BTreeMap<Uuid, &'a Row> {
    let mut keyed = BTreeMap::new();
    for row in rows {
        let id: Uuid = text(row, "media_id").parse().unwrap();
        if keyed.insert(id, row).is_some() {
            faults.add(&format!("doubled: {what}"), text(row, "attachment_url"));
        }
    }
    keyed
}

fn judge(id: &Uuid, end: &End, stored: Option<&Row>, failed: Option<&Row>, origin: Option<&Origin>, faults: &mut Faults) {
    match (stored, failed, end) {
        (None, None, _) => faults.add("lost: no row", format!("{id} {end:?}")),
        (Some(row), Some(_), _) => faults.add("doubled: stored and failed", text(row, "attachment_url")),
        (Some(_), None, End::AnyFile) => {}
        (Some(row), None, End::File(path)) => {
            let as_sent = origin.is_none_or(|origin| text(row, "sha256") == sha256(&origin.file(path)));
            faults.unless(as_sent, "stored with other bytes than the origin's", path);
        }
        (None, Some(row), End::Failed(status, message)) => {
            let as_planned = text(row, "status") == *status && text(row, "error_message").starts_with(message);
            faults.unless(as_planned, "failed otherwise than planned", format!("{row:?}"));
        }
        (Some(row), ..) | (_, Some(row), _) => faults.add("ended otherwise than planned", format!("{end:?}: {row:?}")),
    }
}

/// Every row's object is there as the row says, and no two rows share one. Objects without a row are `reconcile`'s matter.
fn objects<'a>(files: &Path, rows: impl Iterator<Item = &'a Row>, faults: &mut Faults) {
    let mut paths = BTreeSet::new();
    for row in rows {
        let path = text(row, "blob_path");
        faults.unless(paths.insert(path), "two rows share an object", path);
        match std::fs::read(files.join(path)) {
            Err(error) => faults.add("an object is not there", format!("{path}: {error}")),
            Ok(bytes) => {
                let as_said = row["bytes_downloaded"] == bytes.len() && text(row, "sha256") == sha256(&bytes);
                faults.unless(as_said, "an object is not what its row says", path);
            }
        }
    }
}

/// One row for each event with other bytes.
fn events(fleet: &Fleet, plan: &Plan, faults: &mut Faults) {
    let rows = fleet.rows("events");
    let raw: BTreeSet<_> = rows.iter().map(|row| text(row, "raw_json").as_bytes()).collect();
    faults.unless(raw.len() == rows.len(), "doubled: events", rows.len() - raw.len());
    let sent = plan.sends.iter().filter(|event| !plan.poison.contains(&event.value));
    for event in sent.filter(|event| !raw.contains(event.value.as_slice())) {
        faults.add("lost: an event has no row", &event.key);
    }
    faults.unless(raw.len() <= plan.distinct, "events that nobody sent", raw.len());
}

/// Every poison event has a dead letter with its bytes. It may have several: a letter is told again after a kill.
fn poison(fleet: &Fleet, plan: &Plan, faults: &mut Faults) {
    let letters: BTreeSet<Vec<u8>> = values(fleet.log(), DEAD_LETTERS).iter().filter_map(|value| original(value)).collect();
    for lost in plan.poison.difference(&letters) {
        faults.add("lost: poison without a dead letter", String::from_utf8_lossy(lost));
    }
    for other in letters.difference(&plan.poison) {
        faults.add("a dead letter of what is no poison", String::from_utf8_lossy(other));
    }
}

fn original(letter: &[u8]) -> Option<Vec<u8>> {
    let letter: Value = serde_json::from_slice(letter).ok()?;
    STANDARD.decode(letter["original"].as_str()?).ok()
}

/// All values of a topic with one partition.
pub(crate) fn values(broker: &str, topic: &str) -> Vec<Vec<u8>> {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", broker).set("group.id", "verdict").create().unwrap();
    let patience = Duration::from_secs(30);
    let (low, high) = consumer.fetch_watermarks(topic, 0, patience).unwrap();
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(topic, 0, Offset::Offset(low)).unwrap();
    consumer.assign(&from).unwrap();
    let mut values = Vec::new();
    let mut next = low;
    while next < high {
        let record = consumer.poll(patience).expect("the topic's records").unwrap();
        next = record.offset() + 1;
        values.extend(record.payload().map(<[u8]>::to_vec));
    }
    values
}

fn text<'a>(row: &'a Row, column: &str) -> &'a str {
    row.get(column).and_then(Value::as_str).unwrap_or_else(|| panic!("no {column} in {row:?}"))
}

/// What is wrong, by kind.
#[derive(Debug, Default)]
struct Faults(BTreeMap<String, Vec<String>>);

impl Faults {
    fn add(&mut self, kind: &str, what: impl std::fmt::Display) {
        self.0.entry(kind.to_owned()).or_default().push(what.to_string());
    }

    fn unless(&mut self, so: bool, kind: &str, what: impl std::fmt::Display) {
        if !so {
            self.add(kind, what);
        }
    }

    fn none(self) {
        let told = self.0.iter().map(|(kind, all)| {
            let named: Vec<_> = all.iter().take(NAMED).map(String::as_str).collect();
            format!("{kind} ({}):\n  {}", all.len(), named.join("\n  "))
        });
        let told: Vec<_> = told.collect();
        assert!(told.is_empty(), "the fleet is not exact:\n{}", told.join("\n"));
    }
}
