//! One run: a world with its origin, its workers, its reader and its sampler, from the first process to the ledger.
//!
//! *Owns*: everything that a run starts; it ends with the value. *Does not own*: the order of things ([`super::drive`]).
//!
//! ```text
//! open ─▶ start workers ─▶ warm up ─▶ begin ─▶ send ─▶ rows are awaited ─▶ finish ─▶ workers end ─▶ close: the ledger
//! ```

mod waits;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::fault::{self, Fault};
use super::{Context, LogKind, Options};
use crate::actor::{Course, GeneratorProcess, OriginProcess};
use crate::failure::Failure;
use crate::follow::{Follow, Objects, RowCounter};
use crate::generator::{GeneratorPlan, Kind, Load, Target};
use crate::ledger::{Part, Phase};
use crate::look::{self, Counter, Look};
use crate::model::{Generator, Ledger};
use crate::process::{Signal, Worker};
use crate::sampler::{Progress, Sampler, Watched};
use crate::suite::{Drive, Of, Role, Spec};
use crate::world::{LogAt, Wanted, World};

/// Messages that come before what is measured: groups are joined, connections open.
pub(super) const WARM_UP: u64 = 300;
/// The longest name of a run that leaves room for that of a plan.
const RUN: usize = 31;
/// How often what is awaited is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// Bytes of objects that are read again and compared with their rows; of more, a part is taken evenly.
const COMPARED: u64 = 64 << 20;

/// One run under way.
pub(crate) struct Session<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) world: World,
    pub(super) origin: OriginProcess,
    pub(super) workers: Vec<Worker>,
    pub(super) sampler: Sampler,
    pub(super) follow: Follow,
    objects: Objects,
    look: Arc<OnceLock<Arc<Look>>>,
    sending: Arc<Mutex<Vec<watch::Receiver<Course>>>>,
    numbers: BTreeMap<Role, u32>,
    run: String,
    /// Whether the measured part has begun.
    begun: bool,
    /// What was seen to go wrong, beside what the accounts say.
    pub(super) complaints: Vec<String>,
    /// What workers said that did not end well when asked.
    pub(super) broken: Vec<String>,
}

/// A load on its way.
pub(super) struct Sending {
    plan: GeneratorPlan,
    phase: Phase,
    part: Part,
    process: GeneratorProcess,
}

/// What came of a load.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sent {
    pub(super) plan: GeneratorPlan,
    pub(super) generator: Generator,
    /// The intended time of the first message, in microseconds since 1970.
    pub(super) started_us: i64,
}

/// What is counted by others while the sampler looks.
struct Counted {
    sending: Arc<Mutex<Vec<watch::Receiver<Course>>>>,
    rows: RowCounter,
}

impl Progress for Counted {
    fn sent(&self) -> Option<u64> {
        let sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        (!sending.is_empty()).then(|| sending.iter().map(|course| course.borrow().sent).sum())
    }

    fn rows(&self) -> u64 {
        self.rows.rows()
    }
}

impl<'a> Session<'a> {
    /// Makes the world of a run; no worker runs yet.
    pub(super) async fn open(context: &'a Context<'a>, wanted: Wanted, drive: Drive) -> Result<Self, Failure> {
        let binary = &context.options.binary;
        let run = wanted.source.replace(|c: char| !c.is_ascii_alphanumeric(), "");
        let world = World::make(&context.places, &wanted, binary).await?;
        let origin = OriginProcess::start(binary, &world.directory).await?;
        let objects = if drive == Drive::Soak { Objects::Go(world.files.clone()) } else { Objects::Stay };
        let follow = Follow::start(world.table("attachments"), world.table("attachments_failed"), objects.clone())?;
        let (look, sending) = (Arc::<OnceLock<Arc<Look>>>::default(), Arc::<Mutex<Vec<_>>>::default());
        if let LogAt::Kafka(_) = world.log {
            let _ = look.set(Arc::new(Look::at(&world)?));
        }
        let counted = Counted { sending: sending.clone(), rows: follow.counter() };
        let sampler = Sampler::start(look.clone(), Arc::new(counted));
        let session = Session {
            context,
            world,
            origin,
            workers: Vec::new(),
            sampler,
            follow,
            objects,
            look,
            sending,
            numbers: BTreeMap::new(),
            run,
            begun: false,
            complaints: Vec::new(),
            broken: Vec::new(),
        };
        session.watch_helpers();
        Ok(session)
    }

    fn watch_helpers(&self) {
        let helper =
            |name: &str, pid: u32| self.sampler.watch(Watched { name: name.into(), role: name.into(), worker: false, pid });
        helper("origin", self.origin.pid());
        // The reader is a thread of ours, and we do little else.
        helper("reader", std::process::id());
        if let Some(pid) = self.context.broker_pid {
            helper("broker", pid);
        }
    }

