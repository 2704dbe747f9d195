use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use longshore_core::call::{Call, CallTemplate, Method, Pick};
use longshore_core::file_type::{FileTypes, OnMismatch};
use longshore_core::outcome::Class;
use longshore_core::path::PathTemplate;
use longshore_core::policy::Policy;
use longshore_core::source::{Identity, Mapping};
use longshore_core::time::Micros;

use super::*;
use crate::ports::{Body, Lookup};
use crate::shelf::Shelf;

/// When the URL of [`task`] expires.
const AT: Micros = 1_141_889_120_000_000;
const BODY: &[u8] = b"%PDF-1.7\n%\xE2\xE3\xCF\xD3\n";

/// Answers each URL with a status, and notes what it was asked.
struct Host {
    status: fn(&str) -> u16,
    asked: Mutex<Vec<String>>,
    /// The names of the headers that came with the last request.
    headers: Mutex<Vec<String>>,
}

#[async_trait]
impl Origin for Host {
    async fn open(&self, request: Request) -> Result<Opened, Failure> {
        self.asked.lock().expect("asked").push(request.url.clone());
        *self.headers.lock().expect("headers") = request.headers.iter().map(|(name, _)| name.clone()).collect();
        match (self.status)(&request.url) {
            200 => Ok(Opened {
                status: 200,
                content_type: None,
                content_length: None,
                etag: None,
                body: Box::new(OneBody(Some(BODY))),
            }),
            status => Err(Failure::new(Class::Permanent, Reason::HttpStatus, "no").with_status(status)),
        }
    }
}

struct OneBody(Option<&'static [u8]>);

#[async_trait]
impl Body for OneBody {
    async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        Ok(self.0.take().map(Bytes::from_static))
    }
}

/// An endpoint with one answer.
struct Endpoint {
    answer: Result<&'static str, Failure>,
    asked: Mutex<Vec<String>>,
}

#[async_trait]
impl Lookup for Endpoint {
    async fn ask(&self, call: Call) -> Result<Bytes, Failure> {
        self.asked.lock().expect("asked").push(call.url);
        self.answer.clone().map(|text| Bytes::from_static(text.as_bytes()))
    }
}

struct FixedClock(Micros);

impl Clock for FixedClock {
    fn now(&self) -> Micros {
        self.0
    }

    fn random(&self) -> u64 {
        0
    }
}

struct World {
    host: Arc<Host>,
    tools: Tools,
}

fn world(now: Micros, status: fn(&str) -> u16) -> World {
    let host = Arc::new(Host { status, asked: Mutex::default(), headers: Mutex::default() });
    let source = Source {
        name: "test".into(),
        mapping: Mapping::Urls,
        identity: Identity::Unsigned,
        policy: Policy { allow_hosts: Some(vec!["files.example.com".parse().expect("pattern")]), ..Policy::default() },
        file_types: FileTypes::only(["pdf"]),
        path: PathTemplate::parse("{host}/{path}").expect("path"),
        route: None,
        enrich: None,
    };
    let tools = Tools {
        origin: host.clone(),
        store: Arc::new(Shelf::default()),
        source: Arc::new(source),
        headers: Vec::new(),
        refresh: None,
        clock: Arc::new(FixedClock(now)),
        progress: Arc::default(),
    };
    World { host, tools }
}

fn refreshed(world: &mut World, answer: Result<&'static str, Failure>) -> Arc<Endpoint> {
    let endpoint = Arc::new(Endpoint { answer, asked: Mutex::default() });
    let template = CallTemplate::parse(Method::Get, "https://api.example.com/files/{claim}?old={url}", Vec::new(), None);
    let call = template.expect("template");
    world.tools.refresh = Some(Refresh::new(endpoint.clone(), call, Pick::parse("url").expect("pick")));
    endpoint
}

fn task() -> Task {
    Task {
        url: "https://files.example.com/a.pdf?AWSAccessKeyId=a&Expires=1141889120&Signature=5ec2e7".into(),
        path: "a.pdf".into(),
        columns: [("claim".into(), "C 1".to_owned())].into(),
        ..Task::default()
    }
}

