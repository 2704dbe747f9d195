//! The hosts that are in use: their slots and their idle connections.
//!
//! A host is remembered while a transfer holds or awaits a slot of it, or an idle connection to it is kept. Idle
//! connections are taken newest first, so that a quiet host's connections age and go.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use hyper::header::HeaderValue;
use longshore_core::outcome::{Class, Failure, Reason};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use url::{Position, Url};

use crate::connect::{Sender, host_of};

/// How many hosts may be remembered; beyond it those not in use are forgotten with their idle connections.
const MAX_HOSTS: usize = 4096;

pub(crate) struct Pool {
    per_host: usize,
    idle_limit: Duration,
    hosts: Mutex<HashMap<Box<str>, Arc<Host>>>,
    room: Arc<IdleRoom>,
    sweeping: AtomicBool,
}

/// How many idle connections may still be kept.
struct IdleRoom(AtomicUsize);

/// One scheme, host and port.
pub(crate) struct Host {
    /// The `Host` header.
    pub(crate) authority: HeaderValue,
    slots: Arc<Semaphore>,
    idle: Mutex<Vec<Idle>>,
    room: Arc<IdleRoom>,
}

struct Idle {
    sender: Sender,
    since: Instant,
}

/// The right to one transfer with a host. Dropping it lets the next one in.
pub(crate) struct Slot {
    pub(crate) host: Arc<Host>,
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    pub(crate) fn new(per_host: usize, max_idle: usize, idle_limit: Duration) -> Self {
        let room = Arc::new(IdleRoom(AtomicUsize::new(max_idle)));
        Pool { per_host: per_host.max(1), idle_limit, hosts: Mutex::default(), room, sweeping: AtomicBool::new(false) }
    }

    /// Waits for a slot of the URL's host, behind those who came earlier.
    pub(crate) async fn slot(self: &Arc<Self>, url: &Url) -> Result<Slot, Failure> {
        let host = self.host(url)?;
        match Arc::clone(&host.slots).acquire_owned().await {
            Ok(permit) => Ok(Slot { host, _permit: permit }),
            Err(_) => Err(Failure::new(Class::Transient, Reason::Connect, "the origin is closed")),
        }
    }

    /// The newest idle connection that is still open.
    pub(crate) fn idle(&self, host: &Host) -> Option<Sender> {
        loop {
            let Idle { sender, since } = host.take_idle()?;
            if !sender.is_closed() && since.elapsed() < self.idle_limit {
                return Some(sender);
            }
        }
    }

    /// `url` must have no userinfo: what stands before its path is the key.
    fn host(self: &Arc<Self>, url: &Url) -> Result<Arc<Host>, Failure> {
        let key = &url[..Position::BeforePath];
        let mut hosts = locked(&self.hosts);
        if let Some(host) = hosts.get(key) {
            return Ok(Arc::clone(host));
        }
        if hosts.len() >= MAX_HOSTS {
            hosts.retain(|_, host| Arc::strong_count(host) > 1);
        }
        let authority = HeaderValue::from_str(host_of(url))
            .map_err(|_| Failure::new(Class::Rejected, Reason::InvalidUrl, "the URL's host cannot be sent as a header"))?;
        let slots = Arc::new(Semaphore::new(self.per_host));
        let host = Arc::new(Host { authority, slots, idle: Mutex::default(), room: Arc::clone(&self.room) });
        hosts.insert(key.into(), Arc::clone(&host));
        drop(hosts);
        self.start_sweeping();
        Ok(host)
    }

    /// Closes idle connections that are old, and forgets hosts that are not in use.
    fn sweep(&self) {
        locked(&self.hosts).retain(|_, host| {
            host.close_old(self.idle_limit);
            Arc::strong_count(host) > 1 || !locked(&host.idle).is_empty()
        });
    }

    /// One task for the life of the pool: without it, connections to a host that is never asked again would stay.
    fn start_sweeping(self: &Arc<Self>) {
        if !self.sweeping.swap(true, Ordering::Relaxed) {
            let period = (self.idle_limit / 2).max(Duration::from_millis(100));
            tokio::spawn(sweep_every(period, Arc::downgrade(self)));
        }
    }
}

async fn sweep_every(period: Duration, pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(period).await;
        match pool.upgrade() {
            Some(pool) => pool.sweep(),
            None => return,
        }
    }
}

impl Host {
    /// Keeps a connection whose last answer was read to the end, if there is room.
    pub(crate) fn keep(&self, sender: Sender) {
        if !sender.is_closed() && self.room.take() {
            locked(&self.idle).push(Idle { sender, since: Instant::now() });
        }
    }

    fn take_idle(&self) -> Option<Idle> {
        let idle = locked(&self.idle).pop()?;
        self.room.give(1);
        Some(idle)
    }

    fn close_old(&self, limit: Duration) {
        let mut idle = locked(&self.idle);
        let before = idle.len();
        idle.retain(|one| !one.sender.is_closed() && one.since.elapsed() < limit);
        self.room.give(before - idle.len());
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.room.give(locked(&self.idle).len());
    }
}

impl IdleRoom {
    fn take(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    fn give(&self, count: usize) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }
}

/// No code that can panic runs under these locks; if it did, what they guard is still consistent.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
