//! The generator against a service that takes events over HTTP, with all that such a service may answer.
#![allow(clippy::unwrap_used)]

mod world;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use longshore_bench::Error;
use longshore_bench::generator::{GeneratorPlan, Kind, Load, Stall, Target, Told, run};
use longshore_bench::model;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use world::plan;

/// What the service does with its n-th request, from 0.
type Script = fn(usize) -> Answer;

#[derive(Clone, Copy)]
enum Answer {
    Take,
    /// This status; with 429 and 503, again at once.
    Refuse(u16),
    /// Takes the events, and the connection ends without an answer.
    TakeAndHangUp,
}

/// A service that takes notes.
#[derive(Default)]
struct Notes {
    requests: usize,
    /// The numbers of the events of each body that was taken.
    taken: Vec<Vec<u64>>,
    heads: HashSet<String>,
}

struct Service {
    address: SocketAddr,
    notes: Arc<Mutex<Notes>>,
    _serving: JoinSet<()>,
}

impl Service {
    async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, notes, mut serving) = (listener.local_addr().unwrap(), Arc::<Mutex<Notes>>::default(), JoinSet::new());
        let own = notes.clone();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(converse(stream, own.clone(), script));
            }
        });
        Service { address, notes, _serving: serving }
    }

    fn plan(&self, count: u64) -> GeneratorPlan {
        let to = Target::Http { url: format!("http://{}", self.address), token: Some("open-sesame".into()) };
        GeneratorPlan { to, ..plan(Kind::Events, count) }
    }

    fn taken(&self) -> Vec<u64> {
        self.notes.lock().unwrap().taken.concat()
    }

    fn sorted(&self) -> Vec<u64> {
        let mut taken = self.taken();
        taken.sort_unstable();
        taken
    }
}

async fn converse(stream: TcpStream, notes: Arc<Mutex<Notes>>, script: Script) {
    let taking = service_fn(move |request: Request<Incoming>| take(request, notes.clone(), script));
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), taking).await;
}

async fn take(
    request: Request<Incoming>,
    notes: Arc<Mutex<Notes>>,
    script: Script,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let header = |name: &str| request.headers().get(name).map_or("", |value| value.to_str().unwrap());
    let head = format!("{} {} {} {}", request.method(), request.uri(), header("content-type"), header("authorization"));
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let mut notes = notes.lock().unwrap();
    notes.heads.insert(head);
    let answer = script(notes.requests);
    notes.requests += 1;
    if !matches!(answer, Answer::Refuse(_)) {
        notes.taken.push(numbers(&body));
    }
    match answer {
        Answer::Take => Ok(status(202)),
        Answer::Refuse(code) => Ok(status(code)),
        Answer::TakeAndHangUp => Err(std::io::Error::other("hung up")),
    }
}

fn status(code: u16) -> Response<Full<Bytes>> {
    let body = Full::from(r#"{"error":"no","remedy":"none"}"#);
    Response::builder().status(code).header("retry-after", "0").body(body).unwrap()
}

fn numbers(body: &[u8]) -> Vec<u64> {
    let load = Load::new(&plan(Kind::Events, 100_000)).unwrap();
    let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let number = |line: &[u8]| {
        let event: serde_json::Value = serde_json::from_slice(line).unwrap();
        load.number(event["traceId"].as_str().unwrap()).unwrap()
    };
    lines.map(number).collect()
}

async fn generate(plan: GeneratorPlan) -> Result<model::Generator, Error> {
    let mut last = None;
    let running = run(plan, CancellationToken::new(), |told| {
        last = Some(told.clone());
        Ok(())
    });
    tokio::time::timeout(Duration::from_secs(60), running).await.expect("the generator does not end")?;
    match last {
        Some(Told::Done { done, stopped: false, .. }) => Ok(done),
        other => panic!("ended with {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_come_in_batches_as_fast_as_they_are_taken() {
    let service = Service::start(|_| Answer::Take).await;
    let done = generate(service.plan(2_750)).await.unwrap();
    assert_eq!((done.sent, done.late_max_s), (2_750, None));
    assert_eq!(service.sorted(), (0..2_750).collect::<Vec<_>>());
    let notes = service.notes.lock().unwrap();
    assert_eq!(notes.requests, 6, "500 in each");
    let head = "POST /v1/events/xact application/x-ndjson Bearer open-sesame".to_owned();
    assert_eq!(notes.heads, HashSet::from([head]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_is_kept_and_a_stall_told() {
    let service = Service::start(|_| Answer::Take).await;
    let paced = GeneratorPlan { rate_per_s: Some(500.0), ..service.plan(600) };
    let begun = Instant::now();
    let done = generate(paced.clone()).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(1_650), "600 at 500/s after 0.5 s took {:?}", begun.elapsed());
    assert!(done.late_p99_s.unwrap() < 0.5 && (400.0..=510.0).contains(&done.rate_per_s), "{done:?}");
    assert_eq!(service.sorted(), (0..600).collect::<Vec<_>>());

    let stalled = GeneratorPlan { stall: Some(Stall { at: 300, for_ms: 700 }), ..paced };
    let done = generate(stalled).await.unwrap();
    assert!(done.sent == 600 && (0.65..2.0).contains(&done.late_max_s.unwrap()), "{done:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_schedule_sends_nothing_early() {
    let service = Service::start(|_| Answer::Take).await;
    let begun = Instant::now();
    let done = generate(GeneratorPlan { rate_per_s: Some(50.0), ..service.plan(50) }).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(1_450), "50 at 50/s after 0.5 s took {:?}", begun.elapsed());
    assert!(done.sent == 50 && done.rate_per_s < 52.0, "{done:?}");
    assert!(service.notes.lock().unwrap().requests > 25, "an event does not wait for the next");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_without_room_is_asked_again_and_counts_once() {
    let service = Service::start(|nth| match nth % 3 {
        0 => Answer::Refuse(429),
        1 => Answer::Refuse(503),
        _ => Answer::Take,
    });
    let service = service.await;
    assert_eq!(generate(service.plan(1_000)).await.unwrap().sent, 1_000);
    assert_eq!(service.sorted(), (0..1_000).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_costs_a_repeat_and_no_event() {
    let service = Service::start(|nth| if nth == 0 { Answer::TakeAndHangUp } else { Answer::Take }).await;
    assert_eq!(generate(service.plan(500)).await.unwrap().sent, 500);
    assert_eq!(service.sorted(), (0..500).flat_map(|number| [number, number]).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_for_good_ends_the_generator() {
    let service = Service::start(|_| Answer::Refuse(404)).await;
    let error = generate(service.plan(5_000)).await.expect_err("404 is for good").to_string();
    assert!(error.contains("404") && error.contains("remedy"), "{error}");
    let tasks = GeneratorPlan { kind: Kind::Tasks, ..service.plan(5) };
    assert!(generate(tasks).await.expect_err("no tasks over HTTP").to_string().contains("events"));
    let nobody = GeneratorPlan { to: Target::Http { url: "http://127.0.0.1:1".into(), token: None }, ..service.plan(5) };
    assert!(generate(nobody).await.expect_err("nobody is there").to_string().contains("127.0.0.1:1"));
    assert_eq!(service.taken(), Vec::<u64>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_may_be_lost_on_purpose() {
    let service = Service::start(|_| Answer::Take).await;
    let plan = GeneratorPlan { lose: Some(7), ..service.plan(20) };
    assert_eq!(generate(plan).await.unwrap().sent, 20);
    assert_eq!(service.sorted(), (0..20).filter(|number| *number != 7).collect::<Vec<_>>());
}
