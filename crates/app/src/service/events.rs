//! `POST /v1/events/{source}`: the events of a body, durable in the source's input before they are acknowledged.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::body::Body;
use axum::extract::path::Path;
use axum::extract::rejection::PathRejection;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use longshore_core::format::{HEADER_INPUT, HEADER_URL_FIELD};
use longshore_core::headers::{TRACEPARENT, TRACESTATE, carried};
use longshore_core::source::Route;
use longshore_stages::ports::Message;
use serde_json::json;

use super::admission::unavailable;
use super::shape::{Posted, Shape};
use super::{INPUT_LINE, INPUT_NAME, Refusal, Service, answer, body};
use crate::place::Lane;

/// How much of a name that a sender gives its input is kept, in characters.
const NAME_CHARS: usize = 200;

/// Where a request came from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Remote(pub(super) SocketAddr);

/// The route.
pub(super) async fn post(
    State(service): State<Arc<Service>>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let (head, mut body) = request.into_parts();
    let name = name.map(|Path(name)| name).unwrap_or_default();
    match take(&service, &name, &head, &mut body).await {
        Ok(accepted) => answer::json(StatusCode::ACCEPTED, &json!({ "accepted": accepted })),
        Err(refusal) => {
            body::discard(&head.headers, &mut body).await;
            refusal.into_response()
        }
    }
}

/// Takes all events of a body, or none.
async fn take(service: &Service, name: &str, head: &Parts, body: &mut Body) -> Result<usize, Refusal> {
    service.open()?;
    let lane = service.lane(name)?;
    let shape = Shape::of(&head.headers)?;
    let _request = service.admission.request()?;
    let (bytes, mut room) = body::read(&head.headers, body, service.http.max_body, &service.admission).await?;
    let events = shape.events(&bytes)?;
    service.admission.unpack(&mut room, bytes.len(), events.len())?;
    let (topic, count) = (lane.topics.raw(), events.len());
    service.admission.enqueue(service.view.as_ref(), &service.lanes, &topic, count as u64).await?;
    let input = Input::of(head, lane);
    let messages: Vec<_> = events.into_iter().map(|event| input.message(event)).collect();
    service.intake.append(&topic, &messages).await.map_err(|error| unavailable(&error))?;
    service.accepted.fetch_add(count as u64, Relaxed);
    Ok(count)
}

/// What a request says of where its events come from.
struct Input {
    /// `http ADDRESS`, and the name that the sender gives.
    name: String,
    first_line: u64,
    url_field: Option<Bytes>,
    /// Headers that the topic's sources are told apart by, and the trace that the request is a part of.
    headers: Vec<(String, Bytes)>,
}

impl Input {
    fn of(head: &Parts, lane: &Lane) -> Self {
        let remote = head.extensions.get::<Remote>().map_or_else(String::new, |remote| remote.0.to_string());
        let text = |name: &str| said(&head.headers, name);
        let name = text(INPUT_NAME).map_or_else(|| format!("http {remote}"), |name| format!("http {remote} {name}"));
        let first_line = text(INPUT_LINE).and_then(|line| line.parse().ok()).unwrap_or(1).max(1);
        let names = lane.source.route.iter().flat_map(Route::headers);
        let value = |name: &str| Some((name.to_owned(), Bytes::copy_from_slice(head.headers.get(name)?.as_bytes())));
        let routing = names.filter_map(value);
        let trace: Vec<_> = [TRACEPARENT, TRACESTATE].into_iter().filter_map(value).collect();
        let headers = routing.chain(carried(&trace)).collect();
        Input { name, first_line, url_field: text(HEADER_URL_FIELD).map(Bytes::from), headers }
    }

    fn message(&self, event: Posted) -> Message {
        let place = format!("{}:{}", self.name, (self.first_line - 1).saturating_add(event.line));
        let mut headers = vec![(HEADER_INPUT.to_owned(), Bytes::from(place))];
        headers.extend(self.url_field.clone().map(|field| (HEADER_URL_FIELD.to_owned(), field)));
        headers.extend(self.headers.iter().cloned());
        headers.extend(event.headers);
        Message { key: None, value: Some(event.bytes), headers }
    }
}

/// A header's text, without what could steer a terminal.
fn said(headers: &HeaderMap, name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(headers.get(name)?.as_bytes()).into_owned();
    Some(text.chars().filter(|c| !c.is_control()).take(NAME_CHARS).collect())
}
