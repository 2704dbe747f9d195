//! What is told of the process without a token: whether it lives, whether it is ready, and its metrics.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use longshore_core::time::Micros;
use longshore_stages::ports::{Clock, SystemClock};
use serde_json::{Value, json};

use super::{Refusal, Service, answer};
use crate::render::exact_time;
use crate::sight;

/// Whether work is taken and gets done.
pub(super) async fn ready(State(service): State<Arc<Service>>) -> Response {
    let mut reasons = Vec::new();
    if service.draining.is_cancelled() {
        reasons.push(reason("work", service.stopping_since(), "the process is stopping"));
    }
    let unready = service.sight.iter().flat_map(|sight| sight.unready());
    reasons.extend(unready.map(|unready| reason(unready.part.as_str(), unready.since, &unready.what)));
    if reasons.is_empty() {
        return answer::json(StatusCode::OK, &json!({ "status": "ready" }));
    }
    answer::json(StatusCode::SERVICE_UNAVAILABLE, &json!({ "status": "not ready", "reasons": reasons }))
}

fn reason(part: &str, since: Micros, what: &str) -> Value {
    json!({ "part": part, "since": exact_time(since), "what": what })
}

/// All metrics.
pub(super) async fn metrics(State(service): State<Arc<Service>>) -> Response {
    match &service.sight {
        Some(sight) => ([(header::CONTENT_TYPE, sight::CONTENT_TYPE)], sight.render()).into_response(),
        None => Refusal::new(StatusCode::NOT_FOUND, "nothing is measured here", "ask a running service").into_response(),
    }
}

/// Measures how long each answer takes.
pub(super) async fn timed(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let Some(sight) = service.sight.clone() else { return next.run(request).await };
    let (began, method) = (Instant::now(), method(request.method()));
    let route = request.extensions().get::<MatchedPath>().map_or(String::new(), |path| path.as_str().to_owned());
    let response = next.run(request).await;
    sight.served(method, &route, response.status().as_str(), began.elapsed());
    response
}

/// The method as a label: those that we take, and one name for all others.
fn method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "HEAD" => "HEAD",
        _ => "_OTHER",
    }
}

impl Service {
    /// Since when it is stopping, as far as anybody has asked.
    fn stopping_since(&self) -> Micros {
        *self.stopping.get_or_init(|| SystemClock.now())
    }
}
