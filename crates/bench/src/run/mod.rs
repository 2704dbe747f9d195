//! Running benchmarks: one after the other, each as often as asked, into a report that is written anew after each.
//!
//! *Owns*: the order, the directory of a run, what all of its benchmarks share (broker, names), the report's file.
//! *Does not own*: what a benchmark is ([`crate::suite`]), how one run of it goes (`session`, `drive`), verdicts.
//!
//! ```text
//! names, tier ─▶ checks ─▶ broker ─▶ for each benchmark, for each repeat: session ─▶ Repeat ─▶ report.json
//! ```
//! Whatever happens, Ctrl-C too, what has been measured so far is in the report, and nothing that was started goes on.

mod check;
mod drive;
mod environment;
pub mod fault;
mod metrics;
mod session;

use std::cell::Cell;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use longshore_core::time;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::broker::Broker;
use crate::failure::Failure;
use crate::look;
use crate::model::{Benchmark, Repeat, Report, SCHEMA, Tier};
use crate::process::Binary;
use crate::suite::{self, SUITE, Spec};
use crate::world::{LogAt, Places};
use fault::Fault;

/// The name of the report below the directory of a run.
pub const REPORT: &str = "report.json";
/// Where configurations, logs and the broker are, below the directory of a run.
const WORK: &str = "work";

/// What to run, and where.
#[derive(Debug, Clone)]
pub struct Options {
    /// The benchmarks; none is all of the tier.
    pub names: Vec<String>,
    /// How much of each.
    pub tier: Tier,
    /// The directory for the report and all that is made meanwhile.
    pub out: PathBuf,
    /// `host:port` of brokers; none is a broker of the suite's own.
    pub brokers: Option<String>,
    /// Where files go, each run below a directory of its own; none is below `out`.
    pub store: Option<String>,
    /// The same for tables.
    pub tables: Option<String>,
    /// The log between the stages.
    pub log: LogKind,
    /// How often each is run; none is as often as the tier says.
    pub repeats: Option<u32>,
    /// How long the soak lasts.
    pub soak: Duration,
    /// The program under test, and the one that is running.
    pub binary: Binary,
    /// The command, word by word.
    pub command: Vec<String>,
    /// For tests of the suite: the share of each load that is taken, on top of the tier's.
    pub scale: f64,
    /// For tests of the suite: what is to go wrong.
    pub fault: Option<Fault>,
}

impl Options {
    /// Whether the suite starts a broker.
    fn own_broker(&self) -> bool {
        self.log == LogKind::Kafka && self.brokers.is_none()
    }
}

/// The log between the stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogKind {
    /// Apache Kafka; every worker is a process of its own.
    Kafka,
    /// The embedded one: all roles in one process, and what needs several is left out.
    Embedded,
}

/// Hears how a run goes.
pub trait News: Send + Sync {
    /// What is being done.
    fn progress(&self, line: &str);
    /// A benchmark has ended.
    fn ended(&self, benchmark: &Benchmark);
}

/// What all benchmarks of a run share.
pub(crate) struct Context<'a> {
    pub(crate) options: &'a Options,
    pub(crate) places: Places,
    pub(crate) broker_pid: Option<u32>,
    pub(crate) news: &'a dyn News,
    id: String,
    next: Cell<u32>,
}

impl Context<'_> {
    /// A name for a source that nobody else has, also on brokers that others use.
    pub(crate) fn name(&self) -> String {
        self.next.set(self.next.get() + 1);
        format!("{}-{:02}", self.id, self.next.get())
    }
}

/// The files and tables that runs have made; the logs of the workers stay. They are removed with this value at the latest,
/// which takes minutes where they are millions: so whoever has the report shows it first. Where a ledger does not hold, all of
/// it stays.
#[must_use]
#[derive(Debug)]
pub struct Leftovers {
    places: Places,
    /// What the names of all that is ours begin with.
    id: String,
    /// Whether they are needed to see what went wrong.
    evidence: bool,
}

