//! `longshore run`: the service, all sources and all or some of the roles in one process.
//!
//! *Owns*: the order in which things start and stop, and what is said meanwhile. *Does not own*: the stages, the HTTP
//! server, the configuration.
//!
//! ```text
//! configuration ─▶ log, tables, store ─▶ HTTP ─▶ stages ─▶ [running] ── SIGTERM ──▶ no more events are taken
//!     exit ◀── log closed ◀── HTTP stopped ◀── record has read what they left ◀── ingest, download, retry have ended
//! ```
//! Promises: 4 (the whole of the drain fits into `shutdown_grace`).

mod broker;
mod rates;
mod standing;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use tokio::time::Instant;

use crate::config::{self, DEFAULT_FILE, Http, Problem, Purpose, Ready};
use crate::exit;
use crate::fetch::{Stop, raise_open_files};
use crate::open_log::OpenLog;
pub use crate::pipeline::Role;
use crate::pipeline::{OpenLane, Plan, Roles, Stages, World};
use crate::service::{Server, Service};
use crate::sight::{Sight, Watch, Watched};
use crate::voice::{LogFormat, Loudness, Voice};
use rates::Rates;
use standing::{left_behind, unrecorded};

/// How often it is said what was done, if anything was.
const SAY_EVERY: Duration = Duration::from_secs(10);
/// How often a drain looks whether record has read everything.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The part of the grace that is kept for recording what the downloads leave, and its longest.
const RECORD_SHARE: u32 = 5;
const RECORD_GRACE: Duration = Duration::from_secs(3);
/// How long after the grace what has not ended is broken off.
const LAST_GRACE: Duration = Duration::from_secs(2);

/// `longshore run`
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  longshore run\n  longshore run -c /etc/longshore.yaml --quiet\n  longshore run --log-format json\n\nSIGTERM or Ctrl-C lets what is under way end; a second one stops at once.\n\
                        Exit codes: 0 stopped when asked to; 1 failed; 2 wrong usage; 78 wrong configuration."
)]
pub struct RunArgs {
    /// The configuration
    #[arg(long, short, value_name = "FILE", default_value = DEFAULT_FILE)]
    config: PathBuf,
    /// Do only this part of the work [default: all]
    #[arg(long, value_name = "ROLES", value_delimiter = ',')]
    role: Vec<Role>,
    /// Say nothing but warnings and errors
    #[arg(long, short)]
    quiet: bool,
    /// Say it in lines for people, or in JSON, one object a line
    #[arg(long, value_name = "FORMAT", env = crate::TRACING_FORMAT_VARIABLE, default_value = "text")]
    log_format: LogFormat,
}

impl RunArgs {
    /// How it says things.
    pub(crate) fn voice(&self) -> Voice {
        Voice::new(self.log_format, if self.quiet { Loudness::Quiet } else { Loudness::Normal })
    }
}

/// Runs the command.
pub(crate) async fn run(args: RunArgs) -> Result<u8> {
    let voice = args.voice();
    let stop = Stop::on_signals(voice)?;
    let Ready { mut plan, http, warnings } = config::load(&args.config, Purpose::Run).context(exit::Configuration)?;
    warn(&args, &warnings, voice);
    raise_open_files();
    let roles = Roles::of(&args.role);
    let grace = plan.limits.grace;
    // Downloads end early enough for their rows.
    plan.limits.grace = grace - (grace / RECORD_SHARE).min(RECORD_GRACE);
    let sight = Sight::new(plan.place.log.system())?;
    let patience = http.stalled_after;
    let Some(Opened { world, service, server }) = open(&plan, &roles, http, &stop, &sight, voice).await? else {
        return Ok(exit::DONE);
    };
    let watched = Watched::of(&world, &plan, &roles, patience);
    let mut stages = world.start(&plan, &roles)?;
    let watch = Watch::start(sight, watched);
    announce(&plan, &roles, &server, &voice);
    warn_of_left_behind(&world, &plan, voice).await?;
    let mut rates = Rates::new(&world, &service);
    let driven =
        Drive { stages: &mut stages, world: &world, stop: &stop, roles: &roles, grace, voice: &voice }.run(&mut rates).await;
    if driven.is_err() {
        stages.abort().await;
    }
    server.stop().await;
    drop(watch);
    driven.with_context(|| format!("stopped; once the cause is removed, start it again with -c {}", args.config.display()))?;
    world.close().await?;
    drop(stages);
    world.open.close().await?;
    voice.say(&format!("Stopped: {}", rates.total()));
    Ok(exit::DONE)
}

/// What is open before the stages start.
struct Opened {
    world: World,
    service: Arc<Service>,
    server: Server,
}

