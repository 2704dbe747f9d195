//! A new URL for one that has expired, from an endpoint of the operator's.
//!
//! *Owns*: what is asked and where the URL stands in the answer. *Does not own*: when to ask (the attempt), the call
//! itself (Lookup), what happens after a failure (core's ladder).
//!
//! The new URL is used for one attempt and kept nowhere. The task stays what it was: its `media_id` and the
//! `attachment_url` of its row are those of the event, even where the new URL's identity differs, so that a repeat of
//! the event is the same attachment.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use longshore_core::call::{CallTemplate, Pick, refresh_failure};
use longshore_core::format::Task;
use longshore_core::outcome::{Class, Failure, Reason};
use longshore_core::policy::{Policy, expiry};
use longshore_core::time::Micros;

use crate::ports::Lookup;

/// How a new URL is asked for.
#[derive(Clone)]
pub struct Refresh {
    /// The endpoint.
    pub lookup: Arc<dyn Lookup>,
    /// What it is asked: fields `trace_id`, `media_id`, `url` (the expired one), `source`, and the task's columns.
    pub call: CallTemplate,
    /// Where the new URL stands in the answer.
    pub url: Pick,
}

impl fmt::Debug for Refresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refresh by {:?}", self.call)
    }
}

impl Refresh {
    /// A new URL for the task's, which passes the policy and has not expired at `now`. A failure is the task's: what may
    /// pass climbs its ladder; what may not (404 and 410 of the endpoint, say) is permanent with the reason `expired`; a
    /// URL that the policy forbids is rejected.
    pub async fn new_url(&self, task: &Task, policy: &Policy, now: Micros) -> Result<String, Failure> {
        let url = self.ask(task).await.map_err(refresh_failure)?;
        policy.check_url(&url).map_err(|failure| Failure {
            message: format!("the new URL for an expired one is not allowed: {}", failure.message),
            ..failure
        })?;
        match expiry::expired(&url, now) {
            None => Ok(url),
            Some(_) => Err(Failure::new(Class::Transient, Reason::Lookup, "the new URL for an expired one has expired as well")),
        }
    }

    async fn ask(&self, task: &Task) -> Result<String, Failure> {
        let call = self.call.render(&fields(task));
        let call = call.map_err(|error| Failure::new(Class::Permanent, Reason::Lookup, error.to_string()))?;
        self.url.text(&self.lookup.ask(call).await?)
    }
}

/// What a call for a new URL may name.
fn fields(task: &Task) -> BTreeMap<String, String> {
    let own = [
        ("trace_id", task.trace_id.clone()),
        ("media_id", task.media_id.to_string()),
        ("url", task.url.clone()),
        ("source", task.source.clone()),
    ];
    let mut fields = task.columns.clone();
    fields.extend(own.map(|(name, value)| (name.to_owned(), value)));
    fields
}