    /// The log as an onlooker sees it.
    pub(super) fn look(&self) -> Result<Arc<Look>, Failure> {
        self.look.get().cloned().ok_or_else(|| Failure::Late("the log has not been opened yet".to_owned()))
    }

    /// Starts one more process of a role.
    pub(super) async fn start(&mut self, role: Role) -> Result<(), Failure> {
        let number = self.numbers.entry(role).and_modify(|number| *number += 1).or_insert(1);
        let name = format!("{}-{number}", role.name());
        let Options { binary, fault, .. } = self.context.options;
        let worker = Worker::start(binary, &self.world.directory, name.clone(), role, fault::environment(*fault))?;
        let watched = Watched { name, role: role.name().to_owned(), worker: true, pid: worker.pid() };
        self.sampler.watch(watched);
        self.workers.push(worker);
        if self.world.log == LogAt::Embedded {
            self.wait("the embedded log to be opened", |session| {
                Ok(session.workers.iter().all(|worker| worker.address().is_some()))
            })
            .await?;
            if self.look.get().is_none() {
                let _ = self.look.set(Arc::new(Look::at(&self.world)?));
            }
        }
        Ok(())
    }

    /// Starts all processes of a benchmark.
    pub(super) async fn start_all(&mut self, workers: &[(Role, u32)]) -> Result<(), Failure> {
        if self.context.options.log == LogKind::Embedded {
            return self.start(Role::All).await;
        }
        for (role, count) in workers {
            for _ in 0..*count {
                self.start(*role).await?;
            }
        }
        Ok(())
    }

    /// A plan of so many messages for this run; `name` tells it from the run's other plans.
    pub(super) fn plan(&self, spec: &Spec, name: &str, count: u64, rate_per_s: Option<f64>) -> Result<GeneratorPlan, Failure> {
        let kind = match spec.load.of {
            Of::Events => Kind::Events,
            Of::Tasks => Kind::Tasks,
            Of::Results => Kind::Results,
        };
        Ok(GeneratorPlan {
            to: self.target()?,
            source: self.world.source().to_owned(),
            kind,
            run: format!("{}{name}", &self.run[self.run.len().saturating_sub(RUN)..]),
            first: 0,
            count,
            rate_per_s,
            start_unix_us: None,
            origin: self.origin.url(),
            file_bytes: spec.load.file_bytes,
            origin_delay_ms: u64::try_from(spec.load.origin_delay.as_millis()).unwrap_or(0),
            missing_every: None,
            stall: None,
            lose: None,
        })
    }

    fn target(&self) -> Result<Target, Failure> {
        match &self.world.log {
            LogAt::Kafka(brokers) => Ok(Target::Kafka { brokers: brokers.clone(), properties: BTreeMap::new() }),
            LogAt::Embedded => {
                let address = self.workers.first().and_then(Worker::address);
                let address = address.ok_or_else(|| Failure::Late("no worker says where it listens".to_owned()))?;
                Ok(Target::Http { url: format!("http://{address}"), token: None })
            }
        }
    }

    /// Begins to send the messages of a plan.
    pub(super) fn send(&mut self, plan: GeneratorPlan, phase: Phase) -> Result<Sending, Failure> {
        let plan = match phase {
            Phase::Measured => self.faulty(plan),
            Phase::WarmUp => plan,
        };
        let part = self.follow.expect(Load::new(&plan)?, phase);
        let process = GeneratorProcess::start(&self.context.options.binary, &self.world.directory, &plan.run, &plan)?;
        let name = if phase == Phase::Measured { "generator" } else { "generator of the warm-up" };
        self.sampler.watch(Watched { name: name.into(), role: "generator".into(), worker: false, pid: process.pid() });
        self.sending.lock().unwrap_or_else(PoisonError::into_inner).push(process.course());
        Ok(Sending { plan, phase, part, process })
    }

    /// What a test of the suite lets go wrong.
    fn faulty(&self, mut plan: GeneratorPlan) -> GeneratorPlan {
        match self.context.options.fault {
            Some(Fault::LoseEvent) => plan.lose = Some(plan.first + plan.count / 2),
            Some(Fault::StallGenerator) => plan.stall = Some(fault::stall(&plan)),
            Some(Fault::SlowResult | Fault::DoubleRow) | None => {}
        }
        plan
    }

    /// Waits until a load has begun, and notes when: with it the measured part begins, unless it has.
    pub(super) async fn started(&mut self, sending: &mut Sending) -> Result<(), Failure> {
        let mut course = sending.process.course();
        let (follow, workers) = (&self.follow, &mut self.workers);
        let began = loop {
            tokio::select! {
                began = course.wait_for(|course| course.ended || course.started_unix_us.is_some()) => {
                    break began.ok().and_then(|course| course.started_unix_us);
                }
                () = tokio::time::sleep(LOOK) => check(workers, follow)?,
            }
        };
        let Some(at) = began else { return Ok(()) };
        follow.accounts(|accounts| accounts.started(sending.part, at));
        if sending.phase == Phase::Measured && !std::mem::replace(&mut self.begun, true) {
            // A schedule begins a moment after the connection stands.
            let until = u64::try_from(at - super::now_us()).unwrap_or(0);
            tokio::time::sleep(Duration::from_micros(until)).await;
            self.sampler.begin();
        }
        Ok(())
    }

