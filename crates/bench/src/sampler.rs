//! What there is to see each second of a run: processor time and memory of each process, lag, rows, how busy the machine is.
//!
//! *Owns*: the samples, and what each process used in the measured part. *Does not own*: the processes.
//!
//! ```text
//! every second: /proc ─▶ Inner, lag of the log ─▶ Inner ─▶ samples (one for each second of the run)
//! ```

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::look::Look;
use crate::model::{Mark, Process, Sample};
use crate::proc::{self, Machine, Used};

/// From one sample to the next.
const EVERY: Duration = Duration::from_secs(1);
/// The longest that a look at the log may take; a sample goes without it then.
const LOOK: Duration = Duration::from_millis(800);

/// A process that is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Its name, which no other of the run has.
    pub name: String,
    /// Its role.
    pub role: String,
    /// Whether it is under test.
    pub worker: bool,
    /// Its id.
    pub pid: u32,
}

/// Numbers that others count.
pub trait Progress: Send + Sync {
    /// Messages that were sent so far.
    fn sent(&self) -> Option<u64>;
    /// Rows that were seen so far.
    fn rows(&self) -> u64;
}

/// Samples until it is dropped.
pub struct Sampler {
    inner: Arc<Mutex<Inner>>,
    task: JoinHandle<()>,
}

/// What was seen of the measured part.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Each second, the warm-up among them.
    pub samples: Vec<Sample>,
    /// Each process.
    pub processes: Vec<Process>,
    /// What was done.
    pub marks: Vec<Mark>,
    /// How busy the machine was, all cores together.
    pub machine_busy: f64,
}

struct Inner {
    began: Instant,
    /// The beginning of the measured part.
    origin: Option<Instant>,
    /// Its end: what comes later is not counted.
    end: Option<Instant>,
    processes: Vec<Account>,
    samples: Vec<Sample>,
    marks: Vec<Mark>,
    machine: Machine,
    machine_at_origin: Machine,
    busy: f64,
}

/// What one process has used.
struct Account {
    watched: Watched,
    at_origin: Used,
    last: Used,
    last_at: Instant,
    /// From when on it is counted: the measured part's beginning, or its own.
    since: Instant,
    until: Instant,
    peak: f64,
    rss: Vec<u64>,
    rss_peak: u64,
}

impl Sampler {
    /// Begins to sample; the log is looked at as soon as there is somebody to look.
    pub fn start(look: Arc<OnceLock<Arc<Look>>>, progress: Arc<dyn Progress>) -> Self {
        let now = Instant::now();
        let machine = Machine::now();
        let inner = Inner {
            began: now,
            origin: None,
            end: None,
            processes: Vec::new(),
            samples: Vec::new(),
            marks: Vec::new(),
            machine,
            machine_at_origin: machine,
            busy: 0.0,
        };
        let inner = Arc::new(Mutex::new(inner));
        let task = tokio::spawn(run(inner.clone(), look, progress));
        Sampler { inner, task }
    }

    /// Looks at a process from now on.
    pub fn watch(&self, watched: Watched) {
        let now = Instant::now();
        let used = proc::used(watched.pid).unwrap_or_default();
        lock(&self.inner).processes.push(Account {
            watched,
            at_origin: used,
            last: used,
            last_at: now,
            since: now,
            until: now,
            peak: 0.0,
            rss: Vec::new(),
            rss_peak: 0,
        });
    }

    /// Looks at all processes once more, before one of them is no more.
    pub fn look(&self) {
        lock(&self.inner).take(Instant::now());
    }

    /// The measured part begins now.
    pub fn begin(&self) {
        lock(&self.inner).begin();
    }

    /// The measured part has ended now.
    pub fn finish(&self) {
        let mut inner = lock(&self.inner);
        inner.take(Instant::now());
        inner.busy = inner.machine.busy_since(inner.machine_at_origin);
        inner.end = Some(Instant::now());
    }

    /// Notes what was done to the system just now.
    pub fn mark(&self, what: String) {
        let mut inner = lock(&self.inner);
        let at_s = inner.at(Instant::now());
        inner.marks.push(Mark { at_s, what });
    }

