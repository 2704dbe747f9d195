#![allow(clippy::unwrap_used)]

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, header};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use longshore_core::format::HEADER_INPUT;
use longshore_core::secret::Secret;
use longshore_log::EmbeddedLog;
use longshore_stages::ports::{Log, LogView, Partition, Received};
use serde_json::Value;

use super::*;
use crate::settings::Definition;

const TOPIC: &str = "urls.events.raw";

/// A service on a log in a directory of its own.
struct World {
    service: Arc<Service>,
    log: Arc<EmbeddedLog>,
    draining: CancellationToken,
    _directory: tempfile::TempDir,
}

fn http() -> Http {
    let listen = "127.0.0.1:0".parse().unwrap();
    Http { listen, token: None, max_body: 4 << 20, max_backlog: 100, stalled_after: Duration::from_secs(120) }
}

async fn world(http: Http) -> World {
    let directory = tempfile::tempdir().unwrap();
    let log = Arc::new(EmbeddedLog::open(directory.path()).unwrap());
    let lane = Lane::of(Definition::default().source().unwrap());
    log.ensure_topics(&lane.topics.specs(&[], longshore_stages::topics::Scale::EMBEDDED)).await.unwrap();
    let draining = CancellationToken::new();
    let sight = Sight::new("embedded").unwrap();
    let service = Arc::new(Service::new((log.clone(), log.clone()), vec![lane], http, draining.clone(), sight));
    World { service, log, draining, _directory: directory }
}

fn request(content_type: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::post("/v1/events/urls").header(header::HOST, "127.0.0.1:9464");
    request.header(header::CONTENT_TYPE, content_type).body(body.into()).unwrap()
}

impl World {
    /// Asks; returns the status, the wait that was asked for, and the body.
    async fn ask(&self, request: Request<Body>) -> (u16, Option<String>, Value) {
        let response = TowerToHyperService::new(router(self.service.clone())).call(request).await.unwrap();
        let (head, body) = response.into_parts();
        let wait = head.headers.get(header::RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned());
        let body = body.collect().await.unwrap().to_bytes();
        (head.status.as_u16(), wait, serde_json::from_slice(&body).unwrap())
    }

    async fn status(&self, request: Request<Body>) -> u16 {
        self.ask(request).await.0
    }

    async fn appended(&self) -> Vec<Received> {
        let partition = Partition { topic: TOPIC.into(), index: 0 };
        self.log.read(&partition, 0, 1_000).await.unwrap()
    }
}

#[tokio::test]
async fn each_line_is_an_event_with_its_place() {
    let world = world(http()).await;
    let mut request = request("application/x-ndjson", "{\"url\":\"https://a/1\"}\n\nhttps://a/2\n");
    request.headers_mut().insert(INPUT_NAME, "list.txt".parse().unwrap());
    request.headers_mut().insert(INPUT_LINE, "7".parse().unwrap());
    assert_eq!(world.ask(request).await, (202, None, serde_json::json!({ "accepted": 2 })));
    let appended = world.appended().await;
    let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
    let events: Vec<_> =
        appended.iter().map(|r| (text(r.message.value.as_deref()), text(r.message.header(HEADER_INPUT)))).collect();
    let event = |event: &str, place: &str| (event.to_owned(), place.to_owned());
    assert_eq!(events, [event("{\"url\":\"https://a/1\"}", "http  list.txt:7"), event("https://a/2", "http  list.txt:9")]);
    assert!(appended.iter().all(|received| received.message.key.is_none()));
}

#[tokio::test]
async fn the_trace_of_a_request_goes_with_its_events() {
    let world = world(http()).await;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for (parent, carried) in [(parent, Some(parent.as_bytes())), ("none", None)] {
        let mut request = request("text/plain", "https://a/1");
        request.headers_mut().insert("Traceparent", parent.parse().unwrap());
        request.headers_mut().insert("Tracestate", "a=b".parse().unwrap());
        assert_eq!(world.status(request).await, 202);
        let appended = world.appended().await;
        let last = &appended.last().unwrap().message;
        assert_eq!((last.header("traceparent"), last.header("tracestate")), (carried, carried.map(|_| &b"a=b"[..])));
    }
}