    /// Waits until all messages of a load are sent.
    pub(super) async fn sent(&mut self, mut sending: Sending) -> Result<Sent, Failure> {
        self.started(&mut sending).await?;
        let Sending { plan, part, process, .. } = sending;
        let (mut course, follow, workers) = (process.course(), &self.follow, &mut self.workers);
        loop {
            tokio::select! {
                _ = course.wait_for(|course| course.ended) => break,
                () = tokio::time::sleep(LOOK) => check(workers, follow)?,
            }
        }
        self.sampler.look();
        let (generator, started_us) = process.done().await?;
        follow.accounts(|accounts| accounts.acknowledged(part, generator.sent));
        Ok(Sent { plan, generator, started_us })
    }

    /// Sends what comes before the measured part and waits until all of it is through.
    pub(super) async fn warm_up(&mut self, spec: &Spec) -> Result<(), Failure> {
        let plan = self.plan(spec, "w", WARM_UP, None)?;
        let sending = self.send(plan, Phase::WarmUp)?;
        self.sent(sending).await?;
        self.rows().await
    }

    /// The same for one stage that works alone: until this topic has so many records.
    pub(super) async fn warm_up_into(&mut self, spec: &Spec, counter: &Counter, of: Role) -> Result<(), Failure> {
        let plan = self.plan(spec, "w", WARM_UP, None)?;
        let sending = self.send(plan, Phase::WarmUp)?;
        self.sent(sending).await?;
        self.records(counter, WARM_UP, of).await
    }

    /// Says at once what was seen to go wrong, and keeps it for the report.
    pub(super) fn complain(&mut self, what: String) {
        self.context.news.progress(&format!("  {what}"));
        self.complaints.push(what);
    }

    /// The measured part begins, whatever is sent.
    pub(super) fn begin(&mut self) {
        self.begun = true;
        self.sampler.begin();
    }

    /// Tells all workers to stop, and waits for their ends.
    pub(super) async fn stop_workers(&mut self) {
        self.workers.iter().for_each(|worker| worker.signal(Signal::TERM));
        for worker in std::mem::take(&mut self.workers) {
            if let Err(failure) = worker.ended().await {
                self.context.news.progress(&format!("  {failure}"));
                self.broken.push(failure.to_string());
            }
        }
    }

    /// Ends everything and makes the accounts.
    pub(super) async fn close(mut self, of: Of) -> Result<(Ledger, Vec<String>), Failure> {
        self.stop_workers().await;
        let attachments = self.world.table("attachments");
        if self.context.options.fault == Some(Fault::DoubleRow) {
            fault::double_rows(&attachments)?;
            let seen = |session: &Session<'_>| Ok(session.follow.accounts(|accounts| accounts.ledger().doubled > 0));
            self.wait("the doubled rows to be seen", seen).await?;
        }
        let (log, source) = (self.world.log.clone(), self.world.source().to_owned());
        let (files, tables) = (self.world.files.clone(), self.world.tables.clone());
        let compare = super::metrics::has_objects(of) && self.objects == Objects::Stay;
        let mut accounts = self.follow.close()?;
        let accounted = move || {
            if compare {
                accounts.check_objects(&attachments, &files, COMPARED)?;
            }
            left_over(&mut accounts, &files, &tables)?;
            Ok::<_, Failure>(accounts.ledger())
        };
        let joined = tokio::task::spawn_blocking(accounted).await;
        let ledger = joined.unwrap_or_else(|error| Err(Failure::Late(format!("the accounts could not be made: {error}"))))?;
        if ledger.holds() && self.broken.is_empty() {
            forget_topics(&log, &source).await;
        }
        Ok((ledger, self.broken))
    }
}

/// Deletes the topics and groups of a run.
pub(super) async fn forget_topics(log: &LogAt, source: &str) {
    if let LogAt::Kafka(brokers) = log
        && let Err(error) = look::forget(brokers, &format!("{source}.")).await
    {
        tracing::warn!("the topics of {source} stay: {error}");
    }
}

fn left_over(accounts: &mut crate::ledger::Accounts, files: &Path, tables: &Path) -> Result<(), Failure> {
    accounts.check_left_over(files, tables)?;
    Ok(())
}

/// Fails when a worker has ended, or the tables cannot be read.
fn check(workers: &mut [Worker], follow: &Follow) -> Result<(), Failure> {
    follow.check()?;
    workers.iter_mut().try_for_each(Worker::check)
}
