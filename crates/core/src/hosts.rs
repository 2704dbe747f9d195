//! Whose turn it is: hosts share the download slots, a host never has more than its cap, and a host that asked us to
//! wait is parked until then. A slow, dead or throttling host slows its own downloads only (promise 7).
//!
//! Jobs of one host go in the order in which they came; hosts take turns. The queues hold what the partitions'
//! windows admit, so their bound is the windows'. A host without jobs is forgotten, so the map is bounded likewise.

use std::collections::{HashMap, VecDeque};

use crate::time::Micros;

/// Queues jobs by host. `J` is a job.
#[derive(Debug)]
pub struct Hosts<J> {
    per_host: usize,
    hosts: HashMap<String, Host<J>>,
    /// Hosts that may have something to do, in the order of their turns. A host stands here at most once.
    turns: VecDeque<String>,
    queued: usize,
}

#[derive(Debug)]
struct Host<J> {
    queue: VecDeque<J>,
    running: usize,
    parked_until: Micros,
    in_turns: bool,
}

impl<J> Hosts<J> {
    /// Lets each host run at most `per_host` jobs at once.
    pub fn new(per_host: usize) -> Self {
        Hosts { per_host: per_host.max(1), hosts: HashMap::new(), turns: VecDeque::new(), queued: 0 }
    }

    /// Queues a job.
    pub fn push(&mut self, host: &str, job: J) {
        if !self.hosts.contains_key(host) {
            let new = Host { queue: VecDeque::new(), running: 0, parked_until: Micros::MIN, in_turns: false };
            self.hosts.insert(host.to_owned(), new);
        }
        if let Some(entry) = self.hosts.get_mut(host) {
            entry.queue.push_back(job);
            self.queued += 1;
            give_turn(&mut self.turns, entry, host);
        }
    }

    /// The next job that may run, which then counts as running.
    pub fn pop(&mut self, now: Micros) -> Option<J> {
        for _ in 0..self.turns.len() {
            let name = self.turns.pop_front()?;
            let Some(host) = self.hosts.get_mut(&name) else { continue };
            host.in_turns = false;
            if host.parked_until > now {
                give_turn(&mut self.turns, host, &name);
                continue;
            }
            if host.running >= self.per_host {
                continue;
            }
            if let Some(job) = host.queue.pop_front() {
                host.running += 1;
                self.queued -= 1;
                if !host.queue.is_empty() {
                    give_turn(&mut self.turns, host, &name);
                }
                return Some(job);
            }
        }
        None
    }

    /// Notes that a job of this host ended.
    pub fn done(&mut self, host: &str, now: Micros) {
        let Some(entry) = self.hosts.get_mut(host) else { return };
        entry.running = entry.running.saturating_sub(1);
        if !entry.queue.is_empty() {
            give_turn(&mut self.turns, entry, host);
        } else if entry.running == 0 && entry.parked_until <= now {
            entry.in_turns = false;
            self.hosts.remove(host);
        }
    }

    /// Parks a host: none of its jobs starts before `until`.
    pub fn park(&mut self, host: &str, until: Micros) {
        if let Some(entry) = self.hosts.get_mut(host) {
            entry.parked_until = entry.parked_until.max(until);
        }
    }

    /// Until when a host is parked, if it is.
    pub fn parked_until(&self, host: &str, now: Micros) -> Option<Micros> {
        self.hosts.get(host).map(|h| h.parked_until).filter(|until| *until > now)
    }

    /// When the first parked host that has jobs may go on.
    pub fn next_unpark(&self, now: Micros) -> Option<Micros> {
        let waiting = self.turns.iter().filter_map(|name| self.hosts.get(name));
        waiting.map(|h| h.parked_until).filter(|until| *until > now).min()
    }

    /// Forgets hosts that were parked, are so no longer and have nothing to do.
    pub fn forget_idle(&mut self, now: Micros) {
        self.hosts.retain(|_, host| host.running > 0 || !host.queue.is_empty() || host.parked_until > now);
    }

    /// Jobs of a host that wait.
    pub fn queued_of(&self, host: &str) -> usize {
        self.hosts.get(host).map_or(0, |h| h.queue.len())
    }

    /// Jobs of all hosts that wait.
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// Jobs that wait for a parked host.
    pub fn parked(&self, now: Micros) -> usize {
        self.hosts.values().filter(|h| h.parked_until > now).map(|h| h.queue.len()).sum()
    }