impl Leftovers {
    /// Removes them, and says so before; or says that they stay.
    pub fn remove(self, news: &dyn News) {
        if self.evidence {
            let Leftovers { places: Places { store, tables, .. }, id, .. } = &self;
            let (store, tables) = (store.display(), tables.display());
            news.progress(&format!(
                "A ledger does not hold, or a worker broke: the files and tables stay below {store} and {tables}, in directories that begin with {id}"
            ));
        } else {
            news.progress("Removing the files and tables of the runs");
        }
        drop(self);
    }
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        if self.evidence {
            return;
        }
        // Of a run's own directory the embedded log; what its workers said stays.
        let Places { work, store, tables, .. } = &self.places;
        for (directory, part) in [(store, None), (tables, None), (work, Some("log"))] {
            let ours = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&self.id));
            let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
            for path in entries.map(|entry| entry.path()).filter(ours) {
                let _ = std::fs::remove_dir_all(part.map_or(path.clone(), |part| path.join(part)));
            }
        }
    }
}

/// Runs what is asked for until it is done or `stop` is cancelled; then the report says that it is not complete.
///
/// # Errors
/// When nothing can be run: with what is missing, and the remedy. What goes wrong in one run of a benchmark is in its report.
pub async fn run(options: &Options, news: &dyn News, stop: &CancellationToken) -> Result<(Report, Leftovers), Failure> {
    if options.log == LogKind::Embedded && options.brokers.is_some() {
        return Err(Failure::Usage("brokers are for --log kafka: leave out one of the two".to_owned()));
    }
    let chosen = chosen(options, news)?;
    fault::check(options.fault)?;
    let work = options.out.join(WORK);
    std::fs::create_dir_all(&work).map_err(Failure::io(format!("cannot make {}", work.display())))?;
    let _ours = hold(&work)?;
    let out = options.out.canonicalize().map_err(Failure::io(format!("cannot find {}", options.out.display())))?;
    let (store, tables) =
        (directory(&out, options.store.as_deref(), "files")?, directory(&out, options.tables.as_deref(), "tables")?);
    check::room(&chosen, options, &check::Spots { work: &work, store: &store, tables: &tables })?;
    if chosen.iter().any(|spec| spec.scale(options.tier) < 1.0) {
        news.progress("Loads are scaled down in the tier fast; --tier full has them whole");
    }
    if let Some(brokers) = &options.brokers {
        tokio::select! {
            reached = look::reach(brokers) => reached?,
            () = stop.cancelled() => {}
        }
    }
    let mut broker = broker(options, &out.join(WORK), news, stop).await?;
    let log = match options.log {
        LogKind::Embedded => LogAt::Embedded,
        // Stopped before there was a broker, nothing runs on it.
        LogKind::Kafka => {
            LogAt::Kafka(options.brokers.as_deref().or(broker.as_ref().map(Broker::address)).unwrap_or_default().to_owned())
        }
    };
    let places = Places { work: out.join(WORK), store, tables, log };
    let context = Context { options, broker_pid: broker.as_ref().map(Broker::pid), news, id: id(), next: Cell::new(0), places };
    let mut leftovers = Leftovers { places: context.places.clone(), id: context.id.clone(), evidence: false };
    let mut report = begun(&context);
    let ran = all(&context, &chosen, &mut report, broker.as_mut(), stop).await;
    let is_sound = |repeat: &Repeat| repeat.ledger.holds() && repeat.broken.is_empty();
    leftovers.evidence = !report.benchmarks.iter().flat_map(|benchmark| &benchmark.repeats).all(is_sound);
    // What a run that broke off or was stopped has left on others' brokers.
    if let (Some(brokers), false) = (&options.brokers, leftovers.evidence)
        && let Err(failure) = look::forget(brokers, &context.id).await
    {
        news.progress(&format!("Topics that begin with {} stay on the brokers: {failure}", context.id));
    }
    if let Some(broker) = broker {
        broker.end().await;
    }
    report.finished_at = Some(time::format(now_us()));
    let written = write(&report, &options.out);
    if let Err(failure) = ran.and(written) {
        news.progress(&failure.to_string());
        leftovers.remove(news);
        return Err(failure);
    }
    Ok((report, leftovers))
}