async fn failure(world: &World, task: &Task) -> Failure {
    match fetch(&world.tools, task).await {
        Err(Trouble::Task(failure)) => failure,
        Err(Trouble::Elsewhere(failure)) => panic!("of another host: {failure}"),
        Err(Trouble::Store(error)) => panic!("{error}"),
        Ok(_) => panic!("arrived"),
    }
}

impl World {
    fn asked(&self) -> Vec<String> {
        self.host.asked.lock().expect("asked").clone()
    }
}

#[tokio::test]
async fn an_expired_url_is_never_asked_for() {
    let world = world(AT, |_| 200);
    let failure = failure(&world, &task()).await;
    assert_eq!((failure.class, failure.reason, failure.http_status), (Class::Permanent, Reason::Expired, None));
    assert!(world.asked().is_empty());
    let before = self::world(AT - 1, |_| 200);
    assert!(fetch(&before.tools, &task()).await.is_ok());
}

#[tokio::test]
async fn a_refusal_of_an_expired_signature_is_told_as_such() {
    // It expires while the host thinks about it.
    struct Ticking(Mutex<Micros>);
    impl Clock for Ticking {
        fn now(&self) -> Micros {
            std::mem::replace(&mut *self.0.lock().expect("clock"), AT)
        }
        fn random(&self) -> u64 {
            0
        }
    }
    for (status, reason) in [(403, Reason::Expired), (400, Reason::Expired), (404, Reason::HttpStatus)] {
        let mut world = world(
            0,
            if status == 403 {
                |_| 403
            } else if status == 400 {
                |_| 400
            } else {
                |_| 404
            },
        );
        world.tools.clock = Arc::new(Ticking(Mutex::new(AT - 1)));
        let failure = failure(&world, &task()).await;
        assert_eq!((failure.class, failure.reason, failure.http_status), (Class::Permanent, reason, Some(status)));
    }
    let still_valid = failure(&world(AT - 1, |_| 403), &task()).await;
    assert_eq!(still_valid.reason, Reason::HttpStatus);
}

