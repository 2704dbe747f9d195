//! Reading a body under its clocks and bounds.
//!
//! The usual piece is there when it is asked for and costs no timer. Only when the host lets us wait is the one
//! timer armed, for the first of the clocks that would run out.

use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use longshore_core::outcome::{Class, Failure, Reason};
use longshore_stages::ports::Body;
use tokio::time::{Instant, Sleep};

use crate::connect::Sender;
use crate::pool::Slot;
use crate::settings::{MinThroughput, Timeouts};

/// A reader that stays away for this long is held up by us, not by the host.
const PAUSE: Duration = Duration::from_millis(250);

/// A body being read, with the slot and the connection that it occupies.
pub(crate) struct HttpBody {
    incoming: Incoming,
    /// Given back when the body is complete; until then dropping it closes the connection.
    lease: Option<Lease>,
    clocks: Clocks,
    declared: Option<u64>,
    max_size: Option<u64>,
    read: u64,
    /// What ended the body badly is told again if asked again.
    failed: Option<Failure>,
}

/// A slot and the connection used in it.
pub(crate) struct Lease {
    pub(crate) slot: Slot,
    pub(crate) sender: Sender,
}

impl Lease {
    /// Gives the connection back for reuse, and the slot.
    pub(crate) fn release(self) {
        self.slot.host.keep(self.sender);
    }
}

impl HttpBody {
    /// A body whose head has been read. Fails at once if it is declared larger than allowed.
    pub(crate) fn new(incoming: Incoming, lease: Lease, clocks: Clocks, bounds: Bounds) -> Result<Self, Failure> {
        let Bounds { declared, max_size } = bounds;
        let body = HttpBody { incoming, lease: Some(lease), clocks, declared, max_size, read: 0, failed: None };
        body.check_size(declared.unwrap_or(0), "is declared as")?;
        Ok(body)
    }

    fn check_size(&self, bytes: u64, how: &str) -> Result<(), Failure> {
        match self.max_size {
            Some(max) if bytes > max => {
                let message = format!("the body {how} {bytes} bytes; max_size allows {max}");
                Err(Failure::new(Class::Permanent, Reason::TooLarge, message))
            }
            _ => Ok(()),
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        self.clocks.resume()?;
        match self.next_data().await? {
            Some(data) => {
                self.read += data.len() as u64;
                self.check_size(self.read, "has more than")?;
                self.clocks.pause();
                Ok(Some(data))
            }
            None => self.finish(),
        }
    }

    /// Hyper has compared the length with the declared one; to store a short file would be so bad that it is
    /// compared again.
    fn finish(&mut self) -> Result<Option<Bytes>, Failure> {
        if self.declared.is_some_and(|declared| declared != self.read) {
            return Err(self.wrong_length());
        }
        if let Some(lease) = self.lease.take() {
            lease.release();
        }
        Ok(None)
    }

    async fn next_data(&mut self) -> Result<Option<Bytes>, Failure> {
        let outcome = {
            let mut waiting = Waiting { incoming: &mut self.incoming, clocks: &mut self.clocks, read: self.read, since: None };
            std::future::poll_fn(|cx| waiting.poll(cx)).await
        };
        match outcome {
            Ok(data) => Ok(data),
            Err(Stop::Clock(failure)) => Err(failure),
            Err(Stop::Broken(error)) => Err(self.broken(&error)),
        }
    }

    fn broken(&self, error: &hyper::Error) -> Failure {
        let ended = error.source().and_then(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
        if error.is_incomplete_message() || ended == Some(io::ErrorKind::UnexpectedEof) {
            return self.wrong_length();
        }
        let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        Failure::new(Class::Transient, Reason::Protocol, format!("the connection broke after {} bytes: {cause}", self.read))
    }

    fn wrong_length(&self) -> Failure {
        let message = match self.declared {
            Some(declared) => format!("the body ended after {} of {declared} bytes", self.read),
            None => format!("the body was cut off after {} bytes", self.read),
        };
        Failure::new(Class::Transient, Reason::WrongLength, message)
    }
}

#[async_trait]
impl Body for HttpBody {
    async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        if let Some(failure) = &self.failed {
            return Err(failure.clone());
        }
        if self.lease.is_none() {
            return Ok(None);
        }
        let result = self.next().await;
        if let Err(failure) = &result {
            // The connection and the slot go at once, even if the reader keeps the body.
            self.lease = None;
            self.failed = Some(failure.clone());
        }
        result
    }
}

/// How large a body may be, and says it is.
pub(crate) struct Bounds {
    pub(crate) declared: Option<u64>,
    pub(crate) max_size: Option<u64>,
}

enum Stop {
    Clock(Failure),
    Broken(hyper::Error),
}

/// One call's wait for data. The time is counted when it is dropped, so that a cancelled call counts as well.
struct Waiting<'a> {
    incoming: &'a mut Incoming,
    clocks: &'a mut Clocks,
    read: u64,
    since: Option<Instant>,
}

