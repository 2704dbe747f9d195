//! The origin over real connections: its bytes, its clock, its counters, and its end.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use longshore_bench::content;
use longshore_bench::origin::{self, Origin, OriginPlan, Stats};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;

const ROLE: &str = "LONGSHORE_BENCH_TEST_ROLE";
const PATIENCE: Duration = Duration::from_secs(20);

struct Client(SendRequest<Empty<Bytes>>);

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        let (sender, connection) = handshake(TokioIo::new(TcpStream::connect(address).await.unwrap())).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        Client(sender)
    }

    async fn ask(&mut self, method: Method, path: &str) -> (StatusCode, String, Bytes) {
        let request = Request::builder().method(method).uri(path).header("host", "origin").body(Empty::new()).unwrap();
        self.0.ready().await.unwrap();
        let (head, body) = self.0.send_request(request).await.unwrap().into_parts();
        let media_type = head.headers.get("content-type").map(|value| value.to_str().unwrap().to_owned());
        (head.status, media_type.unwrap_or_default(), body.collect().await.unwrap().to_bytes())
    }

    async fn get(&mut self, path: &str) -> (StatusCode, String, Bytes) {
        self.ask(Method::GET, path).await
    }

    async fn stats(&mut self) -> Stats {
        serde_json::from_slice(&self.get("/-/stats").await.2).unwrap()
    }
}

async fn origin() -> (Origin, Client) {
    let origin = Origin::start(&OriginPlan::default()).await.unwrap();
    let client = Client::connect(origin.address()).await;
    (origin, client)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_has_the_bytes_that_its_path_says() {
    let (_origin, mut client) = origin().await;
    for size in [0, 1, 27, 10_240, (3 << 20) + 1] {
        for number in [0, 1] {
            let path = origin::path(size, 0, "run", number);
            let (status, media_type, body) = client.get(&path).await;
            assert_eq!((status, media_type.as_str(), body.len() as u64), (StatusCode::OK, content::MEDIA_TYPE, size), "{path}");
            assert_eq!(hex(&Sha256::digest(&body)), content::sha256(&path, size), "{path}");
        }
    }
    assert_eq!(client.stats().await, Stats { served: 10, at_once: 0, at_once_max: 1 }, "one connection served them all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_is_not_found() {
    let (_origin, mut client) = origin().await;
    for path in [&origin::missing_path("run", 3), "/", "/10/20", "/10/20/", "/ten/20/a", "/10/-1/a", "/-/", "/-/reset"] {
        assert_eq!(client.get(path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(client.ask(Method::POST, "/10/0/a").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_wait_side_by_side_and_are_counted_while_they_do() {
    let (origin, mut client) = origin().await;
    let begun = Instant::now();
    let asking = (0..40).map(|number| {
        let address = origin.address();
        tokio::spawn(async move { Client::connect(address).await.get(&origin::path(100, 400, "run", number)).await.0 })
    });
    for asked in asking.collect::<Vec<_>>() {
        assert_eq!(asked.await.unwrap(), StatusCode::OK);
    }
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(400) && took < Duration::from_secs(8), "40 answers of 0.4 s took {took:?}");
    assert_eq!(client.stats().await, Stats { served: 40, at_once: 0, at_once_max: 40 });
    assert_eq!(client.ask(Method::POST, "/-/reset").await.0, StatusCode::NO_CONTENT);
    assert_eq!(origin.stats(), Stats::default());
    client.get("/1/0/a").await;
    assert_eq!(origin.stats(), Stats { served: 1, at_once: 0, at_once_max: 1 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_is_dropped_takes_its_connections_along() {
    let (origin, mut client) = origin().await;
    let address = origin.address();
    let asking = tokio::spawn(async move { client.0.send_request(Request::new(Empty::new())).await.map(drop) });
    asking.await.unwrap().unwrap();
    let mut idle = TcpStream::connect(address).await.unwrap();
    drop(origin);
    let ended = tokio::time::timeout(PATIENCE, tokio::io::AsyncReadExt::read_u8(&mut idle)).await;
    assert!(ended.expect("the connection stays open").is_err());
    assert!(TcpStream::connect(address).await.is_err(), "it still listens");
}

/// Not a test: what a child does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by another test, in a process of its own"]
async fn a_child_of_another_test() {
    assert_eq!(std::env::var(ROLE).as_deref(), Ok("serve"));
    println!();
    origin::serve(OriginPlan::default()).await.unwrap();
}

/// Ends with the test, whatever becomes of it.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_serves_until_its_input_is_closed() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_child_of_another_test", "--ignored", "--nocapture", "--quiet"])
        .env(ROLE, "serve")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut child = Ended(child);
    let port: u16 = loop {
        let mut line = String::new();
        assert!(out.read_line(&mut line).unwrap() > 0, "it ended without saying where it listens");
        if let Some(port) = line.strip_prefix("ready ") {
            break port.trim().parse().unwrap();
        }
    };
    let mut client = Client::connect(([127, 0, 0, 1], port).into()).await;
    assert_eq!(client.get("/5/0/a").await.2.len(), 5);
    assert!(child.0.try_wait().unwrap().is_none(), "it ended by itself");
    drop(child.0.stdin.take());
    let begun = Instant::now();
    let status = loop {
        match child.0.try_wait().unwrap() {
            Some(status) => break status,
            None if begun.elapsed() > PATIENCE => panic!("it goes on without its parent"),
            None => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert!(status.success(), "{rest}");
}
