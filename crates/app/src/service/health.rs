//! What is told of the process without a token: whether it lives, whether it is ready, and its metrics.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{Service, answer};
use crate::render::exact_time;
use crate::sight::{self, Unready};

/// Whether work is taken and gets done.
pub(super) async fn ready(State(service): State<Arc<Service>>) -> Response {
    let reasons: Vec<Value> = service.sight.unready().iter().map(reason).collect();
    if reasons.is_empty() {
        return answer::json(StatusCode::OK, &json!({ "status": "ready" }));
    }
    answer::json(StatusCode::SERVICE_UNAVAILABLE, &json!({ "status": "not ready", "reasons": reasons }))
}

fn reason(unready: &Unready) -> Value {
    json!({ "part": unready.part.as_str(), "since": exact_time(unready.since), "what": unready.what })
}

/// All metrics.
pub(super) async fn metrics(State(service): State<Arc<Service>>) -> Response {
    ([(header::CONTENT_TYPE, sight::CONTENT_TYPE)], service.sight.render()).into_response()
}

/// Measures how long each answer takes.
pub(super) async fn timed(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let (began, method) = (Instant::now(), method(request.method()));
    let route = request.extensions().get::<MatchedPath>().map_or(String::new(), |path| path.as_str().to_owned());
    let response = next.run(request).await;
    service.sight.served(method, &route, response.status().as_str(), began.elapsed());
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
