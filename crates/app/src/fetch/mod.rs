//! `longshore fetch`: a batch from a list of URLs to files and an exact inventory.
//!
//! The input is fed into the embedded log as events; the same stages as in a service take it from there. The run ends
//! when the input is read and every group has read its topics to the end, as of one moment of the log.

pub mod args;
mod dry;
mod earlier;
mod failed_file;
mod feed;
mod patience;
mod progress_bar;
mod remap;
mod signals;
mod summary;
mod watch;
mod which;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use longshore_core::retry::Ladder;
use longshore_origin::{Settings, Timeouts};
use longshore_stages::download::{Limits, TRANSFER_BYTES};
use longshore_stages::progress::Progress;
use longshore_stages::record::Gather;

use crate::cli::FetchArgs;
use crate::dlq::args::LetterArgs;
use crate::dlq::{self, Wish, tables_of};
use crate::exit;
use crate::pipeline::{OpenLane, Plan, Roles, Setup, Stages, World};
use crate::place::{Lane, Place, Tables};
use crate::render;
use crate::settings::{self, Definition};
use crate::voice::Voice;
use args::MaxFailed;
use earlier::Earlier;
use feed::Feed;
pub(crate) use progress_bar::Display;
use remap::Remap;
pub(crate) use signals::Stop;
use summary::Ended;
pub(crate) use summary::Summary;
use watch::Watch;

/// How often it is looked how far the run is.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The same at first once all that is left are commits; then ever less often, up to [`LOOK_EVERY`].
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Bodies that are complete and wait for their sync.
const PUBLISHING: usize = 1_024;
/// Offsets in a partition's window.
const WINDOW: usize = 4_096;
/// How long an attachment waits for a host that does not answer; from then on each wait is a failed attempt.
const MAX_DARK: Duration = Duration::from_secs(120);

/// Runs the command.
pub(crate) async fn run(args: FetchArgs) -> Result<u8> {
    if args.run.dry_run {
        let (_, plan) = planned(&args).context(exit::Usage)?;
        let lane = plan.place.only()?;
        return dry::run(&args, &lane.source);
    }
    let stop = Stop::on_signals(Voice::plain())?;
    let display = Display::new(args.quiet || args.json);
    let summary = fetch(&args, &stop, &display).await?;
    if args.json {
        render::print_json(&serde_json::to_value(&summary)?)?;
    } else if !args.quiet {
        render::print(&summary)?;
    }
    for error in summary.unreadable.iter().chain(&summary.gave_up) {
        eprintln!("error: {error}");
    }
    Ok(if summary.interrupted || summary.gave_up.is_some() || !summary.unreadable.is_empty() {
        exit::FAILED
    } else if summary.unresolved > 0 {
        exit::FOUND
    } else {
        exit::DONE
    })
}

