//! Whose turn it is: hosts share the download slots, and each gets as many at once as it bears. A slow, dead or
//! throttling host slows its own downloads only (promise 7).
//!
//! A host has a limit that follows its answers (`rate`, never above the cap), a breaker for when it does not answer
//! (`breaker`), and is parked when it asks us to wait. Hosts take turns; jobs of one host go in the order in which
//! they came, urgent ones first.
//!
//! The queues hold what the partitions' windows admit, so their bound is the windows'. Of a host without jobs only
//! bad news is remembered, of at most [`REMEMBERED`] hosts; what was said longest ago is forgotten first.

mod authority;
mod breaker;
mod rate;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use crate::outcome::{Class, Failure, Reason};
use crate::time::Micros;
use breaker::Breaker;
use rate::Rate;

pub use authority::authority;
pub use breaker::{FAILURES, FIRST_OPEN, LONGEST_OPEN};
pub use rate::START;

/// Hosts without jobs of which something bad is remembered.
pub const REMEMBERED: usize = 4_096;

/// What the end of a download says of its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// It gave the whole file.
    Good,
    /// It answered; no file, but no complaint either.
    Alive,
    /// It answered that it is asked too much.
    Strained,
    /// It answered, and failed with this file: the file's fault, unless many fail.
    Faulty,
    /// It did not answer, or only that it cannot.
    Dead,
    /// Nothing: the host was not asked, or the fault is ours.
    Silent,
}

impl Signal {
    /// What a failure says of the host.
    pub fn of(failure: &Failure) -> Self {
        match failure.reason {
            Reason::Lookup => Signal::Silent,
            _ if failure.class == Class::Throttled => Signal::Strained,
            // A gateway speaks of what is behind it; 500 speaks of one file.
            Reason::HttpStatus if matches!(failure.http_status, Some(502..=504 | 520..=599)) => Signal::Dead,
            Reason::HttpStatus if failure.http_status == Some(429) => Signal::Strained,
            Reason::HttpStatus if matches!(failure.http_status, Some(500..=599)) => Signal::Faulty,
            _ if failure.http_status.is_some() => Signal::Alive,
            Reason::Dns | Reason::Connect | Reason::Tls => Signal::Dead,
            Reason::ConnectTimeout | Reason::FirstByteTimeout | Reason::IdleTimeout => Signal::Dead,
            Reason::HostThrottled => Signal::Strained,
            Reason::WrongLength | Reason::Protocol => Signal::Faulty,
            // Slowness alone is no complaint.
            Reason::TotalTimeout | Reason::TooSlow | Reason::TooLarge | Reason::Encoding | Reason::Checksum => Signal::Alive,
            _ => Signal::Silent,
        }
    }
}

/// Whether a host's jobs may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// In turn.
    Open,
    /// Not before this time, as the host has asked.
    Parked(Micros),
    /// The host does not answer: one job tries, about then.
    Broken(Micros),
}

/// Whether a host is left alone for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Breaking {
    /// One that does not answer is, and one that asks us to wait.
    #[default]
    On,
    /// Every job runs: there is nowhere for it to wait.
    Off,
}

/// Queues jobs by host. `J` is a job.
#[derive(Debug)]
pub struct Hosts<J> {
    per_host: usize,
    breaking: Breaking,
    hosts: HashMap<Arc<str>, Host<J>>,
    /// Hosts that may have something to do, in the order of their turns.
    turns: VecDeque<Arc<str>>,
    /// Hosts with jobs that may not run before a time.
    waiting: BTreeSet<(Micros, Arc<str>)>,
    /// Hosts without jobs, the one longest so first.
    idle: BTreeMap<u64, Arc<str>>,
    became_idle: u64,
    queued: usize,
}

#[derive(Debug)]
struct Host<J> {
    urgent: VecDeque<J>,
    queue: VecDeque<J>,
    running: usize,
    rate: Rate,
    breaker: Breaker,
    parked_until: Micros,
    place: Place,
}

/// Where a host stands. It stands at one place only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nowhere: all it may have is running.
    Busy,
    Turns,
    Waiting(Micros),
    Idle(u64),
}

impl<J> Host<J> {
    fn new(per_host: usize) -> Self {
        Host {
            urgent: VecDeque::new(),
            queue: VecDeque::new(),
            running: 0,
            rate: Rate::new(per_host),
            breaker: Breaker::NEW,
            parked_until: Micros::MIN,
            place: Place::Busy,
        }
    }