#[tokio::test]
async fn what_is_refused_leaves_nothing_behind() {
    let world = world(http()).await;
    let get = Request::get("/v1/events/urls").header(header::HOST, "localhost").body(Body::empty()).unwrap();
    assert_eq!(world.status(get).await, 405);
    let mut elsewhere = request("text/plain", "https://a/1");
    *elsewhere.uri_mut() = "/v1/events/others".parse().unwrap();
    let (status, _, said) = world.ask(elsewhere).await;
    assert!(status == 404 && said["remedy"].as_str().unwrap().contains("urls"), "{said}");
    assert_eq!(world.status(request("application/xml", "<a/>")).await, 415);
    assert_eq!(world.status(request("application/json", "{\"url\":")).await, 400);
    let long = format!("https://a/1\n{}", "x".repeat(MAX_EVENT + 1));
    let (status, _, said) = world.ask(request("text/plain", long)).await;
    assert!(status == 413 && said["error"].as_str().unwrap().contains("line 2"), "{said}");
    let chunks = futures::stream::iter((0..65).map(|_| Ok::<_, std::io::Error>(Bytes::from_static(&[b'\n'; 1 << 16]))));
    assert_eq!(world.status(request("text/plain", Body::from_stream(chunks))).await, 413, "more than is allowed, untold");
    let mut told = request("text/plain", "");
    told.headers_mut().insert(header::CONTENT_LENGTH, "99999999999999".parse().unwrap());
    assert_eq!(world.status(told).await, 413);
    assert!(world.appended().await.is_empty());
}

#[tokio::test]
async fn nobody_without_the_token_gets_in() {
    let world = world(Http { token: Some(Secret::new("open-sesame-0123")), ..http() }).await;
    assert_eq!(world.status(request("text/plain", "https://a/1")).await, 401);
    let mut right = request("text/plain", "https://a/1");
    right.headers_mut().insert(header::AUTHORIZATION, "Bearer open-sesame-0123".parse().unwrap());
    assert_eq!(world.status(right).await, 202);
    let health = Request::get("/health/ready").body(Body::empty()).unwrap();
    assert_eq!(world.status(health).await, 200, "health needs no token");
    assert_eq!(world.appended().await.len(), 1);
}

#[tokio::test]
async fn senders_wait_while_too_many_events_do() {
    let world = world(http()).await;
    assert_eq!(world.status(request("text/plain", "https://a/1\n".repeat(101))).await, 202, "none waits: any number may come");
    let (status, wait, said) = world.ask(request("text/plain", "https://a/2")).await;
    assert_eq!((status, wait.as_deref()), (429, Some("1")), "{said}");
    assert_eq!(world.appended().await.len(), 101);
    // Once ingest has read them, there is room again.
    let mut ingest = world.service.log.subscribe("urls.ingest", &[TOPIC]).await.unwrap();
    let longshore_stages::ports::Delivery::Assigned { partition, epoch, .. } = ingest.next().await.unwrap() else { panic!() };
    ingest.next().await.unwrap();
    ingest.commit(&partition, epoch, 101).await.unwrap();
    tokio::time::sleep(Duration::from_millis(120)).await;
    assert_eq!(world.status(request("text/plain", "https://a/2")).await, 202);
}

#[tokio::test]
async fn nothing_is_taken_while_stopping() {
    let world = world(http()).await;
    world.draining.cancel();
    let (status, wait, _) = world.ask(request("text/plain", "https://a/1")).await;
    assert_eq!((status, wait.is_some()), (503, true));
    let (status, _, said) = world.ask(Request::get("/health/ready").body(Body::empty()).unwrap()).await;
    assert_eq!((status, &said["status"], &said["reasons"][0]["part"]), (503, &"not ready".into(), &"work".into()), "{said}");
    assert_eq!(world.status(Request::get("/health/live").body(Body::empty()).unwrap()).await, 200);
    assert!(world.appended().await.is_empty());
}

#[tokio::test]
async fn a_log_that_takes_nothing_is_not_acknowledged() {
    let world = world(http()).await;
    world.log.close().await.unwrap();
    let (status, wait, said) = world.ask(request("text/plain", "https://a/1")).await;
    assert_eq!((status, wait.is_some()), (503, true), "{said}");
    assert_eq!(world.service.accepted.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_end_is_given_up() {
    let admission = Admission::new(&http());
    let mut body = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    let refused = body::read(&header::HeaderMap::new(), &mut body, 1 << 20, &admission).await.err().unwrap();
    assert_eq!(refused.status, StatusCode::REQUEST_TIMEOUT);
}

#[test]
fn requests_and_bytes_under_way_are_bounded() {
    let admission = Admission::new(&http());
    let under_way: Vec<_> = std::iter::from_fn(|| admission.request().ok()).collect();
    assert_eq!(under_way.len(), 64);
    drop(under_way);
    assert!(admission.request().is_ok());
    let mut rooms: Vec<admission::Room> = Vec::new();
    let mut fill = || {
        let mut room = admission::Room::default();
        let got = admission.extend(&mut room, 1 << 20).is_ok();
        rooms.push(room);
        got
    };
    assert_eq!((0..100).filter(|_| fill()).count(), 64, "64 MiB in all");
    rooms.truncate(1);
    let mut room = admission::Room::default();
    assert!(admission.extend(&mut room, 1 << 10).is_ok() && admission.extend(&mut room, 1 << 20).is_ok());
}
