//! A new URL for one that has expired, from an endpoint of the operator's.
//!
//! *Owns*: what is asked and where the URL stands in the answer, and the breaker for the endpoint: while that is down,
//! or asked us to wait, a task learns so at once, holds no slot, and waits in a tier without an attempt spent.
//! *Does not own*: when to ask (the attempt), the call itself (Lookup), what happens after a failure (core's ladder).
//!
//! The new URL is used for one attempt and kept nowhere. The task stays what it was: its `media_id` and the
//! `attachment_url` of its row are those of the event, even where the new URL's identity differs, so that a repeat of
//! the event is the same attachment.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use longshore_core::breaker::Breaker;
use longshore_core::call::{CallTemplate, Pick, refresh_failure};
use longshore_core::format::Task;
use longshore_core::outcome::{Class, Failure, Reason};
use longshore_core::policy::{Policy, expiry};
use longshore_core::time::Micros;
use tokio::time::Instant;

use crate::ports::Lookup;

/// The longest `Retry-After` of the endpoint that is honoured whole.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// How a new URL is asked for. Clones share the breaker.
#[derive(Clone)]
pub struct Refresh {
    lookup: Arc<dyn Lookup>,
    call: CallTemplate,
    url: Pick,
    breaker: Arc<Mutex<Breaker>>,
}

impl fmt::Debug for Refresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refresh by {:?}", self.call)
    }
}

impl Refresh {
    /// Asks `lookup` with `call`, which may name the fields `trace_id`, `media_id`, `url` (the expired one), `source` and
    /// the task's columns; the new URL stands at `url` in the answer.
    pub fn new(lookup: Arc<dyn Lookup>, call: CallTemplate, url: Pick) -> Self {
        Refresh { lookup, call, url, breaker: Arc::default() }
    }

    /// A new URL for the task's, which passes the policy and has not expired at `now`. A failure is the task's: what may
    /// pass climbs its ladder; what may not (404 and 410 of the endpoint, say) is permanent with the reason `expired`; a
    /// URL that the policy forbids is rejected.
    pub async fn new_url(&self, task: &Task, policy: &Policy, now: Micros) -> Result<String, Failure> {
        let url = self.ask(task, now).await.map_err(refresh_failure)?;
        policy.check_url(&url).map_err(|failure| Failure {
            message: format!("the new URL for an expired one is not allowed: {}", failure.message),
            ..failure
        })?;
        match expiry::expired(&url, now) {
            None => Ok(url),
            Some(_) => Err(Failure::new(Class::Transient, Reason::Lookup, "the new URL for an expired one has expired as well")),
        }
    }

    async fn ask(&self, task: &Task, now: Micros) -> Result<String, Failure> {
        let call = self.call.render(&fields(task));
        let call = call.map_err(|error| Failure::new(Class::Permanent, Reason::Lookup, error.to_string()))?;
        let asking = self.begin(now)?;
        let answer = self.lookup.ask(call).await;
        asking.end(answer.as_ref().err());
        self.url.text(&answer?)
    }

    /// Begins a call, if the endpoint may be asked now.
    fn begin(&self, now: Micros) -> Result<Asking<'_>, Failure> {
        let mut breaker = self.breaker();
        if breaker.start(now) {
            return Ok(Asking { refresh: self, at: now, since: Instant::now(), ended: false });
        }
        let failure = Failure::new(Class::Throttled, Reason::Lookup, "the endpoint for new URLs is down, or asked to wait");
        Err(Failure { retry_after: Some(breaker.wait(now)), ..failure })
    }

    /// No code that can panic runs under this lock.
    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call under way. One that is given up or breaks down came to nothing, and the breaker learns so: it may be the
/// probe that all others wait for.
struct Asking<'a> {
    refresh: &'a Refresh,
    at: Micros,
    since: Instant,
    ended: bool,
}

impl Asking<'_> {
    fn now(&self) -> Micros {
        self.at.saturating_add(micros(self.since.elapsed()))
    }

    /// Tells the breaker what came of the call.
    fn end(mut self, failure: Option<&Failure>) {
        self.ended = true;
        let (now, mut breaker) = (self.now(), self.refresh.breaker());
        match failure {
            Some(failure) if failure.class == Class::Throttled => {
                let wait = failure.retry_after.unwrap_or_default().min(LONGEST_WAIT);
                breaker.throttled(now.saturating_add(micros(wait)));
            }
            Some(failure) if failure.class == Class::Transient => breaker.failed(now),
            _ => breaker.answered(),
        }
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let now = self.now();
            self.refresh.breaker().failed(now);
        }
    }
}

fn micros(duration: Duration) -> Micros {
    Micros::try_from(duration.as_micros()).unwrap_or(Micros::MAX)
}

/// What a call for a new URL may name.
fn fields(task: &Task) -> BTreeMap<String, String> {
    let own = [
        ("trace_id", task.trace_id.clone()),
        ("media_id", task.media_id.to_string()),
        ("url", task.url.clone()),
        ("source", task.source.clone()),
    ];
    let columns = task.columns.iter().map(|(name, value)| (name.to_string(), value.clone()));
    columns.chain(own.map(|(name, value)| (name.to_owned(), value))).collect()
}