/// Fetches what the arguments name, until every attachment is terminal or `stop` says to stop.
pub(crate) async fn fetch(args: &FetchArgs, stop: &Stop, display: &Display) -> Result<Summary> {
    raise_open_files();
    let (definition, plan) = planned(args).context(exit::Usage)?;
    if args.inputs.is_empty() && !plan.place.state().is_dir() {
        let nothing =
            format!("no INPUT, and {} holds no interrupted run to go on with: name a list of URLs", plan.place.root.display());
        return Err(anyhow::Error::msg(nothing).context(exit::Usage));
    }
    // Opened first, so that a wrong name leaves nothing behind; on a thread, since a pipe may keep us waiting.
    let opening = args.clone();
    let inputs = tokio::select! {
        opened = tokio::task::spawn_blocking(move || feed::open(&opening)) => opened??,
        () = stop.draining().cancelled_owned() => bail!("stopped before anything was read"),
    };
    let began = Instant::now();
    let world = World::open(&plan).await?;
    let remap = Remap::of(&plan.place, &definition)?;
    plan.place.define(&definition)?;
    let [open] = world.lanes.as_slice() else { bail!("a batch has one source") };
    let earlier = Earlier::of(world.view.as_ref(), open).await?;
    let tables = tables_of(open);
    let replayed = match &args.run.retry_failed {
        Some(class) => retry_failed(class.as_deref(), &world, open, &tables, display).await?,
        None => 0,
    };
    let mut stages = world.start(&plan, &Roles::all())?;
    let mut feed = Feed::start(inputs, &world, open, earlier, remap.reading, stop.draining())?;
    let mut watch = Watch::new(&plan);
    let mut brake = Brake { most: args.run.max_failed, said: None };
    let driven = drive(&mut stages, &mut feed, &world, &mut watch, stop, display, &mut brake).await;
    display.clear();
    if driven.is_err() {
        stages.abort().await;
    }
    let interrupted = driven.with_context(|| {
        format!("stopped; once the cause is removed, the same command goes on in {}", plan.place.root.display())
    })?;
    world.close().await?;
    if feed.is_whole() {
        remap.done()?;
    }
    let failed = failed_file::write(&plan.place.root, world.view.as_ref(), &open.lane, &tables, &world.store).await?;
    let gave_up = brake.at_end(open).map(|said| {
        let root = plan.place.root.display();
        format!(
            "{said}; why: longshore dlq ls --to {root} --by reason; go on: longshore fetch --to {root}, with --retry-failed for what \
             failed, and a larger --max-failed"
        )
    });
    let unreadable = feed.totals().unreadable();
    let interrupted = interrupted && brake.said.is_none();
    let ended = Ended { unreadable, took: began.elapsed(), interrupted, gave_up, replayed };
    let summary = Summary::of(open, &plan, &failed, &watch, ended);
    drop(stages);
    world.open.close().await?;
    Ok(summary)
}

/// Which source is meant, and everything that its stages need.
fn planned(args: &FetchArgs) -> Result<(Definition, Plan)> {
    let definition = which::definition(&args.run, &Place::batch(&args.to, Vec::new())?)?;
    if let Some(Some(class)) = &args.run.retry_failed {
        dlq::parse_class(class).context("--retry-failed")?;
    }
    let plan = plan(args, &definition)?;
    Ok((definition, plan))
}

/// Puts what failed earlier back into the chain, in its next life.
async fn retry_failed(class: Option<&str>, world: &World, open: &OpenLane, tables: &Tables, display: &Display) -> Result<u64> {
    let filter = LetterArgs { class: class.map(str::to_owned), ..LetterArgs::default() };
    let wish = Wish { filter, ..Wish::default() };
    let (view, log) = (world.view.as_ref(), world.log.as_ref());
    let report = dlq::replay(view, Some(log), &open.lane, tables, Some(&world.store), &wish).await.context("--retry-failed")?;
    display.say(&report.to_string());
    Ok(report.replayed)
}

/// Stops a run in which too many attachments fail.
struct Brake {
    most: Option<MaxFailed>,
    said: Option<String>,
}

impl Brake {
    /// Whether the run shall stop now.
    fn look(&mut self, open: &OpenLane) -> bool {
        let (failed, finished) = Self::counts(open);
        if self.said.is_none() && self.most.is_some_and(|most| most.exceeded(failed, finished)) {
            self.said = self.most.map(|most| Self::sentence(most, failed, finished));
            return true;
        }
        false
    }

    /// Why the run stopped early, or ends as a failure.
    fn at_end(&mut self, open: &OpenLane) -> Option<String> {
        let (failed, finished) = Self::counts(open);
        let late = self.most.filter(|most| most.exceeded_at_end(failed, finished));
        self.said.clone().or_else(|| late.map(|most| Self::sentence(most, failed, finished)))
    }

    fn counts(open: &OpenLane) -> (u64, u64) {
        let failed = Progress::get(&open.progress.failed);
        (failed, failed + Progress::get(&open.progress.stored))
    }

    fn sentence(most: MaxFailed, failed: u64, finished: u64) -> String {
        format!("{failed} of {finished} attachments failed, more than --max-failed {most}")
    }
}

