//! `longshore inventory`: the rows of a table that meet some conditions.
//!
//! The table is read file by file in batches; what is in memory is one batch and the rows shown.

mod condition;

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use longshore_core::row::{Cell, TableSpec};
use longshore_lake::table::{ExactTable, to_cells};
use serde_json::{Map, Value, json};

use crate::cli::InventoryArgs;
use crate::exit;
use crate::place::{Lane, Place};
use crate::render::{self, Printed};
use condition::Condition;
pub(crate) use condition::parse_day;

/// The most telling columns of each table.
const TELLING: [(&str, &[&str]); 3] = [
    ("attachments", &["media_id", "blob_path", "file_type", "bytes_downloaded", "downloaded_at"]),
    ("failed", &["media_id", "status", "http_status", "retry_count", "failed_at", "error_message", "attachment_url"]),
    ("events", &["trace_id", "event_id", "event_time", "ingested_at", "media_ids"]),
];

pub(crate) async fn run(args: InventoryArgs) -> Result<u8> {
    let place = Place::named(&args.place)?;
    let lane = place.only()?;
    let question = Question::of(&args, lane).context(exit::Usage)?;
    let tables = place.open_tables(lane).await?;
    let table = match question.table {
        "attachments" => tables.attachments,
        "failed" => tables.failed,
        _ => tables.events,
    };
    if args.count {
        let rows = question.count(table.as_ref()).await?;
        render::print(if args.place.json { json!({ "rows": rows }).to_string() } else { rows.to_string() })?;
    } else {
        question.show(table.as_ref()).await?;
    }
    Ok(exit::DONE)
}

/// What is asked, checked against the table's columns.
struct Question {
    table: &'static str,
    conditions: Vec<Condition>,
    /// The columns to show.
    shown: Vec<String>,
    /// The columns to read: those shown, then those only asked for by conditions.
    read: Vec<String>,
    limit: usize,
    json: bool,
}

impl Question {
    fn of(args: &InventoryArgs, lane: &Lane) -> Result<Self> {
        let named = TELLING.iter().find(|(name, _)| *name == args.table);
        let (table, telling) = *named
            .with_context(|| format!("--table {}: there is no such table; take attachments, failed or events", args.table))?;
        let spec = spec_of(lane, table);
        let shown = shown(&spec, args, telling)?;
        let mut read = if args.count { Vec::new() } else { shown.clone() };
        let mut conditions = Vec::new();
        for text in &args.conditions {
            let condition = Condition::parse(&spec, text).with_context(|| format!("--where '{text}'"))?;
            if !read.contains(&condition.column) {
                read.push(condition.column.clone());
            }
            conditions.push(condition);
        }
        conditions.iter_mut().for_each(|condition| condition.locate(&read));
        Ok(Question { table, conditions, shown, read, limit: args.limit, json: args.place.json })
    }

    async fn count(&self, table: Option<&ExactTable>) -> Result<u64> {
        let Some(table) = table else { return Ok(0) };
        if self.conditions.is_empty() {
            return Ok(table.count().await?);
        }
        let mut rows = 0;
        self.visit(table, |_| {
            rows += 1;
            Ok(Wanted::More)
        })
        .await?;
        Ok(rows)
    }

    async fn show(&self, table: Option<&ExactTable>) -> Result<()> {
        let mut found = Vec::new();
        let mut shown = 0;
        let mut more = false;
        if let Some(table) = table {
            let visit = |mut row: Vec<Cell>| {
                if self.limit > 0 && shown == self.limit {
                    more = true;
                    return Ok(Wanted::NoMore);
                }
                shown += 1;
                row.truncate(self.shown.len());
                if !self.json && self.limit > 0 {
                    found.push(row);
                    return Ok(Wanted::More);
                }
                let printed = if self.json { self.print_object(&row)? } else { self.print_line(&row, shown)? };
                Ok(if printed == Printed::Read { Wanted::More } else { Wanted::NoMore })
            };
            self.visit(table, visit).await?;
        }
        self.conclude(&found, shown, more)
    }

    fn print_object(&self, row: &[Cell]) -> Result<Printed> {
        let fields: Map<String, Value> =
            self.shown.iter().zip(row).map(|(name, cell)| (name.clone(), render::cell_json(cell))).collect();
        render::print(Value::Object(fields))
    }

    /// Without a limit the rows do not wait for their columns' widths: they are separated by tabs.
    fn print_line(&self, row: &[Cell], number: usize) -> Result<Printed> {
        if number == 1 {
            render::print(self.shown.join("\t"))?;
        }
        render::print(row.iter().map(render::cell_text).collect::<Vec<_>>().join("\t"))
    }

    fn conclude(&self, found: &[Vec<Cell>], shown: usize, more: bool) -> Result<()> {
        if !found.is_empty() {
            let mut table = render::table(&self.shown);
            table.add_rows(found.iter().map(|row| row.iter().map(render::cell_text)));
            render::print(table.trim_fmt())?;
        }
        if shown == 0 && !self.json {
            eprintln!("no rows");
        }
        if more {
            eprintln!("there are more than these {shown} rows: --limit 0 shows all, --count counts them");
        }
        Ok(())
    }

    /// Hands each row that meets the conditions to `visit`, until it wants no more.
    async fn visit(&self, table: &ExactTable, mut visit: impl FnMut(Vec<Cell>) -> Result<Wanted>) -> Result<()> {
        let columns: Vec<&str> = self.read.iter().map(String::as_str).collect();
        let mut batches = table.scan(&columns).await?;
        while let Some(batch) = batches.next().await {
            for row in to_cells(&batch?)? {
                if self.conditions.iter().all(|condition| condition.holds(&row)) && matches!(visit(row)?, Wanted::NoMore) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// Whether further rows are wanted.
enum Wanted {
    More,
    NoMore,
}

fn spec_of(lane: &Lane, table: &str) -> TableSpec {
    match table {
        "attachments" => lane.shape.attachments_table(),
        "failed" => lane.shape.failed_table(),
        _ => lane.shape.events_table(),
    }
}

fn shown(spec: &TableSpec, args: &InventoryArgs, telling: &[&str]) -> Result<Vec<String>> {
    let asked: Vec<String> = args.columns.iter().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
    let mut shown: Vec<String> = Vec::new();
    for name in asked {
        if !spec.columns.iter().any(|column| column.name == name) {
            bail!("--columns: {}", condition::no_such_column(spec, &name));
        }
        if !shown.contains(&name) {
            shown.push(name);
        }
    }
    if !shown.is_empty() {
        return Ok(shown);
    }
    let all = spec.columns.iter().map(|column| column.name.clone());
    Ok(if args.place.json { all.collect() } else { telling.iter().map(|name| (*name).to_owned()).collect() })
}
