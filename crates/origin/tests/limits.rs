//! Clocks, the cap per host, and connections that are used again.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use longshore_core::outcome::{Class, Failure, Reason};
use longshore_origin::{MinThroughput, Settings};
use support::*;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The failure of a GET answered with `steps`; it must come soon.
async fn stopped(steps: Vec<Step>, change: impl FnOnce(&mut Settings)) -> Failure {
    let server = serve(move |_, _| steps.clone()).await;
    let started = Instant::now();
    let failure = get(&origin(change), &server.url("/")).await.unwrap_err();
    assert!(started.elapsed() < ms(1500), "{failure} after {:?}", started.elapsed());
    assert_eq!(failure.class, Class::Transient, "{failure}");
    failure
}

const ENDLESS: &str = "HTTP/1.1 200 OK\r\n\r\n";

#[tokio::test]
async fn first_byte() {
    let failure = stopped(vec![Step::Sleep(3000)], |s| s.timeouts.first_byte = ms(100)).await;
    assert_eq!(failure.reason, Reason::FirstByteTimeout, "{failure}");
    let half = vec![send("HTTP/1.1 200 OK\r\nContent-"), Step::Sleep(3000)];
    assert_eq!(stopped(half, |s| s.timeouts.first_byte = ms(100)).await.reason, Reason::FirstByteTimeout);
}

#[tokio::test]
async fn idle() {
    let failure = stopped(vec![send(ENDLESS), send("some"), Step::Sleep(3000)], |s| s.timeouts.idle = ms(100)).await;
    assert_eq!(failure.reason, Reason::IdleTimeout, "{failure}");
}