/// Opens everything; nothing when the process was told to stop before that.
///
/// With a log on Kafka the server is there first, since the brokers may be waited for.
async fn open(plan: &Plan, roles: &Roles, http: Http, stop: &Stop, sight: &Arc<Sight>, voice: Voice) -> Result<Option<Opened>> {
    let (lanes, draining) = (plan.place.lanes.clone(), stop.draining());
    if plan.place.log.directory().is_some() {
        let world = World::open(plan).await?.seen_by(sight);
        let service = Service::new((world.log.clone(), world.view.clone()), lanes, http, draining, sight.clone());
        let tables = world.lanes.iter().filter_map(OpenLane::tables).collect();
        let service = Arc::new(service.with_tables(tables, Arc::new(world.store.clone())));
        let server = Server::start(service.clone()).await?;
        return Ok(Some(Opened { world, service, server }));
    }
    let log = OpenLog::open(&plan.place.log)?;
    let service = Service::new((log.log(), log.view(&plan.place)), lanes, http, draining.clone(), sight.clone());
    let service = Arc::new(service);
    sight.waits_for(Some("the log is waited for"));
    let server = Server::start(service.clone()).await?;
    let topics = match &log {
        OpenLog::Kafka(kafka) => broker::wait(kafka, plan, &draining, voice).await?,
        OpenLog::Embedded(_) => Some(Vec::new()),
    };
    let Some(topics) = topics else {
        server.stop().await;
        return Ok(None);
    };
    let world = World::shared(plan, log, roles, &topics).await?.seen_by(sight);
    sight.waits_for(None);
    Ok(Some(Opened { world, service, server }))
}

fn warn(args: &RunArgs, warnings: &[Problem], voice: Voice) {
    for warning in warnings {
        voice.warn(&warning.shown(&args.config.display().to_string()));
    }
}

/// Says what a change of the configuration has left in the log, so that it is not forgotten there.
async fn warn_of_left_behind(world: &World, plan: &Plan, voice: Voice) -> Result<()> {
    if world.open.is_shared() {
        return Ok(());
    }
    for (topic, waiting) in left_behind(world.view.as_ref(), &plan.place.lanes).await? {
        voice.warn(&format!(
            "the topic {topic} holds work that no source of the configuration reads ({waiting} unread): bring back the source, the topic or the enrich that it is for until it is done"
        ));
    }
    Ok(())
}

/// Says what runs, where, and how it is reached.
fn announce(plan: &Plan, roles: &Roles, server: &Server, voice: &Voice) {
    let names = |roles: &mut dyn Iterator<Item = Role>| roles.map(Role::name).collect::<Vec<_>>().join(", ");
    let absent = names(&mut roles.absent());
    if !absent.is_empty() && plan.place.log.directory().is_some() {
        voice.warn(&format!("{absent} will not run: no other process can have the embedded log meanwhile, so that work waits"));
    }
    let place = &plan.place;
    voice.say(&format!("longshore {} runs {}", env!("CARGO_PKG_VERSION"), names(&mut roles.iter())));
    for lane in &place.lanes {
        voice.say(&format!("  source {} reads {}", lane.name(), lane.topics.raw()));
    }
    let (log, files, tables) = (&place.log, place.files.display(), place.tables.display());
    voice.say(&format!("  log {log}, files {files}, tables {tables}"));
    let sources: Vec<&str> = place.lanes.iter().map(|lane| lane.name()).collect();
    let address = server.address();
    voice.say(&format!("  http://{address}: POST /v1/events/{{{}}}, GET /health/ready, GET /metrics", sources.join(",")));
}

/// The service while it runs.
struct Drive<'a> {
    stages: &'a mut Stages,
    world: &'a World,
    stop: &'a Stop,
    roles: &'a Roles,
    grace: Duration,
    voice: &'a Voice,
}

impl Drive<'_> {
    /// Until it is told to stop, and has.
    async fn run(&mut self, rates: &mut Rates) -> Result<()> {
        let mut every = tokio::time::interval_at(Instant::now() + SAY_EVERY, SAY_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let draining = self.stop.draining();
        loop {
            tokio::select! {
                () = draining.cancelled() => return self.drain().await,
                ended = self.stages.next_end() => match ended {
                    Some(Err(error)) => return Err(error),
                    Some(Ok(())) => return Err(anyhow!("a stage ended although nobody asked it to: please report it")),
                    None => return Err(anyhow!("no stage runs")),
                },
                // A log that does not answer just now is the stages' matter, and no reason to stop.
                _ = every.tick() => tokio::select! {
                    () = draining.cancelled() => {}
                    lines = rates.lines(self.world) => match lines {
                        Ok(lines) => lines.iter().for_each(|line| self.voice.say(line)),
                        Err(error) => self.voice.warn(&format!("how far it is cannot be told: {error:#}")),
                    },
                },
            }
        }
    }

    /// Lets the others end, then record when it has read what they left it, all within the grace.
    async fn drain(&mut self) -> Result<()> {
        let end = Instant::now() + self.grace;
        self.voice.say("Stopping: letting downloads under way end (again stops at once)");
        self.stages.drain.cancel();
        self.stages.hurry.cancel();
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while self.stages.running() > 0 {
            tokio::select! {
                Some(ended) = self.stages.next_end() => match ended {
                    // Its share of the grace is over: a log or a table was away until then.
                    Err(error) if Instant::now() + RECORD_GRACE >= end => {
                        self.voice.warn(&format!("a stage is broken off at the end of shutdown_grace; nothing is lost: {error:#}"));
                    }
                    ended => ended?,
                },
                () = tokio::time::sleep_until(end + LAST_GRACE) => {
                    self.voice.warn("the work did not end within shutdown_grace and is broken off; nothing is lost, the next run does it again");
                    self.stages.abort().await;
                }
                _ = look.tick(), if !self.stages.upstream_runs() && !self.stages.drain_record.is_cancelled() => {
                    // What a shared log holds, others record, or the next run does.
                    let shared = self.world.open.is_shared();
                    if shared || unrecorded(self.world.view.as_ref(), &self.world.lanes, self.roles).await? == 0 || Instant::now() >= end {
                        self.stages.drain_record.cancel();
                    }
                }
            }
        }
        Ok(())
    }
}
