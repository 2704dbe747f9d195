//! `longshore send`: events from files to a source's input.
//!
//! ```text
//! reader thread ─▶ [≤ 1 batch of ≤ 4,096 lines, ≤ 1 MiB] ─▶ POST /v1/events/{source}   while a service has the log
//!                                                      └──▶ the log                   while nobody has it
//! ```
//! A batch counts as sent once it is durable. After a broken connection it is sent again: repeats add no row.

mod batch;
mod way;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;
use tokio::sync::mpsc;

use crate::config::{self, DEFAULT_FILE, Purpose};
use crate::place::Lane;
use crate::settings::parse_header;
use crate::{exit, input, render};
use batch::{Batch, Portion};
use way::Sender;

/// `longshore send`
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  longshore send events.ndjson --source xact\n  cat urls.txt | longshore send - -c /etc/longshore.yaml --source urls\n\n\
                        Exit codes: 0 all sent; 1 failed, or some lines were not sent; 2 wrong usage; 78 wrong configuration."
)]
pub struct SendArgs {
    /// NDJSON, one event a line; for URLs also CSV, TSV and plain lists; also gzipped; `-` is standard input
    #[arg(value_name = "FILE", required = true)]
    inputs: Vec<String>,
    /// The configuration
    #[arg(long, short, value_name = "FILE", default_value = DEFAULT_FILE)]
    config: PathBuf,
    /// The source, where there are several
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// The column (name, or number from 1) or JSON field that holds the URL
    #[arg(long, value_name = "COLUMN")]
    url_col: Option<String>,
    /// A header `Name: value` of each event, for sources that share a topic and are told apart by it (repeatable)
    #[arg(long, value_name = "HEADER")]
    header: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What became of the inputs.
#[derive(Debug, Default)]
struct Totals {
    sent: u64,
    /// Lines and inputs that were not sent, and why.
    problems: Vec<String>,
    /// Problems beyond those that are kept.
    more: u64,
}

/// The most problems that are named one by one.
const PROBLEMS: usize = 20;

impl Totals {
    fn note(&mut self, problem: String) {
        if self.problems.len() < PROBLEMS { self.problems.push(problem) } else { self.more += 1 }
    }
}

/// Runs the command.
pub(crate) async fn run(args: SendArgs) -> Result<u8> {
    let ready = config::load(&args.config, Purpose::Look).context(exit::Configuration)?;
    let lane = ready.plan.place.source(args.source.as_deref()).context(exit::Usage)?.clone();
    let headers = args.header.iter().map(|header| parse_header(header)).collect::<Result<Vec<_>>>().context(exit::Usage)?;
    let opening = args.clone();
    let open =
        move || opening.inputs.iter().map(|name| input::open(name, opening.url_col.as_deref())).collect::<Result<Vec<_>>>();
    let inputs = tokio::task::spawn_blocking(open).await??;
    let (portions, mut received) = mpsc::channel(1);
    std::thread::Builder::new().name("input".into()).spawn(move || batch::read(inputs, &portions))?;
    let mut sender = Sender::new(&ready, &lane, headers).await?;
    let mut totals = Totals::default();
    while let Some(portion) = received.recv().await {
        match portion {
            Portion::Batch(batch) => sender.deliver(&batch, &mut totals).await.with_context(|| so_far(&totals, &batch))?,
            Portion::Problem(problem) => totals.note(problem),
        }
    }
    let way = sender.close().await?;
    report(&args, &lane, &totals, &way)?;
    Ok(if totals.problems.is_empty() { exit::DONE } else { exit::FAILED })
}

fn so_far(totals: &Totals, batch: &Batch) -> String {
    format!(
        "{} events were sent, {} and what follows were not; send it all again once the cause is removed: repeats add no row",
        totals.sent,
        batch.place()
    )
}

fn report(args: &SendArgs, lane: &Lane, totals: &Totals, way: &str) -> Result<()> {
    let not_sent = totals.problems.len() as u64 + totals.more;
    if args.json {
        let (source, topic) = (lane.name(), lane.topics.raw());
        let value = json!({ "source": source, "topic": topic, "sent": totals.sent, "not_sent": not_sent, "way": way });
        render::print_json(&value)?;
    } else {
        render::print(format!("{} events sent to {} ({way})", totals.sent, lane.name()))?;
    }
    totals.problems.iter().for_each(|problem| eprintln!("error: {problem}"));
    if totals.more > 0 {
        eprintln!("error: {} more lines were not sent", totals.more);
    }
    Ok(())
}