#[tokio::test]
async fn a_refreshed_url_is_asked_instead_and_the_row_keeps_that_of_the_event() {
    let mut world = world(AT, |_| 200);
    let endpoint = refreshed(&mut world, Ok(r#"{"url":"https://files.example.com/new.pdf?token=5ec2e7"}"#));
    let task = task();
    let Ok(arrived) = fetch(&world.tools, &task).await else { panic!("not fetched") };
    assert_eq!((arrived.stored.url, arrived.stored.media_id), (task.url, task.media_id));
    assert_eq!(world.asked(), ["https://files.example.com/new.pdf?token=5ec2e7"]);
    let asked = endpoint.asked.lock().expect("asked").clone();
    assert!(asked[0].starts_with("https://api.example.com/files/C%201?old=https%3A%2F%2Ffiles."), "{asked:?}");
}

#[tokio::test]
async fn another_host_gets_no_headers_of_the_event_and_its_answer_is_not_the_events_hosts() {
    for (url, own) in [("https://FILES.example.com:443/b.pdf", true), ("https://cdn.example.com/b.pdf", false)] {
        for status in [200, 503] {
            let mut world = world(AT, if status == 200 { |_| 200 } else { |_| 503 });
            let allowed = ["files.example.com", "cdn.example.com"].map(|host| host.parse().expect("pattern"));
            Arc::make_mut(&mut world.tools.source).policy.allow_hosts = Some(allowed.to_vec());
            world.tools.headers = vec![("operator".into(), "x".into())];
            let answer = if own {
                r#"{"url":"https://FILES.example.com:443/b.pdf"}"#
            } else {
                r#"{"url":"https://cdn.example.com/b.pdf"}"#
            };
            refreshed(&mut world, Ok(answer));
            let task = Task { headers: vec![("event".into(), "x".into())], ..task() };
            let said = match fetch(&world.tools, &task).await {
                Ok(arrived) => Some(arrived.signal()),
                Err(Trouble::Task(failure)) => Some(Signal::of(&failure)),
                Err(_) => None,
            };
            let expected = match (own, status) {
                (true, 200) => Some(Signal::Good),
                (true, _) => Some(Signal::Dead),
                (false, 200) => Some(Signal::Silent),
                (false, _) => None,
            };
            assert_eq!(said, expected, "{url} {status}");
            let headers = world.host.headers.lock().expect("headers").clone();
            assert_eq!(headers, if own { &["operator", "event"][..] } else { &["operator"] }, "{url}");
        }
    }
}

#[tokio::test]
async fn a_body_of_another_host_that_is_not_what_was_promised_says_nothing_of_the_events_host() {
    let mut world = world(AT, |_| 200);
    Arc::make_mut(&mut world.tools.source).policy.allow_hosts = Some(vec!["*.example.com".parse().expect("pattern")]);
    refreshed(&mut world, Ok(r#"{"url":"https://cdn.example.com/b.pdf"}"#));
    let task = Task { checksum: Some(format!("sha256:{}", hex(&Sha256::digest(b"other")))), ..task() };
    assert!(matches!(fetch(&world.tools, &task).await, Err(Trouble::Elsewhere(failure)) if failure.reason == Reason::Checksum));
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_given_up_or_breaks_down_counts_as_failed_and_another_one_follows() {
    /// Fails ten times; then never answers, then breaks down, then answers.
    struct Erratic(Mutex<u32>);
    #[async_trait]
    impl Lookup for Erratic {
        async fn ask(&self, _: Call) -> Result<Bytes, Failure> {
            let times = {
                let mut times = self.0.lock().expect("times");
                *times += 1;
                *times
            };
            match times {
                1..=10 => Err(Failure::new(Class::Transient, Reason::ConnectTimeout, "no connection")),
                11 => std::future::pending().await,
                12 => panic!("as the test says"),
                _ => Ok(Bytes::from_static(br#"{"url":"https://files.example.com/b.pdf"}"#)),
            }
        }
    }
    let mut world = world(AT, |_| 200);
    let template = CallTemplate::parse(Method::Get, "https://api.example.com/{claim}", Vec::new(), None).expect("template");
    let lookup = Arc::new(Erratic(Mutex::new(0)));
    world.tools.refresh = Some(Refresh::new(lookup, template, Pick::parse("url").expect("pick")));
    for _ in 0..10 {
        assert_eq!(failure(&world, &task()).await.class, Class::Transient);
    }
    let at = |world: &mut World, seconds: i64| world.tools.clock = Arc::new(FixedClock(AT + seconds * 1_000_000));
    let waits = |failure: Failure| (failure.class, failure.retry_after.map(|wait| wait.as_secs()));
    at(&mut world, 1);
    let task = task();
    {
        let mut probe = Box::pin(fetch(&world.tools, &task));
        assert!(futures::poll!(&mut probe).is_pending());
        assert_eq!(waits(failure(&world, &task).await), (Class::Throttled, Some(1)), "while the probe is under way");
    }
    assert_eq!(waits(failure(&world, &task).await), (Class::Throttled, Some(2)), "it was given up: twice as long");
    at(&mut world, 3);
    let panicked = futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(fetch(&world.tools, &task))).await;
    assert!(panicked.is_err());
    assert_eq!(waits(failure(&world, &task).await), (Class::Throttled, Some(4)));
    at(&mut world, 7);
    assert!(fetch(&world.tools, &task).await.is_ok(), "the next probe is answered");
}

#[tokio::test]
async fn a_refresh_that_gives_no_usable_url_is_the_outcome() {
    let of = |class, status| Failure::new(class, Reason::HttpStatus, "no").with_status(status);
    for (answer, class, reason) in [
        (Err(of(Class::Permanent, 404)), Class::Permanent, Reason::Expired),
        (Err(of(Class::Permanent, 410)), Class::Permanent, Reason::Expired),
        (Err(of(Class::Transient, 503)), Class::Transient, Reason::Lookup),
        (Err(of(Class::Throttled, 429)), Class::Throttled, Reason::Lookup),
        (Ok("{}"), Class::Permanent, Reason::Expired),
        (Ok("<html>"), Class::Transient, Reason::Lookup),
        (Ok(r#"{"url":"https://elsewhere.example.com/a.pdf"}"#), Class::Rejected, Reason::Host),
        (Ok(r#"{"url":"http://files.example.com/a.pdf"}"#), Class::Rejected, Reason::Scheme),
        (Ok(r#"{"url":"https://files.example.com/a?AWSAccessKeyId=a&Expires=1&Signature=b"}"#), Class::Transient, Reason::Lookup),
    ] {
        let mut world = world(AT, |_| 200);
        let shown = format!("{answer:?}");
        refreshed(&mut world, answer);
        let failure = failure(&world, &task()).await;
        assert_eq!((failure.class, failure.reason), (class, reason), "{shown}");
        assert!(world.asked().is_empty(), "{shown}");
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_endpoint_is_down_a_task_learns_so_without_asking() {
    let down = || Err(Failure::new(Class::Transient, Reason::ConnectTimeout, "no connection"));
    let mut world = world(AT, |_| 200);
    let endpoint = refreshed(&mut world, down());
    for _ in 0..10 {
        assert_eq!(failure(&world, &task()).await.class, Class::Transient);
    }
    let told = failure(&world, &task()).await;
    assert_eq!(
        (told.class, told.reason, told.retry_after.map(|wait| wait.as_secs())),
        (Class::Throttled, Reason::Lookup, Some(1))
    );
    assert_eq!(endpoint.asked.lock().expect("asked").len(), 10);
    world.tools.clock = Arc::new(FixedClock(AT + 1_000_000));
    assert_eq!(failure(&world, &task()).await.class, Class::Transient, "the probe");
    assert_eq!(endpoint.asked.lock().expect("asked").len(), 11);
}

#[tokio::test]
async fn only_an_expired_url_is_refreshed() {
    let mut world = world(0, |_| 403);
    let endpoint = refreshed(&mut world, Ok("{}"));
    assert_eq!(failure(&world, &task()).await.reason, Reason::HttpStatus);
    assert!(endpoint.asked.lock().expect("asked").is_empty());
}

#[tokio::test]
async fn bytes_that_were_not_promised_are_not_stored() {
    let world = world(0, |_| 200);
    let kept = Task { checksum: Some(format!("sha256:{}", hex(&Sha256::digest(BODY)))), ..task() };
    assert!(fetch(&world.tools, &kept).await.is_ok());
    let broken = Task { checksum: Some(format!("sha256:{}", hex(&Sha256::digest(b"other")))), ..task() };
    let failure = failure(&world, &broken).await;
    assert_eq!((failure.class, failure.reason), (Class::Transient, Reason::Checksum));
    assert_eq!(world.asked().len(), 2);
}

#[tokio::test]
async fn a_promise_that_cannot_be_checked_is_told_before_contact() {
    let world = world(0, |_| 200);
    let failure = failure(&world, &Task { checksum: Some("md5:00".into()), ..task() }).await;
    assert_eq!((failure.class, failure.reason), (Class::Permanent, Reason::Checksum));
    assert!(world.asked().is_empty());
}

#[tokio::test]
async fn a_mismatch_that_is_a_warning_is_counted() {
    let mut world = world(0, |_| 200);
    let source = Arc::make_mut(&mut world.tools.source);
    source.file_types = FileTypes { on_mismatch: OnMismatch::Warn, ..FileTypes::only(["jpg"]) };
    let task = Task { url: "https://files.example.com/a.jpg".into(), ..task() };
    let Ok(arrived) = fetch(&world.tools, &task).await else { panic!("not stored") };
    assert_eq!(arrived.stored.file_type, "JPG");
    assert_eq!(Progress::get(&world.tools.progress.type_warnings), 1);
}

#[test]
fn hex_is_lower_case() {
    assert_eq!(hex(&[0x00, 0xaf, 0xff]), "00afff");
}

#[test]
fn the_beginning_is_bounded() {
    let mut beginning = Beginning::default();
    beginning.take(b"ab");
    beginning.take(&vec![b'c'; 2 * SNIFF_BYTES]);
    assert_eq!(beginning.0.len(), SNIFF_BYTES);
    assert!(beginning.0.starts_with(b"abc"));
}
