//! `longshore status`: where every stage of a directory stands, whether or not a process runs on it.

use anyhow::Result;
use longshore_core::time::Micros;
use longshore_lake::table::ExactTable;
use longshore_stages::ports::{Clock, LogView, SystemClock};
use serde_json::{Value, json};

use crate::chain::{self, Standing};
use crate::cli::StatusArgs;
use crate::exit;
use crate::place::{Lane, Place};
use crate::render::{self, Printed};
use crate::walk::Moment;

pub(crate) async fn run(args: StatusArgs) -> Result<u8> {
    let place = Place::named(&args.place)?;
    let view = place.log_view()?;
    let look = async |before: &str| print(&Status::of(&place, view.as_ref()).await?, args.place.json, before);
    if args.watch {
        render::every_second(look).await?;
    } else {
        look("").await?;
    }
    Ok(exit::DONE)
}

/// Everything that is shown.
struct Status {
    directory: String,
    writer: Option<String>,
    stages: Vec<Standing>,
    dead_letters: u64,
    tables: Vec<TableState>,
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
        self.stages.extend(chain::standings(view, moment, lane, |_| true).await);
        let letters = lane.topics.dead_letters();
        self.dead_letters += moment.topic(&letters).map(|state| state.end - state.begin).sum::<u64>();
        self.tables.extend(tables(place, lane).await?);
        Ok(())
    }
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
            several.then(|| stage.source.clone()).into_iter().chain([stage.link.name.clone(), stage.state.partition.to_string()]);
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
    let stage = |stage: &Standing| {
        json!({
            "source": stage.source,
            "stage": stage.link.name,
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
