//! What an answer, or the lack of one, becomes; redirects; lengths.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use longshore_core::outcome::{Class, Failure, Reason};
use longshore_stages::ports::{Origin, Request};
use support::*;

/// The failure of a GET whose one answer is `steps`.
async fn failure_of(steps: Vec<Step>) -> Failure {
    let server = serve(move |_, _| steps.clone()).await;
    get(&origin(|_| {}), &server.url("/f")).await.unwrap_err()
}

fn kind(failure: &Failure) -> (Class, Reason, Option<u16>) {
    (failure.class, failure.reason, failure.http_status)
}

#[tokio::test]
async fn a_file_with_its_head() {
    let server = serve(|_, _| answer("200 OK", "Content-Type: application/pdf\r\nETag: \"v1\"\r\n", "content")).await;
    let origin = origin(|_| {});
    let mut opened = open(&origin, &server.url("/a%20b.pdf?x=1#frag")).await.unwrap();
    assert_eq!((opened.status, opened.content_length), (200, Some(7)));
    assert_eq!((opened.content_type.as_deref(), opened.etag.as_deref()), (Some("application/pdf"), Some("\"v1\"")));
    assert_eq!(opened.body.chunk().await.unwrap().unwrap(), "content");
    assert_eq!(opened.body.chunk().await.unwrap(), None);
    let request = server.seen.requests().remove(0).to_lowercase();
    assert!(request.starts_with("get /a%20b.pdf?x=1 http/1.1\r\n"), "{request}");
    for line in [format!("host: {}", server.address), "accept-encoding: identity".into(), "user-agent: longshore/".into()] {
        assert!(request.contains(&line), "{line} in {request}");
    }
}

#[tokio::test]
async fn bodies_of_every_framing_are_read_whole() {
    let large = "x".repeat(300_000);
    let chunked =
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\nTrailer: t\r\n\r\n", large.len());
    let closed = format!("HTTP/1.0 200 OK\r\n\r\n{large}");
    for steps in [ok(&large), vec![send(chunked)], vec![send(closed), Step::Close]] {
        let server = serve(move |_, _| steps.clone()).await;
        assert_eq!(get(&origin(|_| {}), &server.url("/")).await.unwrap(), large.as_bytes());
    }
    let empty = serve(|_, _| ok("")).await;
    assert_eq!(get(&origin(|_| {}), &empty.url("/")).await.unwrap(), b"", "an empty file is a file");
}

#[tokio::test]
async fn statuses_become_classes() {
    for (status, class, reason) in [
        ("500 Oops", Class::Transient, Reason::HttpStatus),
        ("503 Busy", Class::Transient, Reason::HttpStatus),
        ("408 Slow", Class::Transient, Reason::HttpStatus),
        ("501 No", Class::Permanent, Reason::HttpStatus),
        ("401 No", Class::Permanent, Reason::HttpStatus),
        ("403 No", Class::Permanent, Reason::HttpStatus),
        ("404 No", Class::Permanent, Reason::HttpStatus),
        ("410 Gone", Class::Permanent, Reason::HttpStatus),
        ("304 Same", Class::Permanent, Reason::HttpStatus),
        ("206 Part", Class::Transient, Reason::Protocol),
    ] {
        let failure = failure_of(answer(status, "", "words")).await;
        assert_eq!(kind(&failure), (class, reason, status[..3].parse().ok()), "{status}");
    }
    let throttled = failure_of(answer("429 Wait", "Retry-After: 7\r\n", "")).await;
    assert_eq!((throttled.class, throttled.retry_after), (Class::Throttled, Some(Duration::from_secs(7))));
    let throttled = failure_of(answer("503 Wait", "Retry-After: 7\r\n", "")).await;
    assert_eq!((throttled.reason, throttled.retry_after), (Reason::HostThrottled, Some(Duration::from_secs(7))));
}

#[tokio::test]
async fn an_encoding_not_asked_for_is_refused() {
    let failure = failure_of(answer("200 OK", "Content-Encoding: gzip\r\n", "zzz")).await;
    assert_eq!(kind(&failure), (Class::Permanent, Reason::Encoding, Some(200)));
}

#[tokio::test]
async fn a_body_that_ends_short_is_no_file() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n12345";
    let no_end = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n";
    for start in [head, chunked, no_end] {
        let failure = failure_of(vec![send(start), Step::Close]).await;
        assert_eq!((failure.class, failure.reason), (Class::Transient, Reason::WrongLength), "{start}: {failure}");
    }
    let reset = failure_of(vec![send(head), Step::Sleep(50), Step::Reset]).await;
    assert_eq!(reset.class, Class::Transient, "{reset}");
    assert!(matches!(reset.reason, Reason::Protocol | Reason::WrongLength), "{reset}");
}

