//! `longshore demo`: the whole chain against a local origin, every outcome against a prediction.
//!
//! *Owns*: the origin, the script of events with its prediction, the comparison. *Does not own*: any of the work: it
//! runs the same code as `longshore fetch` and `longshore reconcile`.

mod check;
pub mod content;
pub mod origin;
mod report;
mod script;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cli::{DemoArgs, FetchArgs, PolicyArgs};
use crate::exit;
use crate::fetch::args::RunArgs;
use crate::fetch::{self, Display, Stop, Summary};
use crate::place::Place;
use crate::reconcile;
use crate::voice::Voice;
use origin::{Options, Origin};
use report::Report;
use script::Script;

/// Says that a directory is the demo's own.
const MARK: &str = ".longshore-demo";
/// The events.
const EVENTS: &str = "events.ndjson";

/// Runs the command.
pub(crate) async fn run(args: DemoArgs) -> Result<u8> {
    let stop = Stop::on_signals(Voice::plain())?;
    let directory = directory(args.to.as_deref())?;
    let (origin, throttling) = (start(1)?, start(2)?);
    let script = script::write(&origin, &throttling);
    let events = directory.join(EVENTS);
    std::fs::write(&events, lines(&script)).with_context(|| format!("writing {}", events.display()))?;
    if !args.json {
        print!("{}", report::opening(&origin, &script, &events));
    }
    let display = Display::new(args.json);
    let summary = fetch::fetch(&fetch_args(&directory, &events), &stop, &display).await?;
    if summary.interrupted {
        eprintln!("Stopped. What was done is in {}", directory.display());
        return Ok(exit::FAILED);
    }
    let stopped = stop.draining();
    let report = tokio::select! {
        report = judge(&directory, &script, [&origin, &throttling], summary) => report?,
        () = stopped.cancelled() => return Ok(exit::FAILED),
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    Ok(if report.as_predicted { exit::DONE } else { exit::FAILED })
}

fn start(seed: u64) -> Result<Origin> {
    Origin::start(Options { seed, ..Options::default() }).context("starting the local origin")
}

/// Looks at everything that the run left behind.
async fn judge(directory: &Path, script: &Script, origins: [&Origin; 2], summary: Summary) -> Result<Report> {
    let place = Place::existing(directory)?;
    let outcome = check::compare(&place, script).await?;
    let faults = reconcile::deep(directory).await?;
    Ok(Report::new(script, outcome, &faults, origins, summary))
}

/// The directory to work in: new, empty, or of an earlier demo.
fn directory(asked: Option<&Path>) -> Result<PathBuf> {
    let unique = || std::env::temp_dir().join(format!("longshore-demo-{}", &uuid::Uuid::new_v4().simple().to_string()[..8]));
    let directory = asked.map_or_else(unique, Path::to_path_buf);
    let directory = std::path::absolute(&directory)?;
    let shown = directory.display();
    std::fs::create_dir_all(&directory).with_context(|| format!("creating the directory {shown}; name another with --to"))?;
    let mut entries = std::fs::read_dir(&directory).with_context(|| format!("reading the directory {shown}"))?;
    let mark = directory.join(MARK);
    if entries.next().is_some() && !mark.exists() {
        bail!("{shown} is not empty and was not made by a demo; name a new or empty directory with --to");
    }
    std::fs::write(&mark, "Made by `longshore demo`; may be removed.\n").with_context(|| format!("writing to {shown}"))?;
    Ok(directory)
}

fn lines(script: &Script) -> Vec<u8> {
    script.lines.iter().flat_map(|line| line.iter().copied().chain([b'\n'])).collect()
}

/// What a user would type, with times that suit a demo.
fn fetch_args(directory: &Path, events: &Path) -> FetchArgs {
    let policy = PolicyArgs {
        allow_host: Vec::new(),
        allow_private: vec!["127.0.0.1/32".into()],
        allow_http: true,
        file_types: content::KINDS.map(str::to_owned).to_vec(),
        max_size: None,
        path: None,
    };
    FetchArgs {
        inputs: vec![events.display().to_string()],
        to: directory.to_path_buf(),
        url_col: None,
        run: RunArgs::default(),
        policy,
        header: Vec::new(),
        max_in_flight: 64,
        memory: 48 << 20,
        per_host: 32,
        retry: "200ms,500ms".into(),
        max_wait: Duration::from_secs(2),
        timeout_connect: Duration::from_secs(5),
        timeout_first_byte: Duration::from_secs(10),
        timeout_idle: Duration::from_secs(10),
        timeout_total: Duration::from_millis(1_500),
        no_sync: false,
        json: false,
        quiet: false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_directory_of_somebody_else_is_refused_and_our_own_is_not() {
        let root = tempfile::tempdir().unwrap();
        let ours = root.path().join("ours");
        assert_eq!(directory(Some(&ours)).unwrap(), ours);
        assert_eq!(directory(Some(&ours)).unwrap(), ours);
        std::fs::write(root.path().join("thesis.txt"), "years of work").unwrap();
        let error = directory(Some(root.path())).unwrap_err().to_string();
        assert!(error.contains("not empty") && error.contains("--to"), "{error}");
        assert!(!root.path().join(MARK).exists());
    }

    #[test]
    fn the_script_says_what_each_line_becomes() {
        let (origin, throttling) = (start(1).unwrap(), start(2).unwrap());
        let script = script::write(&origin, &throttling);
        let named: usize = script.groups.iter().map(|group| group.size).sum();
        assert_eq!(named, script.expected.len() + script.poison.len(), "two groups name the same URL");
        assert_eq!(script.lines.len(), named + script.repeated);
    }
}
