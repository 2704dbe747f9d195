//! Exact under kill: the real binary, killed at random moments and started again, until it ends by itself.
//!
//! Small by default; `LONGSHORE_GATE=full` runs it whole (20,000 URLs, 20 kills), `LONGSHORE_SEED=n` repeats a run.

#![allow(clippy::unwrap_used)]

mod batch;

use std::collections::BTreeMap;
use std::time::Duration;

use batch::{Batch, finish, until, wait};
use longshore::demo::content::{Dice, KINDS};
use longshore::demo::origin::{Options, Origin};
use rustix::process::Signal;

/// How large the gate is.
struct Size {
    urls: u64,
    kills: u64,
    /// The longest time between a start and its kill, in milliseconds.
    longest: u64,
}

fn size() -> Size {
    match std::env::var("LONGSHORE_GATE").as_deref() {
        Ok("full") => Size { urls: 20_000, kills: 20, longest: 4_000 },
        _ => Size { urls: 2_000, kills: 8, longest: 1_500 },
    }
}

fn seed() -> u64 {
    let chosen = std::env::var("LONGSHORE_SEED").ok().and_then(|seed| seed.parse().ok());
    chosen.unwrap_or_else(|| u64::from(std::process::id()))
}

/// What must become of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    File,
    AnyFile,
    Failed(&'static str, &'static str),
}

/// 5 % answer 500 first, 1 % each: 404, never-ending, wrong length, other bytes each time.
fn planned(number: u64) -> (&'static str, End) {
    match number % 100 {
        1 => ("missing", End::Failed("permanent", "http_status: ")),
        2 => ("endless", End::Failed("transient", "total_timeout: ")),
        3 => ("short", End::Failed("transient", "wrong_length: ")),
        4 => ("changing", End::AnyFile),
        5..=9 => ("fails-1", End::File),
        _ => ("good", End::File),
    }
}

fn path(number: u64) -> String {
    let kind = KINDS[usize::try_from(number).unwrap() % KINDS.len()];
    format!("/{}/{}/{number}.{kind}", planned(number).0, number % 37)
}

/// All URLs once, one in ten of them again, in random order.
fn lines(origin: &Origin, urls: u64, dice: &mut Dice) -> Vec<String> {
    let mut lines: Vec<String> = (0..urls).map(|number| origin.url(&path(number))).collect();
    for _ in 0..urls / 10 {
        lines.push(lines[usize::try_from(dice.below(urls)).unwrap()].clone());
    }
    for last in (1..lines.len()).rev() {
        lines.swap(last, usize::try_from(dice.below(last as u64 + 1)).unwrap());
    }
    lines
}

/// Starts and kills, then lets a last run end by itself.
fn run_under_kill(batch: &Batch, list: &str, size: &Size, dice: &mut Dice) {
    for kill in 0..size.kills {
        let mut child = batch.command(&[list]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(50 + dice.below(size.longest)));
        assert_eq!(child.try_wait().unwrap(), None, "it ended before kill {kill}: {:?}", wait(child));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let finished = batch.fetch(&[list]);
    assert_eq!(finished.code, Some(3), "{finished:?}");
}

#[test]
fn exact_under_kill() {
    let (size, seed) = (size(), seed());
    println!("repeat with: LONGSHORE_SEED={seed} cargo test -p longshore --test gate exact_under_kill");
    let mut dice = Dice::new(seed);
    let origin = Origin::start(Options { seed, largest: 8_000, delay: Duration::from_millis(2) }).unwrap();
    let batch = Batch::new();
    let list = batch.list("urls.txt", lines(&origin, size.urls, &mut dice));
    run_under_kill(&batch, &list, &size, &mut dice);

    let inventory = batch.inventory();
    let (stored, failed) = inventory.exact();
    let mut wrong = BTreeMap::new();
    for number in 0..size.urls {
        let (path, end) = (path(number), planned(number).1);
        let url = origin.url(&path);
        let digest = || batch::sha256(&origin.file(&path));
        let as_planned = match (stored.get(url.as_str()), failed.get(url.as_str()), end) {
            (Some(row), None, End::File) => row.sha256 == digest(),
            (Some(_), None, End::AnyFile) => true,
            (None, Some(row), End::Failed(status, reason)) => row.status == status && row.message.starts_with(reason),
            _ => false,
        };
        if !as_planned {
            wrong.insert(path, (end, stored.get(url.as_str()), failed.get(url.as_str())));
        }
    }
    assert!(wrong.is_empty(), "{} of {} URLs: {wrong:#?}", wrong.len(), size.urls);
    assert_eq!((stored.len() + failed.len()) as u64, size.urls, "rows of URLs that nobody fed");
    inventory.objects_are_as_said(&batch.to);
    batch.reconcile_with_leftovers("/changing/");
}

#[test]
fn of_two_copies_at_once_the_second_is_refused_and_the_first_is_unharmed() {
    let (origin, batch) = (batch::origin(), Batch::new());
    let urls: Vec<_> = (0..40).map(|n| origin.url(&format!("/slow-1000/{n}.pdf"))).collect();
    let list = batch.list("urls.txt", &urls);
    let first = batch.command(&[&list]).spawn().unwrap();
    until("the first copy is at work", || origin.total_requests() > 0);
    let second = batch.fetch(&[&list]);
    assert_eq!(second.code, Some(1), "{second:?}");
    let told = second.stderr.to_lowercase();
    assert!(told.contains("in use") && told.contains(&first.id().to_string()), "{second:?}");
    let first = wait(first);
    assert_eq!(first.code, Some(0), "{first:?}");
    let inventory = batch.inventory();
    assert_eq!(inventory.exact().0.len(), urls.len());
    inventory.objects_are_as_said(&batch.to);
    assert_eq!(origin.total_requests(), urls.len() as u64, "the second copy did some of the work again");
    batch.reconcile();
}

#[test]
fn the_demo_ends_as_it_predicts_twice_in_one_directory() {
    let batch = Batch::new();
    for _ in 0..2 {
        let mut command = batch::longshore();
        command.args(["demo", "--json", "--to"]).arg(&batch.to);
        let finished = finish(command);
        assert_eq!(finished.code, Some(0), "{finished:?}");
        let report: serde_json::Value = serde_json::from_str(&finished.stdout).unwrap();
        assert_eq!((&report["as_predicted"], &report["forbidden_dials"]), (&true.into(), &0.into()), "{report:#}");
    }
    let mut stopped = batch::longshore();
    let child = stopped.args(["demo", "--to"]).arg(&batch.to).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(1_000));
    batch::signal(&child, Signal::INT);
    let stopped = wait(child);
    assert_eq!(stopped.code, Some(1), "{stopped:?}");
    assert!(stopped.stderr.contains("Stopped"), "{stopped:?}");
    batch.reconcile();
}