    /// What was seen so far.
    pub fn seen(&self) -> Seen {
        let inner = lock(&self.inner);
        let measured = inner.processes.iter().filter(|account| !account.rss.is_empty());
        let processes = measured.map(Account::process).collect();
        // Those of the warm-up were counted from when sampling began.
        let shift = inner.origin.map_or(0.0, |origin| (origin - inner.began).as_secs_f64());
        let mut samples = inner.samples.clone();
        samples.iter_mut().for_each(|sample| sample.at_s -= shift);
        let marks = inner.marks.iter().map(|mark| Mark { at_s: mark.at_s - shift, what: mark.what.clone() }).collect();
        Seen { samples, processes, marks, machine_busy: inner.busy }
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(inner: Arc<Mutex<Inner>>, look: Arc<OnceLock<Arc<Look>>>, progress: Arc<dyn Progress>) {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    every.tick().await;
    loop {
        every.tick().await;
        let mut sample = lock(&inner).take(Instant::now());
        (sample.sent, sample.rows) = (progress.sent(), progress.rows());
        if let Some(look) = look.get()
            && let Ok(Ok(lag)) = tokio::time::timeout(LOOK, look.lag()).await
        {
            sample.lag = lag;
        }
        lock(&inner).keep(sample);
    }
}

impl Inner {
    fn begin(&mut self) {
        let now = Instant::now();
        self.take(now);
        self.origin = Some(now);
        self.machine_at_origin = self.machine;
        self.processes.iter_mut().for_each(|account| account.begin(now));
    }

    fn at(&self, now: Instant) -> f64 {
        (now - self.began).as_secs_f64()
    }

    /// Reads what there is to read; the sample is kept by [`keep`](Self::keep) when it is whole.
    fn take(&mut self, now: Instant) -> Sample {
        let machine = Machine::now();
        let mut sample = Sample { at_s: self.at(now), machine_busy: machine.busy_since(self.machine), ..Sample::default() };
        self.machine = machine;
        for account in &mut self.processes {
            if self.end.is_some() {
                break;
            }
            if let Some((cpu, rss)) = account.look(now) {
                sample.cpu.insert(account.watched.name.clone(), cpu);
                sample.rss_bytes.insert(account.watched.name.clone(), rss);
            }
        }
        sample
    }

    fn keep(&mut self, sample: Sample) {
        if self.end.is_none() {
            self.samples.push(sample);
        }
    }
}

impl Account {
    fn begin(&mut self, now: Instant) {
        (self.at_origin, self.since, self.until) = (self.last, now, now);
        self.peak = 0.0;
        // What it has at the beginning counts, and one that has ended by then does not.
        self.rss = if self.last_at == now { self.rss.pop().into_iter().collect() } else { Vec::new() };
    }

    /// Its share of a core since the last look, and its memory; nothing once it has ended.
    fn look(&mut self, now: Instant) -> Option<(f64, u64)> {
        let used = proc::used(self.watched.pid)?;
        let time = (now - self.last_at).as_secs_f64();
        let cpu = if time > 0.0 { (used.cpu_s - self.last.cpu_s) / time } else { 0.0 };
        (self.last, self.last_at, self.until) = (used, now, now);
        // What is seen over a tenth of a second is the clock's grain, not a peak.
        if time > 0.5 {
            self.peak = self.peak.max(cpu);
        }
        self.rss.extend((used.rss_bytes > 0).then_some(used.rss_bytes));
        self.rss_peak = self.rss_peak.max(used.rss_peak_bytes);
        Some((cpu, used.rss_bytes))
    }

    fn process(&self) -> Process {
        let time = (self.until - self.since).as_secs_f64();
        let cpu_s = self.last.cpu_s - self.at_origin.cpu_s;
        let cpu_mean = if time > 0.0 { cpu_s / time } else { 0.0 };
        let count = self.rss.len().max(1) as f64;
        Process {
            name: self.watched.name.clone(),
            role: self.watched.role.clone(),
            worker: self.watched.worker,
            cpu_s,
            cpu_mean,
            cpu_peak: self.peak.max(cpu_mean),
            rss_mean_bytes: self.rss.iter().sum::<u64>() as f64 / count,
            rss_peak_bytes: self.rss_peak,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
