//! `POST /v1/dlq/{source}/replay`: dead letters back into the chain, for `dlq replay` while the service has the log.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::path::Path;
use axum::extract::rejection::PathRejection;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::{Refusal, Service, answer, body};
use crate::dlq::{Wish, replay};

/// The longest wish, in bytes: enough for the most ids.
const WISH_BYTES: usize = 1 << 20;

/// The route.
pub(super) async fn post(
    State(service): State<Arc<Service>>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let (head, mut body) = request.into_parts();
    let name = name.map(|Path(name)| name).unwrap_or_default();
    match take(&service, &name, &head, &mut body).await {
        Ok(report) => answer::json(StatusCode::OK, &report),
        Err(refusal) => {
            body::discard(&head.headers, &mut body).await;
            refusal.into_response()
        }
    }
}

/// Does what is wished, unless another replay is under way. A replay that is broken off has done a part, and may be
/// asked for again.
async fn take(service: &Service, name: &str, head: &Parts, body: &mut Body) -> Result<Value, Refusal> {
    service.open()?;
    let (lane, tables) = service.lane_with_tables(name)?;
    let _one = service.replaying.try_lock().map_err(|_| Refusal::busy("another replay is under way"))?;
    let (bytes, _room) = body::read(&head.headers, body, WISH_BYTES, &service.admission).await?;
    let wish: Wish = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    let wish = wish.bounded().map_err(|error| wrong(format!("{error:#}")))?;
    let (view, log) = (service.view.as_ref(), service.log.as_ref());
    tokio::select! {
        done = replay(view, Some(log), lane, tables, service.store.as_deref(), &wish) => {
            let report = done.map_err(|error| failed(&error))?;
            Ok(serde_json::to_value(report).unwrap_or_default())
        }
        () = service.draining.cancelled() => Err(service.open().err().unwrap_or_else(|| Refusal::busy("the service is stopping"))),
    }
}

fn failed(error: &anyhow::Error) -> Refusal {
    tracing::warn!(%error, "a replay was broken off");
    let (what, remedy) = ("the replay was broken off", "ask again; the service's own messages name the cause");
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, what, remedy).retry_after(5)
}

fn wrong(error: String) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, error, "correct the request; longshore dlq replay makes right ones")
}
