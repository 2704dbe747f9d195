//! `longshore status`: where every stage of a directory stands, whether or not a process runs on it.

use std::time::Duration;

use anyhow::Result;
use longshore_core::time::Micros;
use longshore_lake::table::ExactTable;
use longshore_stages::ports::{Clock, LogView, PartitionState, SystemClock};
use longshore_stages::topics::{Topics, spell_delay};
use serde_json::{Value, json};

use crate::cli::StatusArgs;
use crate::exit;
use crate::place::{Lane, Place};
use crate::render::{self, Printed};
use crate::walk::Moment;

/// How often `--watch` looks again.
const INTERVAL: Duration = Duration::from_secs(1);

pub(crate) async fn run(args: StatusArgs) -> Result<u8> {
    let place = Place::named(&args.place)?;
    let view = place.log_view()?;
    if !args.watch {
        print(&Status::of(&place, view.as_ref()).await?, args.place.json, "")?;
        return Ok(exit::DONE);
    }
    // Home, then clear to the end, on a terminal; elsewhere one status after the other.
    let before = if std::io::IsTerminal::is_terminal(&std::io::stdout()) { "\u{1b}[H\u{1b}[J" } else { "" };
    loop {
        let status = Status::of(&place, view.as_ref()).await?;
        if print(&status, args.place.json, before)? == Printed::Unread {
            return Ok(exit::DONE);
        }
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(exit::DONE),
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

/// Everything that is shown.
struct Status {
    directory: String,
    writer: Option<String>,
    stages: Vec<Stage>,
    dead_letters: u64,
    tables: Vec<TableState>,
}

/// One group's standing in one partition.
struct Stage {
    source: String,
    name: String,
    state: PartitionState,
    committed: u64,
    /// How long the first record that is not done with has been in the log.
    oldest: Option<Micros>,
}

impl Stage {
    fn waiting(&self) -> u64 {
        self.state.end.saturating_sub(self.committed)
    }
}

struct TableState {
    source: String,
    kind: &'static str,
    name: String,
    /// Nothing when there is no table yet.
    found: Option<TableFacts>,
}

struct TableFacts {
    rows: u64,
    files: usize,
    version: u64,
    committed_at: Option<Micros>,
}

impl Status {
    async fn of(place: &Place, view: &dyn LogView) -> Result<Self> {
        let moment = Moment::of(view).await?;
        let mut status = Status {
            directory: place.root.display().to_string(),
            writer: place.log.writer()?,
            stages: Vec::new(),
            dead_letters: 0,
            tables: Vec::new(),
        };
        for lane in &place.lanes {
            status.add(place, view, &moment, lane).await?;
        }
        Ok(status)
    }

    async fn add(&mut self, place: &Place, view: &dyn LogView, moment: &Moment, lane: &Lane) -> Result<()> {
        for (name, topic, group) in chain(&lane.topics, moment) {
            for state in moment.topic(&topic) {
                let committed = moment.committed(&group, state);
                let oldest = oldest(view, state, committed).await;
                let (source, state) = (lane.name().to_owned(), state.clone());
                self.stages.push(Stage { source, name: name.clone(), state, committed, oldest });
            }
        }
        let letters = lane.topics.dead_letters();
        self.dead_letters += moment.topic(&letters).map(|state| state.end - state.begin).sum::<u64>();
        self.tables.extend(tables(place, lane).await?);
        Ok(())
    }
}

/// The stages in the order of the work: name, topic, group.
fn chain(topics: &Topics, moment: &Moment) -> Vec<(String, String, String)> {
    let tiers = |delay_of: &dyn Fn(&str) -> Option<Duration>| {
        let delays = moment.partitions.iter().filter_map(|state| delay_of(&state.partition.topic));
        delays.collect::<std::collections::BTreeSet<Duration>>()
    };
    let mut chain = Vec::new();
    if topics.raw() != topics.events() {
        chain.push(("enrich".to_owned(), topics.raw(), topics.enrich_group()));
        chain.push(("enrich again".to_owned(), topics.enrich_due(), topics.enrich_group()));
        let waiting =
            |tier| (format!("enrich retry {}", spell_delay(tier)), topics.enrich_tier(tier), topics.enrich_retry_group());
        chain.extend(tiers(&|topic| topics.enrich_tier_delay(topic)).into_iter().map(waiting));
    }
    chain.push(("ingest".to_owned(), topics.events(), topics.ingest_group()));
    chain.push(("download".to_owned(), topics.pending(), topics.download_group()));
    let waiting = |tier| (format!("retry {}", spell_delay(tier)), topics.tier(tier), topics.retry_group());
    chain.extend(tiers(&|topic| topics.tier_delay(topic)).into_iter().map(waiting));
    chain.push(("record attachments".to_owned(), topics.results(), topics.record_results_group()));
    chain.push(("record failed".to_owned(), topics.dead_letters(), topics.record_failures_group()));
    chain.push(("record events".to_owned(), topics.events(), topics.record_events_group()));
    chain
}

/// A record that cannot be read has no age; `reconcile` names it.
async fn oldest(view: &dyn LogView, state: &PartitionState, committed: u64) -> Option<Micros> {
    if committed >= state.end {
        return None;
    }
    let records = view.read(&state.partition, committed, 1).await.ok()?;
    records.first().map(|record| SystemClock.now() - record.appended_at)
}

async fn tables(place: &Place, lane: &Lane) -> Result<Vec<TableState>> {
    let tables = place.open_tables(lane).await?;
    let mut states = Vec::new();
    let of = |kind: &str| if place.lanes.len() == 1 { kind.to_owned() } else { format!("{} {kind}", lane.name()) };
    for (name, table) in [("attachments", tables.attachments), ("failed", tables.failed), ("events", tables.events)] {
        let found = match table {
            Some(table) => Some(facts(place, &table).await?),
            None => None,
        };
        states.push(TableState { source: lane.name().to_owned(), kind: name, name: of(name), found });
    }
    Ok(states)
}

async fn facts(place: &Place, table: &ExactTable) -> Result<TableFacts> {
    let (rows, files, version) = (table.count().await?, table.file_count().await?, table.version().await);
    let commit = place.table(table.spec()).join(format!("_delta_log/{version:020}.json"));
    let modified = std::fs::metadata(commit).and_then(|meta| meta.modified()).ok();
    let since = modified.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    Ok(TableFacts { rows, files, version, committed_at: since.and_then(|since| i64::try_from(since.as_micros()).ok()) })
}

fn print(status: &Status, json: bool, before: &str) -> Result<Printed> {
    if json {
        return render::print(as_json(status));
    }
    render::print(format!("{before}{}", as_text(status)))
}

fn as_text(status: &Status) -> String {
    let sources: std::collections::BTreeSet<&str> = status.tables.iter().map(|table| table.source.as_str()).collect();
    let several = sources.len() > 1;
    let header = ["stage", "topic", "begin", "end", "committed", "waiting", "oldest"];
    let mut stages = render::table(several.then_some("source").into_iter().chain(header));
    stages.add_rows(status.stages.iter().map(|stage| {
        let numbers = [stage.state.begin, stage.state.end, stage.committed, stage.waiting()].map(|n| n.to_string());
        let oldest = stage.oldest.map(render::age).unwrap_or_default();
        let named =
            several.then(|| stage.source.clone()).into_iter().chain([stage.name.clone(), stage.state.partition.to_string()]);
        named.chain(numbers).chain([oldest]).collect::<Vec<_>>()
    }));
    let mut tables = render::table(["table", "rows", "files", "version", "last commit"]);
    tables.add_rows(status.tables.iter().map(|table| match &table.found {
        None => vec![table.name.clone(), "0".to_owned(), "0".to_owned(), "none yet".to_owned(), String::new()],
        Some(facts) => {
            let ago = facts.committed_at.map(|at| format!("{} ago", render::age(SystemClock.now() - at)));
            let numbers = [facts.rows.to_string(), facts.files.to_string(), facts.version.to_string()];
            [table.name.clone()].into_iter().chain(numbers).chain([ago.unwrap_or_default()]).collect()
        }
    }));
    let running = status.writer.as_ref().map_or("nothing runs on it".to_owned(), |writer| format!("in use by {writer}"));
    format!("{}: {running}\n\n{}\n\n{}", status.directory, stages.trim_fmt(), tables.trim_fmt())
}

fn as_json(status: &Status) -> Value {
    let stage = |stage: &Stage| {
        json!({
            "source": stage.source,
            "stage": stage.name,
            "topic": &*stage.state.partition.topic,
            "partition": stage.state.partition.index,
            "begin": stage.state.begin,
            "end": stage.state.end,
            "committed": stage.committed,
            "waiting": stage.waiting(),
            "oldest_ms": stage.oldest.map(|micros| micros / 1_000),
        })
    };
    let table = |table: &TableState| {
        let facts = table.found.as_ref();
        json!({
            "source": table.source,
            "table": table.kind,
            "rows": facts.map_or(0, |facts| facts.rows),
            "files": facts.map_or(0, |facts| facts.files),
            "version": facts.map(|facts| facts.version),
            "committed_at": facts.and_then(|facts| facts.committed_at).map(render::exact_time),
        })
    };
    json!({
        "directory": status.directory,
        "running": status.writer.is_some(),
        "writer": status.writer,
        "stages": status.stages.iter().map(stage).collect::<Vec<_>>(),
        "dead_letters": status.dead_letters,
        "tables": status.tables.iter().map(table).collect::<Vec<_>>(),
    })
}