#[tokio::test]
async fn bytes_restart_the_idle_clock() {
    let mut steps = vec![send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")];
    steps.extend((0..6).flat_map(|_| [Step::Sleep(60), send("x")]));
    let server = serve(move |_, _| steps.clone()).await;
    assert_eq!(get(&origin(|s| s.timeouts.idle = ms(250)), &server.url("/")).await.unwrap(), b"xxxxxx");
}

#[tokio::test]
async fn total_ends_a_body_without_end() {
    for (bytes, pause) in [(1, 10), (100_000, 0)] {
        let failure = stopped(vec![send(ENDLESS), Step::Forever(bytes, pause)], |s| s.timeouts.total = ms(300)).await;
        assert_eq!(failure.reason, Reason::TotalTimeout, "{bytes}: {failure}");
    }
    let silent = stopped(vec![Step::Sleep(3000)], |s| s.timeouts.total = ms(100)).await;
    assert_eq!(silent.reason, Reason::TotalTimeout, "{silent}");
}

#[tokio::test]
async fn too_slow_a_body() {
    let rate = Some(MinThroughput { bytes_per_second: 10_000, window: ms(200) });
    let failure = stopped(vec![send(ENDLESS), Step::Forever(10, 10)], |s| s.min_throughput = rate).await;
    assert_eq!(failure.reason, Reason::TooSlow, "{failure}");
    let young = serve(|_, _| vec![send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"), Step::Sleep(100), send("x")]).await;
    assert_eq!(get(&origin(|s| s.min_throughput = rate), &young.url("/")).await.unwrap(), b"x", "younger than a window");
    let fast = serve(|_, _| ok(&"x".repeat(1_000_000))).await;
    assert_eq!(get(&origin(|s| s.min_throughput = rate), &fast.url("/")).await.unwrap().len(), 1_000_000);
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_a_connect_timeout() {
    let silent = serve(|_, _| vec![]).await;
    let origin = origin(|s| s.timeouts.connect = ms(150));
    let url = silent.url("/").replace("http:", "https:");
    let failure = get(&origin, &url).await.unwrap_err();
    assert_eq!((failure.class, failure.reason), (Class::Transient, Reason::ConnectTimeout), "{failure}");
}

#[tokio::test]
async fn no_clock_runs_while_the_reader_stays_away() {
    let server = serve(|_, _| ok(&"x".repeat(4_000_000))).await;
    let origin = origin(|s| {
        s.timeouts.idle = ms(100);
        s.timeouts.total = ms(700);
        s.min_throughput = Some(MinThroughput { bytes_per_second: 1_000_000, window: ms(100) });
    });
    let mut opened = open(&origin, &server.url("/")).await.unwrap();
    let mut read = 0;
    for pause in [400, 400, 400] {
        tokio::time::sleep(ms(pause)).await;
        read += opened.body.chunk().await.unwrap().unwrap().len();
    }
    while let Some(piece) = opened.body.chunk().await.unwrap() {
        read += piece.len();
    }
    assert_eq!(read, 4_000_000);
}

#[tokio::test]
async fn a_cancelled_wait_counts_and_loses_nothing() {
    let server =
        serve(|_, _| vec![send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"), Step::Sleep(120), send("x"), Step::Sleep(3000)])
            .await;
    let origin = origin(|s| s.timeouts.idle = ms(400));
    let mut opened = open(&origin, &server.url("/")).await.unwrap();
    let (mut got, started) = (0, Instant::now());
    let failure = loop {
        match tokio::time::timeout(ms(20), opened.body.chunk()).await {
            Err(_) => assert!(started.elapsed() < ms(2000), "cancelling must not restart the clock"),
            Ok(Ok(piece)) => got += piece.unwrap().len(),
            Ok(Err(failure)) => break failure,
        }
    };
    assert_eq!((got, failure.reason), (1, Reason::IdleTimeout));
    assert_eq!(opened.body.chunk().await.unwrap_err(), failure, "a failure stays");
}

#[tokio::test]
async fn connections_are_used_again() {
    let server = serve(|_, n| if n % 10 == 0 { answer("404 No", "", "short") } else { ok(&"x".repeat(10_000)) }).await;
    let origin = origin(|_| {});
    for n in 1..=100 {
        assert_eq!(get(&origin, &server.url(&format!("/{n}"))).await.is_err(), n % 10 == 0);
    }
    assert_eq!(server.seen.connections(), 1);
}

#[tokio::test]
async fn a_body_not_read_to_its_end_closes_its_connection() {
    let server = serve(|_, _| ok(&"x".repeat(3_000_000))).await;
    let origin = origin(|_| {});
    drop(open(&origin, &server.url("/")).await.unwrap());
    assert_eq!(get(&origin, &server.url("/")).await.unwrap().len(), 3_000_000);
    assert_eq!(server.seen.connections(), 2);
}

#[tokio::test]
async fn a_kept_connection_that_the_host_closes_costs_nothing() {
    // Every second request meets a connection that is closed in the moment the request arrives.
    let server = serve(|_, n| if n % 2 == 0 { vec![Step::Close] } else { ok("x") }).await;
    let origin = origin(|_| {});
    for _ in 0..5 {
        assert_eq!(get(&origin, &server.url("/")).await.unwrap(), b"x");
    }
    assert_eq!(server.seen.requests().len(), 9);
    // On a new connection there is no such excuse, and the request is not repeated.
    let broken = serve(|_, _| vec![Step::Close]).await;
    assert_eq!(get(&origin, &broken.url("/")).await.unwrap_err().reason, Reason::Protocol);
    assert_eq!(broken.seen.requests().len(), 1);
}

#[tokio::test]
async fn idle_connections_are_closed_after_a_while() {
    let server = serve(|_, _| ok("x")).await;
    let origin = origin(|s| s.idle_connection = ms(150));
    get(&origin, &server.url("/")).await.unwrap();
    tokio::time::sleep(ms(400)).await;
    get(&origin, &server.url("/")).await.unwrap();
    assert_eq!(server.seen.connections(), 2);
}

#[tokio::test]
async fn a_host_serves_no_more_at_once_than_its_cap() {
    let server = serve(|_, _| vec![send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"), Step::Sleep(20), send("x")]).await;
    let other = serve(|_, _| ok("x")).await;
    let origin = Arc::new(origin(|s| s.per_host = 3));
    let all: Vec<_> = (0..30)
        .map(|n| {
            let (origin, url) = (Arc::clone(&origin), server.url(&format!("/{n}")));
            tokio::spawn(async move { get(&origin, &url).await.unwrap() })
        })
        .collect();
    tokio::time::sleep(ms(5)).await;
    assert_eq!(
        tokio::time::timeout(ms(100), get(&origin, &other.url("/"))).await.unwrap().unwrap(),
        b"x",
        "another host does not wait"
    );
    for one in all {
        one.await.unwrap();
    }
    assert_eq!(server.seen.most.load(Ordering::SeqCst), 3);
    assert!(server.seen.connections() <= 3);
}

#[tokio::test]
async fn the_cap_lasts_to_the_end_of_the_body_and_a_failure_ends_it() {
    let server = serve(|head, _| if head.contains("/no") { answer("500 No", "", "") } else { ok(&"x".repeat(2_000_000)) }).await;
    let origin = origin(|s| s.per_host = 1);
    let open_body = open(&origin, &server.url("/")).await.unwrap();
    assert!(tokio::time::timeout(ms(100), open(&origin, &server.url("/"))).await.is_err(), "the slot is taken");
    drop(open_body);
    for _ in 0..3 {
        assert!(get(&origin, &server.url("/no")).await.is_err());
    }
    assert_eq!(get(&origin, &server.url("/")).await.unwrap().len(), 2_000_000);
}

#[tokio::test]
async fn hosts_that_redirect_to_each_other_do_not_block_each_other() {
    let server = serve(|head, _| match head.split(' ').nth(1) {
        Some("/end") => ok("end"),
        Some("/again") => answer("302 Found", "Location: /end\r\n", ""),
        _ => answer("302 Found", "Location: /again\r\n", ""),
    })
    .await;
    let origin = Arc::new(origin(|s| s.per_host = 1));
    let all: Vec<_> = (0..10)
        .map(|_| {
            let (origin, url) = (Arc::clone(&origin), server.url("/"));
            tokio::spawn(async move { get(&origin, &url).await.unwrap() })
        })
        .collect();
    for one in all {
        assert_eq!(one.await.unwrap(), b"end");
    }
}
