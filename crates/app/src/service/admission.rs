//! How much may be under way: requests, bytes, and events that nobody has read yet.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use longshore_stages::ports::LogView;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

use super::Refusal;
use crate::config::Http;
use crate::place::Lane;

/// Requests with events at once.
const REQUESTS: usize = 64;
/// Bytes of events in memory at once; more only if a single body may be larger.
const ROOM_BYTES: usize = 64 << 20;
/// Room is handed out in pieces of this size.
const PIECE_BYTES: usize = 1 << 10;
/// The most events in one body.
pub(super) const MAX_EVENTS: usize = 65_536;
/// Memory that an event takes besides its bytes, about.
const EVENT_BYTES: usize = 256;
/// How long a look at the backlog counts.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What bounds the requests.
pub(super) struct Admission {
    requests: Arc<Semaphore>,
    room: Arc<Semaphore>,
    max_backlog: u64,
    backlog: Mutex<Backlog>,
}

/// Room in memory, given back when dropped.
#[derive(Default)]
pub(super) struct Room {
    held: Option<OwnedSemaphorePermit>,
}

/// The events of each input topic that its slowest reader has yet to read: as of the last look, and those let in since.
#[derive(Default)]
struct Backlog {
    looked: Option<Instant>,
    waiting: HashMap<String, u64>,
}

impl Admission {
    pub(super) fn new(http: &Http) -> Self {
        let largest = http.max_body.saturating_add(MAX_EVENTS * EVENT_BYTES);
        let pieces = largest.max(ROOM_BYTES).div_ceil(PIECE_BYTES);
        Admission {
            requests: Arc::new(Semaphore::new(REQUESTS)),
            room: Arc::new(Semaphore::new(pieces)),
            max_backlog: http.max_backlog,
            backlog: Mutex::default(),
        }
    }

    /// A place among the requests under way, until it is dropped.
    pub(super) fn request(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let taken = |_| Refusal::busy(format!("{REQUESTS} requests are under way"));
        self.requests.clone().try_acquire_owned().map_err(taken)
    }

    /// Makes room for this many bytes in all.
    pub(super) fn extend(&self, room: &mut Room, bytes: usize) -> Result<(), Refusal> {
        let have = room.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = bytes.div_ceil(PIECE_BYTES).saturating_sub(have);
        let full = || Refusal::busy("the events under way fill the memory for them");
        let more = u32::try_from(more).map_err(|_| full())?;
        let got = self.room.clone().try_acquire_many_owned(more).map_err(|_| full())?;
        match &mut room.held {
            Some(held) => held.merge(got),
            held => *held = Some(got),
        }
        Ok(())
    }

    /// Makes room for the events of a body of this length.
    pub(super) fn unpack(&self, room: &mut Room, bytes: usize, events: usize) -> Result<(), Refusal> {
        self.extend(room, bytes + events * EVENT_BYTES)
    }

    /// Lets this many events into a topic, unless too many wait in it. However many they are, they may come when
    /// none waits.
    pub(super) async fn enqueue(&self, log: &dyn LogView, lanes: &[Lane], topic: &str, events: u64) -> Result<(), Refusal> {
        let mut backlog = self.backlog.lock().await;
        if backlog.looked.is_none_or(|at| at.elapsed() >= LOOK_EVERY) {
            *backlog = look(log, lanes).await?;
        }
        let waiting = backlog.waiting.entry(topic.to_owned()).or_default();
        if *waiting > 0 && *waiting + events > self.max_backlog {
            let max = self.max_backlog;
            return Err(Refusal::busy(format!("{waiting} events wait already, and http.max_backlog allows {max}")));
        }
        *waiting += events;
        Ok(())
    }
}

async fn look(log: &dyn LogView, lanes: &[Lane]) -> Result<Backlog, Refusal> {
    let (partitions, positions) = log.state().await.map_err(|error| unavailable(&error))?;
    let mut waiting: HashMap<String, u64> = HashMap::new();
    for lane in lanes {
        let (topic, rows) = (lane.topics.raw(), lane.topics.record_events_group());
        for group in lane.topics.consumption(&topic).into_iter().filter(|group| *group != rows) {
            let lag = |state: &&longshore_stages::ports::PartitionState| *state.partition.topic == *topic;
            let behind = partitions.iter().filter(lag).map(|state| {
                let mine = positions.iter().find(|p| p.group == group && p.partition == state.partition);
                state.end - mine.map_or(state.begin, |p| p.committed.clamp(state.begin, state.end))
            });
            let most = waiting.entry(topic.clone()).or_default();
            *most = behind.sum::<u64>().max(*most);
        }
    }
    Ok(Backlog { looked: Some(Instant::now()), waiting })
}

/// The log does not do what it should; nothing was acknowledged.
pub(super) fn unavailable(error: &longshore_stages::ports::LogError) -> Refusal {
    tracing::warn!(%error, "the log took no events");
    let (what, remedy) = ("the log takes no events now", "send them again later; the service's own messages name the cause");
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, what, remedy).retry_after(5)
}