#[tokio::test]
async fn more_than_declared_never_enters_the_next_file() {
    let server = serve(|_, n| {
        if n == 1 {
            vec![send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n12HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")]
        } else {
            ok("good")
        }
    })
    .await;
    let origin = origin(|_| {});
    assert_eq!(get(&origin, &server.url("/1")).await.unwrap(), b"12");
    assert_eq!(get(&origin, &server.url("/2")).await.unwrap(), b"good");
    assert_eq!(server.seen.connections(), 2, "such a connection is not used again");
}

#[tokio::test]
async fn what_is_not_http_is_transient() {
    for steps in [
        vec![send("SSH-2.0-OpenSSH\r\n\r\n"), Step::Close],
        vec![Step::Close],
        vec![Step::Reset],
        vec![send("HTTP/1.1 200 OK\r\nX: "), send("x".repeat(200_000)), Step::Close],
        vec![send("HTTP/1.1 101 Up\r\n\r\n"), Step::Close],
    ] {
        let failure = failure_of(steps).await;
        assert!(matches!(failure.reason, Reason::Protocol | Reason::HttpStatus), "{failure}");
        assert_ne!(failure.class, Class::Rejected, "{failure}");
    }
}

#[tokio::test]
async fn no_connection_and_no_name() {
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let origin = origin(|_| {});
    let refused = get(&origin, &format!("http://127.0.0.1:{port}/")).await.unwrap_err();
    assert_eq!((refused.class, refused.reason), (Class::Transient, Reason::Connect), "{refused}");
    let unknown = get(&origin, "http://nowhere.test/").await.unwrap_err();
    assert_eq!((unknown.class, unknown.reason), (Class::Transient, Reason::Dns), "{unknown}");
}

#[tokio::test]
async fn max_size_holds_for_what_is_declared_and_for_what_comes() {
    let origin = origin(|s| s.policy.max_size = Some(100_000));
    let declared = serve(|_, _| answer("200 OK", "", &"x".repeat(100_001))).await;
    let failure = open(&origin, &declared.url("/")).await.err().unwrap();
    assert_eq!(kind(&failure), (Class::Permanent, Reason::TooLarge, Some(200)));
    let endless = serve(|_, _| vec![send("HTTP/1.1 200 OK\r\n\r\n"), Step::Forever(10_000, 1)]).await;
    let failure = get(&origin, &endless.url("/")).await.unwrap_err();
    assert_eq!((failure.class, failure.reason), (Class::Permanent, Reason::TooLarge), "{failure}");
    let fits = serve(|_, _| ok(&"x".repeat(100_000))).await;
    assert_eq!(get(&origin, &fits.url("/")).await.unwrap().len(), 100_000);
}

#[tokio::test]
async fn redirects_are_followed_up_to_the_limit() {
    let server = serve(|head, _| {
        let left: u32 = head.split(['/', ' ']).nth(2).unwrap().parse().unwrap();
        let status = ["301 M", "302 F", "303 S", "307 T", "308 P"][left as usize % 5];
        if left == 0 { ok("there") } else { answer(status, &format!("Location: {}\r\n", left - 1), "moved") }
    })
    .await;
    let origin = origin(|_| {});
    assert_eq!(get(&origin, &server.url("/5")).await.unwrap(), b"there");
    assert_eq!(server.seen.connections(), 1, "a short body of a redirect is read, and its connection used again");
    let failure = get(&origin, &server.url("/6")).await.unwrap_err();
    assert_eq!((failure.class, failure.reason), (Class::Rejected, Reason::Redirect), "{failure}");
    assert_eq!(server.seen.requests().len(), 12);
    let nowhere = failure_of(answer("302 Found", "", "")).await;
    assert_eq!(kind(&nowhere), (Class::Permanent, Reason::HttpStatus, Some(302)));
}

#[tokio::test]
async fn credentials_stay_with_their_host() {
    let last = serve(|_, _| ok("there")).await;
    let target = last.url("/last");
    let first = serve(move |head, _| {
        let location = if head.starts_with("GET /1 ") { "/2".to_string() } else { target.clone() };
        answer("302 Found", &format!("Location: {location}\r\n"), "")
    })
    .await;
    let origin = origin(|_| {});
    let request = |url: String| Request { url, headers: vec![("Authorization".into(), "Bearer t0p".into())] };
    origin.open(request(first.url("/1"))).await.unwrap();
    let (here, there) = (first.seen.requests(), last.seen.requests());
    assert!(here.iter().all(|head| head.contains("Bearer t0p")) && here.len() == 2, "{here:?}");
    assert!(there.len() == 1 && !there[0].contains("t0p"), "{there:?}");

    let strict = support::origin(|s| s.policy.allow_cross_host_redirects = false);
    assert!(get(&strict, &first.url("/2")).await.is_ok(), "another port is the same host");
    let foreign = serve(|_, _| answer("302 Found", "Location: http://elsewhere.test/\r\n", "")).await;
    let failure = get(&strict, &foreign.url("/")).await.unwrap_err();
    assert_eq!((failure.class, failure.reason), (Class::Rejected, Reason::Redirect), "{failure}");
}

#[tokio::test]
async fn headers_that_frame_the_message_are_not_the_callers() {
    let server = serve(|_, _| ok("x")).await;
    let origin = origin(|_| {});
    for (name, value) in
        [("Host", "evil"), ("transfer-encoding", "chunked"), ("Accept-Encoding", "gzip"), ("a b", "c"), ("a", "b\r\nc: d")]
    {
        let headers = vec![(name.to_string(), value.to_string())];
        let failure = origin.open(Request { url: server.url("/"), headers }).await.err().unwrap();
        assert_eq!(failure.class, Class::Permanent, "{name}: {failure}");
    }
    assert_eq!(server.seen.connections(), 0);
}

#[tokio::test]
async fn no_message_shows_a_secret() {
    let server = serve(|_, _| answer("302 Found", "Location: http://u:5ec2e7@10.0.0.1/?sig=5ec2e7\r\n", "5ec2e7")).await;
    let gone = serve(|_, _| answer("404 Gone", "", "5ec2e7")).await;
    let closed = serve(|_, _| vec![Step::Close]).await;
    let origin = origin(|_| {});
    for server in [server, gone, closed] {
        let url = format!("http://u:5ec2e7@{}/?token=5ec2e7", server.address);
        let failure = get(&origin, &url).await.unwrap_err();
        assert!(!failure.to_string().contains("5ec2e7"), "{failure}");
        assert!(!server.seen.requests()[0].to_lowercase().contains("authorization"));
    }
}
