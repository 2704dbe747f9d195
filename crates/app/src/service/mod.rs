//! The service's HTTP server: events come in here, and health and metrics are told.
//!
//! *Owns*: the socket, who may ask (the token), how much may be under way, and that an event is durable before it is
//! acknowledged. *Does not own*: what events mean (ingest decides), the log, when the process stops.
//!
//! ```text
//! connections (≤ 256) ─▶ head (≤ 30 s) ─▶ token ─▶ source, content type ─▶ [≤ 64 requests, ≤ 64 MiB] ─▶ backlog
//!     202 ◀── durable ◀── one append to the source's input ◀── events of the body ◀── body (≤ max_body, ≤ 30 s)
//! ```
//! Promises: 1 (what was answered with 202 is in the log), 5, 9 (no payload and no token in any message), 10.

mod access;
mod admission;
mod answer;
mod body;
mod events;
mod health;
mod replay;
mod server;
mod shape;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Router, middleware};
use longshore_stages::ports::{Log, LogView, Store};
use tokio_util::sync::CancellationToken;

use crate::config::Http;
use crate::place::{Lane, Tables};
use crate::sight::Sight;
use admission::Admission;
pub(crate) use answer::Refusal;
pub(crate) use server::Server;

/// The request header that names the input which a body is a part of, and the one with the number of its first line.
pub(crate) const INPUT_NAME: &str = "longshore-input";
/// See [`INPUT_NAME`].
pub(crate) const INPUT_LINE: &str = "longshore-line";
/// The longest event, in bytes, as in files.
pub(crate) const MAX_EVENT: usize = crate::input::MAX_LINE;

/// What the routes work with.
pub(crate) struct Service {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) view: Arc<dyn LogView>,
    pub(crate) lanes: Vec<Lane>,
    /// The tables of each lane, for replays; none where this process has none open.
    tables: Vec<Tables>,
    /// Where dead letters have what is too large for the log.
    store: Option<Arc<dyn Store>>,
    /// Held by the replay under way.
    replaying: tokio::sync::Mutex<()>,
    /// Events that were acknowledged.
    pub(crate) accepted: AtomicU64,
    http: Http,
    draining: CancellationToken,
    admission: Admission,
    /// What is told of the process.
    sight: Arc<Sight>,
    /// The log, measured, as events are appended to it.
    intake: Arc<dyn Log>,
}

impl Service {
    /// Over an open log, until `draining` is cancelled; then nothing is taken any more. Tells what `sight` sees.
    pub(crate) fn new(
        (log, view): (Arc<dyn Log>, Arc<dyn LogView>),
        lanes: Vec<Lane>,
        http: Http,
        draining: CancellationToken,
        sight: Arc<Sight>,
    ) -> Self {
        sight.stops_with(draining.clone());
        let (admission, intake) = (Admission::new(&http), sight.log(log.clone()));
        let (tables, store, replaying, accepted) = (Vec::new(), None, tokio::sync::Mutex::new(()), AtomicU64::new(0));
        Service { log, view, lanes, tables, store, replaying, accepted, http, draining, admission, sight, intake }
    }

    /// The same with the tables of all lanes, in their order, and the store, so that dead letters can be replayed.
    pub(crate) fn with_tables(self, tables: Vec<Tables>, store: Arc<dyn Store>) -> Self {
        Service { tables, store: Some(store), ..self }
    }

    /// The source of this name.
    pub(crate) fn lane(&self, name: &str) -> Result<&Lane, Refusal> {
        self.lanes.iter().find(|lane| lane.name() == name).ok_or_else(|| {
            let names: Vec<&str> = self.lanes.iter().map(Lane::name).collect();
            let (error, remedy) = ("there is no such source", format!("the sources are {}", names.join(", ")));
            Refusal::new(StatusCode::NOT_FOUND, error, remedy)
        })
    }

    /// The source of this name, and its tables.
    fn lane_with_tables(&self, name: &str) -> Result<(&Lane, &Tables), Refusal> {
        let lane = self.lane(name)?;
        let found = self.lanes.iter().zip(&self.tables).find(|(one, _)| one.name() == lane.name());
        found.ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "the source has no tables", "report it"))
    }

    /// Refuses work that would be taken while the service is stopping.
    pub(crate) fn open(&self) -> Result<(), Refusal> {
        if !self.draining.is_cancelled() {
            return Ok(());
        }
        let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the service is stopping", "send it again once it is back");
        Err(refusal.retry_after(5))
    }
}

/// All routes. Those below `/v1` need the token; further ones join them here.
pub(crate) fn router(service: Arc<Service>) -> Router {
    let guarded = Router::new()
        .route("/v1/events/{source}", post(events::post))
        .route("/v1/dlq/{source}/replay", post(replay::post))
        .route_layer(middleware::from_fn_with_state(service.clone(), access::check));
    Router::new()
        .merge(guarded)
        .route("/health/live", get(|| async { answer::json(StatusCode::OK, &serde_json::json!({ "status": "live" })) }))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(health::metrics))
        .fallback(|| async { Refusal::new(StatusCode::NOT_FOUND, "there is nothing at this path", PATHS) })
        .method_not_allowed_fallback(|| async {
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "the path does not take this method", PATHS)
        })
        .layer(middleware::from_fn_with_state(service.clone(), health::timed))
        .with_state(service)
}

const PATHS: &str =
    "ask for POST /v1/events/SOURCE, POST /v1/dlq/SOURCE/replay, GET /health/live, GET /health/ready or GET /metrics";

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
