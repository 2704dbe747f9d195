//! Downloads, measured: one observation for each attempt, when its body has ended or is dropped.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use longshore_core::outcome::Failure;
use longshore_stages::ports::{Body, Opened, Origin, Request};
use prometheus::{Histogram, HistogramVec, IntGauge};

/// Statuses that have a name (RFC 9110 §15, RFC 6585, RFC 4918); any other is one that a stranger made up.
const STATUSES: [u16; 58] = [
    200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304, 305, 307, 308, 400, 401, 402, 403, 404, 405, 406,
    407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418, 421, 422, 423, 424, 425, 426, 428, 429, 431, 451, 500, 501, 502,
    503, 504, 505, 506, 507, 508, 510, 511,
];

/// The `error_type` of a body that was dropped before its end: the file was refused, or the process stops.
const ABANDONED: &str = "abandoned";

/// An origin that is measured.
pub(super) struct MeteredOrigin {
    inner: Arc<dyn Origin>,
    meter: Arc<Meter>,
}

/// The handles of a source.
struct Meter {
    source: String,
    seconds: HistogramVec,
    /// That of most attempts: status 200, no error.
    fine: Histogram,
    active: IntGauge,
}

impl MeteredOrigin {
    pub(super) fn new(inner: Arc<dyn Origin>, source: &str, seconds: &HistogramVec, active: IntGauge) -> Self {
        let (source, seconds) = (source.to_owned(), seconds.clone());
        let fine = seconds.with_label_values(&[source.as_str(), "GET", "200", ""]);
        MeteredOrigin { inner, meter: Arc::new(Meter { source, seconds, fine, active }) }
    }
}

#[async_trait]
impl Origin for MeteredOrigin {
    async fn open(&self, request: Request) -> Result<Opened, Failure> {
        let mut attempt = Attempt::begin(self.meter.clone());
        match self.inner.open(request).await {
            Ok(opened) => {
                attempt.status = Some(opened.status);
                let body = Box::new(MeteredBody { inner: opened.body, attempt });
                Ok(Opened { body, ..opened })
            }
            Err(failure) => {
                attempt.failed(&failure);
                Err(failure)
            }
        }
    }
}

/// An attempt under way; counted when it is dropped.
struct Attempt {
    meter: Arc<Meter>,
    began: Instant,
    status: Option<u16>,
    error: &'static str,
}

impl Attempt {
    fn begin(meter: Arc<Meter>) -> Self {
        meter.active.inc();
        Attempt { meter, began: Instant::now(), status: None, error: ABANDONED }
    }

    fn failed(&mut self, failure: &Failure) {
        self.status = failure.http_status.or(self.status);
        self.error = failure.reason.as_str();
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let (meter, seconds) = (&self.meter, self.began.elapsed().as_secs_f64());
        meter.active.dec();
        if (self.status, self.error) == (Some(200), "") {
            return meter.fine.observe(seconds);
        }
        let status = self.status.map_or_else(String::new, spelled);
        meter.seconds.with_label_values(&[meter.source.as_str(), "GET", &status, self.error]).observe(seconds);
    }
}

/// A status as a label.
fn spelled(status: u16) -> String {
    if STATUSES.contains(&status) { status.to_string() } else { "other".to_owned() }
}

/// A body that is measured.
struct MeteredBody {
    inner: Box<dyn Body>,
    attempt: Attempt,
}

#[async_trait]
impl Body for MeteredBody {
    async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        let result = self.inner.chunk().await;
        match &result {
            Ok(Some(_)) => {}
            Ok(None) => self.attempt.error = "",
            Err(failure) => self.attempt.failed(failure),
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_that_a_stranger_made_up_makes_no_label() {
        assert_eq!((spelled(404), spelled(299), spelled(999)), ("404".to_owned(), "other".to_owned(), "other".to_owned()));
        assert!(STATUSES.is_sorted());
    }
}