/// Sees the run to its end; returns whether it was interrupted.
async fn drive(
    stages: &mut Stages,
    feed: &mut Feed,
    world: &World,
    watch: &mut Watch,
    stop: &Stop,
    display: &Display,
    brake: &mut Brake,
) -> Result<bool> {
    let mut pause = Duration::ZERO;
    let draining = stop.draining();
    while stages.running() > 0 {
        tokio::select! {
            () = draining.cancelled(), if !stages.drain.is_cancelled() => {
                display.say("Stopping: letting downloads under way end (Ctrl-C again stops at once)");
                stages.drain.cancel();
                stages.hurry.cancel();
            }
            ended = feed.ended(), if feed.is_running() => {
                ended?;
                stages.ended.cancel();
                pause = LOOK_AGAIN;
            }
            Some(ended) = stages.next_end() => ended?,
            () = tokio::time::sleep(pause) => {
                if feed.is_running() {
                    pause = LOOK_EVERY;
                } else {
                    // A glance at two counters costs nothing, a look asks the log.
                    let near = watch.is_near_the_end(&world.lanes[0].progress);
                    pause = if near { (pause + pause / 4).min(LOOK_EVERY) } else { LOOK_AGAIN };
                    if !near && !watch.is_due() {
                        continue;
                    }
                }
                let seen = watch.look(world, &world.lanes[0], feed.totals()).await?;
                display.show(&seen);
                if brake.look(&world.lanes[0]) {
                    draining.cancel();
                }
                if !feed.is_running() && seen.upstream_idle {
                    stages.hurry.cancel();
                }
                if !feed.is_running() && seen.idle {
                    stages.drain.cancel();
                    stages.drain_record.cancel();
                }
                // Only record is left of a run that was stopped: it ends once it has read what the others left it.
                if stages.drain.is_cancelled() && stages.running() == 1 && seen.recorded {
                    stages.drain_record.cancel();
                }
            }
        }
    }
    watch.look(world, &world.lanes[0], feed.totals()).await?;
    Ok(draining.is_cancelled() && !(feed.is_whole() && watch.idle()))
}

fn plan(args: &FetchArgs, definition: &Definition) -> Result<Plan> {
    if args.to.to_str().is_some_and(|to| to.contains("://")) {
        bail!("--to {}: only a local directory can be the target in this version", args.to.display());
    }
    let source = settings::source(definition, &args.policy)?;
    let headers = args.header.iter().map(|h| settings::parse_header(h)).collect::<Result<Vec<_>>>()?;
    let timeouts = Timeouts {
        connect: args.timeout_connect,
        first_byte: args.timeout_first_byte,
        idle: args.timeout_idle,
        total: args.timeout_total,
    };
    let per_host = args.per_host as usize;
    let needed = u64::from(args.max_in_flight) * TRANSFER_BYTES;
    if needed > args.memory {
        let (kib, have) = (needed.div_ceil(1024), args.memory / 1024);
        bail!(
            "--max-in-flight {} needs {kib} KiB and --memory allows {have}: add --memory {kib}KiB, or take fewer",
            args.max_in_flight
        );
    }
    let origin = Settings {
        policy: source.policy.clone(),
        timeouts,
        per_host,
        max_idle: args.max_in_flight as usize,
        ..Settings::default()
    };
    let ladder =
        Ladder { max_retry_after: args.max_wait, max_dark: MAX_DARK, ..Ladder::new(settings::parse_ladder(&args.retry)?) };
    let limits = Limits {
        max_in_flight: args.max_in_flight as usize,
        per_host,
        memory: args.memory,
        window: WINDOW,
        publishing: PUBLISHING,
        grace: Duration::from_secs(25),
        stuck: longshore_stages::download::STUCK,
    };
    let gather = Gather { freshness: Duration::from_millis(300), max_rows: 5_000, max_bytes: 4 << 20 };
    let gather_events = Gather { freshness: Duration::from_secs(10), max_rows: 5_000, max_bytes: 4 << 20 };
    let setups = vec![Setup { origin, headers, refresh: None, enrich: None, ladder }];
    let place = Place::batch(&args.to, vec![Lane::of(source)])?;
    Ok(Plan { place, setups, limits, gather, gather_events, sync: !args.no_sync })
}

/// Many transfers need many open files: asks for as many as the system lets us have.
pub(crate) fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // It is a wish: with fewer files the store queues fewer uploads, and that is all.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