    /// Takes out the jobs of a host that wait beyond the first `keep`.
    pub fn take_excess(&mut self, host: &str, keep: usize) -> Vec<J> {
        let Some(entry) = self.hosts.get_mut(host) else { return Vec::new() };
        let excess: Vec<J> = entry.queue.drain(keep.min(entry.queue.len())..).collect();
        self.queued -= excess.len();
        excess
    }

    /// Takes out all jobs that wait, for example because they are to be given up.
    pub fn drain(&mut self) -> Vec<J> {
        self.turns.clear();
        self.queued = 0;
        let mut jobs = Vec::new();
        for host in self.hosts.values_mut() {
            host.in_turns = false;
            jobs.extend(host.queue.drain(..));
        }
        self.hosts.retain(|_, host| host.running > 0);
        jobs
    }
}

/// The part of a URL that names its host and port, as far as sharing slots is concerned.
pub fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let authority = &rest[..end];
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

fn give_turn<J>(turns: &mut VecDeque<String>, host: &mut Host<J>, name: &str) {
    if !std::mem::replace(&mut host.in_turns, true) {
        turns.push_back(name.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_take_turns_and_keep_their_cap() {
        let mut hosts = Hosts::new(2);
        for job in 0..4 {
            hosts.push("a", format!("a{job}"));
        }
        hosts.push("b", "b0".into());
        let order: Vec<_> = std::iter::from_fn(|| hosts.pop(0)).collect();
        assert_eq!(order, ["a0", "b0", "a1"]);
        assert_eq!((hosts.queued(), hosts.queued_of("a")), (2, 2));
        hosts.done("a", 0);
        assert_eq!(hosts.pop(0).as_deref(), Some("a2"));
        assert_eq!(hosts.pop(0), None);
    }

    #[test]
    fn a_parked_host_waits_and_holds_nobody_up() {
        let mut hosts = Hosts::new(2);
        hosts.push("slow", 1);
        assert_eq!(hosts.pop(0), Some(1));
        hosts.push("slow", 2);
        hosts.park("slow", 50);
        hosts.done("slow", 0);
        hosts.push("quick", 3);
        assert_eq!(hosts.pop(10), Some(3));
        assert_eq!(hosts.pop(49), None);
        assert_eq!((hosts.parked(49), hosts.next_unpark(49), hosts.parked_until("slow", 49)), (1, Some(50), Some(50)));
        assert_eq!(hosts.pop(50), Some(2));
    }

    #[test]
    fn an_idle_host_is_forgotten_but_a_parked_one_is_remembered() {
        let mut hosts = Hosts::new(1);
        hosts.push("a", 1);
        hosts.pop(0);
        hosts.done("a", 0);
        assert!(hosts.hosts.is_empty());
        hosts.push("a", 2);
        hosts.pop(0);
        hosts.park("a", 9);
        hosts.done("a", 0);
        assert_eq!(hosts.parked_until("a", 5), Some(9));
        hosts.forget_idle(5);
        assert_eq!(hosts.hosts.len(), 1);
        hosts.forget_idle(9);
        assert!(hosts.hosts.is_empty());
    }

    #[test]
    fn what_a_host_holds_beyond_its_share_can_be_taken() {
        let mut hosts = Hosts::new(1);
        for job in 0..5 {
            hosts.push("a", job);
        }
        assert_eq!(hosts.take_excess("a", 2), [2, 3, 4]);
        assert_eq!((hosts.queued(), hosts.take_excess("a", 2).len(), hosts.take_excess("b", 0).len()), (2, 0, 0));
        assert_eq!(hosts.pop(0), Some(0));
    }

    #[test]
    fn a_url_belongs_to_its_authority() {
        for url in ["https://u:p@h.example:8443/a@b", "https://h.example:8443?x", "https://h.example:8443#y", "h.example:8443/z"]
        {
            assert_eq!(authority(url), "h.example:8443");
        }
    }

    #[test]
    fn draining_takes_what_waits_and_leaves_what_runs() {
        let mut hosts = Hosts::new(1);
        for job in 0..3 {
            hosts.push("a", job);
        }
        assert_eq!(hosts.pop(0), Some(0));
        assert_eq!(hosts.drain(), [1, 2]);
        assert_eq!(hosts.queued(), 0);
        hosts.push("a", 7);
        assert_eq!(hosts.pop(0), None, "the running one still counts");
        hosts.done("a", 0);
        assert_eq!(hosts.pop(0), Some(7));
    }
}