/// Keeps other suites out of a directory until this is dropped: they would write over each other's report.
fn hold(work: &Path) -> Result<File, Failure> {
    let failed = |source| Failure::Io { doing: format!("cannot lock {}", work.display()), source };
    let directory = File::open(work).map_err(failed)?;
    match directory.try_lock() {
        Ok(()) => Ok(directory),
        Err(TryLockError::WouldBlock) => {
            Err(Failure::Missing(format!("another suite works in {}: name another directory with --out", work.display())))
        }
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// The benchmarks that are asked for, in the order of the suite.
fn chosen(options: &Options, news: &dyn News) -> Result<Vec<&'static Spec>, Failure> {
    if let Some(unknown) = options.names.iter().find(|name| suite::find(name).is_none()) {
        let known: Vec<&str> = SUITE.iter().map(|spec| spec.name).collect();
        return Err(Failure::Usage(format!("there is no benchmark {unknown:?}; there are {}", known.join(", "))));
    }
    let named = |spec: &&Spec| options.names.iter().any(|name| name == spec.name);
    let wanted = |spec: &&Spec| if options.names.is_empty() { spec.is_in(options.tier) } else { named(spec) };
    let (fit, others): (Vec<&Spec>, Vec<&Spec>) =
        SUITE.iter().filter(wanted).partition(|spec| options.log == LogKind::Kafka || spec.fits_one_process());
    if !others.is_empty() {
        let names: Vec<&str> = others.iter().map(|spec| spec.name).collect();
        news.progress(&format!(
            "Left out, since they need several processes, and the embedded log has one: {}",
            names.join(", ")
        ));
    }
    if fit.is_empty() {
        return Err(Failure::Usage("none of these benchmarks can run on the embedded log: take --log kafka".to_owned()));
    }
    Ok(fit)
}

/// A directory that is named, or one below `out`.
fn directory(out: &Path, named: Option<&str>, name: &str) -> Result<PathBuf, Failure> {
    let path = named.map_or_else(|| out.join(name), PathBuf::from);
    let failed = || Failure::io(format!("cannot use {} as a directory", path.display()));
    if path.to_string_lossy().contains("://") {
        let what = format!("{}: the suite measures local directories; name one", path.display());
        return Err(Failure::Usage(what));
    }
    std::fs::create_dir_all(&path).map_err(failed())?;
    path.canonicalize().map_err(failed())
}

/// A broker of the suite's own, where it needs one; none when it is stopped before.
async fn broker(options: &Options, work: &Path, news: &dyn News, stop: &CancellationToken) -> Result<Option<Broker>, Failure> {
    if !options.own_broker() {
        return Ok(None);
    }
    news.progress("Starting a Kafka broker");
    let directory = work.join("kafka");
    tokio::select! {
        broker = Broker::start(&directory) => broker.map(Some),
        () = stop.cancelled() => Ok(None),
    }
}

fn begun(context: &Context<'_>) -> Report {
    Report {
        schema: SCHEMA,
        tier: context.options.tier,
        command: context.options.command.clone(),
        started_at: time::format(now_us()),
        finished_at: None,
        complete: false,
        environment: environment::of(context),
        settings: environment::settings(context),
        benchmarks: Vec::new(),
    }
}

/// Runs all; what has been measured is in the report whenever this ends or is dropped.
async fn all(
    context: &Context<'_>,
    chosen: &[&'static Spec],
    report: &mut Report,
    mut broker: Option<&mut Broker>,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    write(report, &context.options.out)?;
    if stop.is_cancelled() {
        return Ok(());
    }
    if context.broker_pid.is_some() {
        context.news.progress("Letting the broker warm up");
        tokio::select! {
            woken = drive::wake(context) => woken?,
            () = stop.cancelled() => return Ok(()),
        }
    }
    for spec in chosen {
        report.benchmarks.push(empty(spec, context.options));
        for number in 1..=repeats(spec, context.options) {
            context.news.progress(&format!("{} {number}/{}", spec.name, repeats(spec, context.options)));
            let repeat = tokio::select! {
                repeat = drive::one(context, spec) => repeat,
                () = stop.cancelled() => {
                    report.benchmarks.retain(|benchmark| !benchmark.repeats.is_empty());
                    return Ok(());
                }
            };
            if let Some(benchmark) = report.benchmarks.last_mut() {
                benchmark.repeats.push(repeat);
            }
            write(report, &context.options.out)?;
            if broker.as_mut().is_some_and(|broker| broker.has_ended()) {
                return Err(Failure::Missing(
                    "the Kafka broker has ended unasked; its log is below the directory of the run".to_owned(),
                ));
            }
        }
        if let Some(benchmark) = report.benchmarks.last() {
            context.news.ended(benchmark);
        }
    }
    report.complete = true;
    Ok(())
}

fn repeats(spec: &Spec, options: &Options) -> u32 {
    options.repeats.unwrap_or_else(|| spec.repeats(options.tier)).max(1)
}

/// The share of the full size that is taken.
pub(crate) fn scale(spec: &Spec, options: &Options) -> f64 {
    spec.scale(options.tier) * options.scale
}

fn empty(spec: &Spec, options: &Options) -> Benchmark {
    let mut workers = spec.workers(options.tier);
    if options.log == LogKind::Embedded {
        workers = [("all".to_owned(), 1)].into();
    }
    Benchmark {
        name: spec.name.to_owned(),
        description: spec.description.to_owned(),
        category: spec.category,
        load: drive::load(spec, options),
        targets: spec.targets(),
        workers,
        in_flight: Some(spec.cast.in_flight),
        repeats: Vec::new(),
    }
}

/// Writes the report so that whoever reads it finds the one before or this one, whole.
fn write(report: &Report, out: &Path) -> Result<(), Failure> {
    let (path, fresh) = (out.join(REPORT), out.join(format!(".{REPORT}.new")));
    let failed = || Failure::io(format!("cannot write {}", path.display()));
    let text = serde_json::to_vec_pretty(report).unwrap_or_default();
    std::fs::write(&fresh, text).map_err(failed())?;
    std::fs::rename(&fresh, &path).map_err(failed())
}

/// What the names of all that is a suite's own begin with: nobody else has it, though others begin at the same moment on the
/// same brokers.
fn id() -> String {
    let now = time::format(now_us()).replace([':', '-', '.'], "").to_lowercase();
    format!("bench-{now}-{:05x}", Uuid::new_v4().as_u128() >> 108)
}

/// Microseconds since 1970.
pub(crate) fn now_us() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// A run of a benchmark that came to nothing.
pub(crate) fn nothing(why: String) -> Repeat {
    Repeat {
        started_at: time::format(now_us()),
        warm_up_s: 0.0,
        duration_s: 0.0,
        metrics: Default::default(),
        latency: None,
        stage_latency: Default::default(),
        processes: Vec::new(),
        samples: Vec::new(),
        marks: Vec::new(),
        generator: None,
        ledger: Default::default(),
        inconclusive: vec![why],
        broken: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_that_begin_at_the_same_moment_have_different_names() {
        let names: std::collections::BTreeSet<String> = (0..100).map(|_| id()).collect();
        assert!(names.len() >= 99, "of a million, two among a hundred are the same once in two hundred: {names:?}");
        assert!(names.iter().all(|name| name.starts_with("bench-20") && name.len() == 31), "{names:?}");
    }
}