impl Waiting<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Stop>> {
        loop {
            match Pin::new(&mut *self.incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => return Poll::Ready(self.arrived(data)),
                    // Trailers and empty pieces say nothing.
                    _ => {}
                },
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(Stop::Broken(error))),
                Poll::Ready(None) => return Poll::Ready(Ok(None)),
                Poll::Pending => return self.wait(cx).map(|failure| Err(Stop::Clock(failure))),
            }
        }
    }

    fn arrived(&mut self, data: Bytes) -> Result<Option<Bytes>, Stop> {
        self.count();
        self.clocks.idle = Duration::ZERO;
        self.clocks.judge_rate(self.read + data.len() as u64).map_err(Stop::Clock)?;
        Ok(Some(data))
    }

    /// Waits on until a clock runs out.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        loop {
            self.count();
            self.since = Some(Instant::now());
            if let Err(failure) = self.clocks.judge(self.read) {
                return Poll::Ready(failure);
            }
            let left = self.clocks.left();
            if self.clocks.poll_timer(left, cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn count(&mut self) {
        if let Some(since) = self.since.take() {
            self.clocks.wait(since.elapsed());
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.count();
    }
}

/// The clocks of one transfer.
pub(crate) struct Clocks {
    timeouts: Timeouts,
    rate: Option<MinThroughput>,
    /// What the total counts, up to `counted_until`.
    total: Duration,
    counted_until: Instant,
    /// Time waited for the host since the last data.
    idle: Duration,
    /// Time waited for the host in this window of the least rate.
    window: Duration,
    /// Bytes read before this window.
    window_from: u64,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Clocks {
    /// Clocks that start now.
    pub(crate) fn start(timeouts: Timeouts, rate: Option<MinThroughput>) -> Self {
        let (idle, window, total) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        Clocks { timeouts, rate, total, counted_until: Instant::now(), idle, window, window_from: 0, timer: None }
    }

    /// Time left of the total, or the failure that there is none. Counts everything since the last call.
    pub(crate) fn total_left(&mut self) -> Result<Duration, Failure> {
        self.tick();
        self.judge_total()?;
        Ok(self.timeouts.total.saturating_sub(self.total))
    }

    /// Goes on with the total without what passed since it was counted last: our own queue's doing.
    pub(crate) fn skip(&mut self) {
        self.counted_until = Instant::now();
    }

    /// The failure that the total has run out.
    pub(crate) fn total_failure(&self) -> Failure {
        failure(Reason::TotalTimeout, format!("the transfer took longer than {} ms", self.timeouts.total.as_millis()))
    }

    /// The reader asks again.
    fn resume(&mut self) -> Result<(), Failure> {
        if self.counted_until.elapsed() >= PAUSE {
            self.skip();
        }
        self.tick();
        self.judge_total()
    }

    /// The reader has its piece.
    fn pause(&mut self) {
        self.tick();
    }

    fn tick(&mut self) {
        let now = Instant::now();
        self.total += now.saturating_duration_since(self.counted_until);
        self.counted_until = now;
    }

    /// Counts time spent waiting for the host.
    fn wait(&mut self, time: Duration) {
        self.tick();
        self.idle += time;
        self.window += time;
    }

    fn judge(&mut self, read: u64) -> Result<(), Failure> {
        self.judge_total()?;
        if self.idle >= self.timeouts.idle {
            let message = format!("no byte arrived for {} ms, after {read} bytes", self.timeouts.idle.as_millis());
            return Err(failure(Reason::IdleTimeout, message));
        }
        self.judge_rate(read)
    }

    fn judge_total(&self) -> Result<(), Failure> {
        if self.total >= self.timeouts.total { Err(self.total_failure()) } else { Ok(()) }
    }

    fn judge_rate(&mut self, read: u64) -> Result<(), Failure> {
        let Some(rate) = self.rate.filter(|rate| self.window >= rate.window) else { return Ok(()) };
        let bytes = u128::from(read - self.window_from);
        if bytes * 1000 < u128::from(rate.bytes_per_second) * self.window.as_millis() {
            let message =
                format!("{bytes} bytes in {} ms are less than {} bytes/s", self.window.as_millis(), rate.bytes_per_second);
            return Err(failure(Reason::TooSlow, message));
        }
        (self.window, self.window_from) = (Duration::ZERO, read);
        Ok(())
    }

    /// Time until the first clock runs out.
    fn left(&self) -> Duration {
        let window = self.rate.map_or(Duration::MAX, |rate| rate.window.saturating_sub(self.window));
        let idle = self.timeouts.idle.saturating_sub(self.idle);
        self.timeouts.total.saturating_sub(self.total).min(idle).min(window)
    }

    fn poll_timer(&mut self, left: Duration, cx: &mut Context<'_>) -> Poll<()> {
        let timer = match &mut self.timer {
            Some(timer) => {
                timer.as_mut().reset(Instant::now() + left);
                timer
            }
            none => none.insert(Box::pin(tokio::time::sleep(left))),
        };
        timer.as_mut().poll(cx)
    }
}

fn failure(reason: Reason, message: String) -> Failure {
    Failure::new(Class::Transient, reason, message)
}