    fn queued(&self) -> usize {
        self.urgent.len() + self.queue.len()
    }

    fn standing(&self, now: Micros) -> Standing {
        match self.breaker {
            Breaker::Open { until, .. } if until > now => Standing::Broken(until.max(self.parked_until)),
            Breaker::HalfOpen { pause } => Standing::Broken(now.saturating_add(pause)),
            _ if self.parked_until > now => Standing::Parked(self.parked_until),
            _ => Standing::Open,
        }
    }

    fn has_room(&self) -> bool {
        self.running < self.rate.limit() && !matches!(self.breaker, Breaker::HalfOpen { .. })
    }

    fn start(&mut self, now: Micros) -> Option<J> {
        if !self.has_room() || self.standing(now) != Standing::Open {
            return None;
        }
        let job = self.urgent.pop_front().or_else(|| self.queue.pop_front())?;
        self.breaker.start();
        self.running += 1;
        Some(job)
    }

    fn hear(&mut self, signal: Signal, breaking: Breaking, now: Micros) {
        self.running = self.running.saturating_sub(1);
        match signal {
            Signal::Good => self.rate.succeeded(),
            Signal::Strained | Signal::Dead => self.rate.complained(self.running),
            Signal::Faulty => self.rate.failed(self.running),
            Signal::Alive | Signal::Silent => self.rate.ended(),
        }
        if breaking == Breaking::On {
            self.breaker.hear(signal, self.running, now);
        }
    }

    /// Whether there is bad news of it.
    fn is_suspect(&self, now: Micros) -> bool {
        self.parked_until > now || self.breaker != Breaker::NEW || self.rate.is_reduced()
    }

    fn wanted_place(&self, now: Micros) -> Place {
        match self.standing(now) {
            _ if self.queued() == 0 || !self.has_room() => Place::Busy,
            Standing::Open => Place::Turns,
            Standing::Parked(until) | Standing::Broken(until) => Place::Waiting(until),
        }
    }
}

impl<J> Hosts<J> {
    /// Lets each host run at most `per_host` jobs at once.
    pub fn new(per_host: usize, breaking: Breaking) -> Self {
        Hosts {
            per_host: per_host.max(1),
            breaking,
            hosts: HashMap::new(),
            turns: VecDeque::new(),
            waiting: BTreeSet::new(),
            idle: BTreeMap::new(),
            became_idle: 0,
            queued: 0,
        }
    }

    /// Queues a job.
    pub fn push(&mut self, host: &str, job: J, now: Micros) {
        self.host(host).queue.push_back(job);
        self.queued += 1;
        self.settle(host, now);
    }

    /// Queues a job that goes before those of its host that are not urgent.
    pub fn push_urgent(&mut self, host: &str, job: J, now: Micros) {
        self.host(host).urgent.push_back(job);
        self.queued += 1;
        self.settle(host, now);
    }

    fn host(&mut self, name: &str) -> &mut Host<J> {
        if !self.hosts.contains_key(name) {
            self.hosts.insert(name.into(), Host::new(self.per_host));
        }
        self.hosts.get_mut(name).expect("it has just been put there")
    }

    /// The next job that may run, which then counts as running.
    pub fn pop(&mut self, now: Micros) -> Option<J> {
        self.wake(now);
        while let Some(name) = self.turns.pop_front() {
            let Some(host) = self.hosts.get_mut(&name) else { continue };
            host.place = Place::Busy;
            let job = host.start(now);
            self.queued -= usize::from(job.is_some());
            self.settle(&name, now);
            if job.is_some() {
                return job;
            }
        }
        None
    }

    /// Whether [`Hosts::pop`] may have a job to give. Never false when it has.
    pub fn has_turn(&mut self, now: Micros) -> bool {
        self.wake(now);
        !self.turns.is_empty()
    }

    /// Gives their turns back to hosts that need not wait any longer.
    fn wake(&mut self, now: Micros) {
        while self.waiting.first().is_some_and(|(until, _)| *until <= now) {
            let Some((_, name)) = self.waiting.pop_first() else { return };
            if let Some(host) = self.hosts.get_mut(&name) {
                host.place = Place::Turns;
                self.turns.push_back(name);
            }
        }
    }

    /// Notes that a job of this host ended, and what that says of the host. Returns how the host stands now.
    pub fn done(&mut self, host: &str, signal: Signal, now: Micros) -> Standing {
        let Some(entry) = self.hosts.get_mut(host) else { return Standing::Open };
        entry.hear(signal, self.breaking, now);
        let standing = entry.standing(now);
        self.settle(host, now);
        standing
    }

    /// Parks a host: none of its jobs starts before `until`. Without [`Breaking`] its jobs go on: they have nowhere to
    /// wait but before everybody else.
    pub fn park(&mut self, host: &str, until: Micros, now: Micros) {
        if self.breaking == Breaking::On
            && let Some(entry) = self.hosts.get_mut(host)
        {
            entry.parked_until = entry.parked_until.max(until);
            self.settle(host, now);
        }
    }

    /// How a host stands.
    pub fn standing(&self, host: &str, now: Micros) -> Standing {
        self.hosts.get(host).map_or(Standing::Open, |h| h.standing(now))
    }

    /// Jobs of a host that wait.
    pub fn queued_of(&self, host: &str) -> usize {
        self.hosts.get(host).map_or(0, Host::queued)
    }

    /// Jobs of all hosts that wait.
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// Jobs that wait for a host that is parked or does not answer.
    pub fn parked(&self, now: Micros) -> usize {
        self.hosts.values().filter(|h| h.standing(now) != Standing::Open).map(Host::queued).sum()
    }

    /// Takes out the jobs of a host that wait beyond the first `keep`.
    pub fn take_excess(&mut self, host: &str, keep: usize, now: Micros) -> Vec<J> {
        let Some(entry) = self.hosts.get_mut(host) else { return Vec::new() };
        let kept = keep.min(entry.urgent.len());
        let mut excess: Vec<J> = entry.urgent.drain(kept..).collect();
        excess.extend(entry.queue.drain((keep - kept).min(entry.queue.len())..));
        self.queued -= excess.len();
        self.settle(host, now);
        excess
    }

    /// Takes out all jobs that wait, for example because they are to be given up.
    pub fn drain(&mut self) -> Vec<J> {
        self.turns.clear();
        self.waiting.clear();
        self.idle.clear();
        self.queued = 0;
        let mut jobs = Vec::new();
        for host in self.hosts.values_mut() {
            host.place = Place::Busy;
            jobs.extend(host.urgent.drain(..));
            jobs.extend(host.queue.drain(..));
        }
        self.hosts.retain(|_, host| host.running > 0);
        jobs
    }

    /// Puts a host where it belongs. One that has a turn keeps it: [`Hosts::pop`] sees whether it is of use.
    fn settle(&mut self, name: &str, now: Micros) {
        let Some((name, host)) = self.hosts.get_key_value(name) else { return };
        let (name, place, wanted) = (Arc::clone(name), host.place, host.wanted_place(now));
        if place == Place::Turns || (place == wanted && wanted != Place::Busy) {
            return;
        }
        self.leave(&name, place);
        let place = match wanted {
            Place::Busy | Place::Idle(_) => self.rest(&name, now),
            Place::Turns => {
                self.turns.push_back(Arc::clone(&name));
                Place::Turns
            }
            Place::Waiting(until) => {
                self.waiting.insert((until, Arc::clone(&name)));
                Place::Waiting(until)
            }
        };
        if let Some(host) = self.hosts.get_mut(&name) {
            host.place = place;
        }
    }

    fn leave(&mut self, name: &Arc<str>, place: Place) {
        match place {
            Place::Waiting(until) => drop(self.waiting.remove(&(until, Arc::clone(name)))),
            Place::Idle(since) => drop(self.idle.remove(&since)),
            Place::Busy | Place::Turns => {}
        }
    }

    /// A host that can start nothing: is it idle, and worth remembering?
    fn rest(&mut self, name: &Arc<str>, now: Micros) -> Place {
        let Some(host) = self.hosts.get(name).filter(|h| h.running == 0 && h.queued() == 0) else { return Place::Busy };
        if !host.is_suspect(now) {
            self.hosts.remove(name);
            return Place::Busy;
        }
        self.became_idle += 1;
        self.idle.insert(self.became_idle, Arc::clone(name));
        if self.idle.len() > REMEMBERED
            && let Some((_, oldest)) = self.idle.pop_first()
        {
            self.hosts.remove(&oldest);
        }
        Place::Idle(self.became_idle)
    }
}

#[cfg(test)]
#[path = "hosts_tests.rs"]
mod tests;
