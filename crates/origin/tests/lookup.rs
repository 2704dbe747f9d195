//! Calls to an endpoint, as `HttpLookup` makes them.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use longshore_core::call::{Call, CallTemplate, Method};
use longshore_core::outcome::{Class, Failure, Reason};
use longshore_core::secret::Secret;
use longshore_origin::{HttpLookup, LookupSettings, Timeouts};
use longshore_stages::ports::Lookup;
use support::*;

fn template(method: Method, url: &str, body: Option<serde_json::Value>) -> CallTemplate {
    let headers = vec![("Authorization".to_owned(), Secret::new("Bearer 5ec2e7"))];
    CallTemplate::parse(method, url, headers, body.as_ref()).unwrap()
}

fn lookup(template: &CallTemplate, change: impl FnOnce(&mut LookupSettings)) -> HttpLookup {
    let second = Duration::from_secs(2);
    let mut settings = LookupSettings {
        allow_http: true,
        allow_private: vec!["127.0.0.1/32".parse().unwrap()],
        timeouts: Timeouts { connect: second, first_byte: second, idle: second, total: second },
        ..LookupSettings::default()
    };
    change(&mut settings);
    HttpLookup::new(template, settings).unwrap()
}

fn call(template: &CallTemplate) -> Call {
    template.render(&BTreeMap::from([("id".to_owned(), "a b".to_owned())])).unwrap()
}

/// The failure of a GET whose one answer is `steps`.
async fn failure_of(steps: Vec<Step>) -> Failure {
    let server = serve(move |_, _| steps.clone()).await;
    let template = template(Method::Get, &server.url("/"), None);
    lookup(&template, |_| {}).ask(call(&template)).await.unwrap_err()
}

#[tokio::test]
async fn a_get_and_a_post_with_their_headers() {
    let server = serve(|_, _| ok(r#"{"url":"x"}"#)).await;
    let get = template(Method::Get, &server.url("/items/{id}?x=1"), None);
    assert_eq!(lookup(&get, |_| {}).ask(call(&get)).await.unwrap(), r#"{"url":"x"}"#);
    let post = template(Method::Post, &server.url("/items"), Some(serde_json::json!({"id": "{id}"})));
    let asked = lookup(&post, |_| {});
    for _ in 0..2 {
        assert!(asked.ask(call(&post)).await.is_ok(), "also over the kept connection");
    }
    let requests = server.seen.requests();
    assert!(
        requests[0].starts_with("GET /items/a%20b?x=1 HTTP/1.1\r\n") && !requests[0].contains("content-length"),
        "{requests:?}"
    );
    assert!(
        requests[1].starts_with("POST /items HTTP/1.1\r\n") && requests[1].ends_with("\r\n\r\n{\"id\":\"a b\"}"),
        "{requests:?}"
    );
    for line in ["authorization: Bearer 5ec2e7\r\n", "accept: application/json\r\n"] {
        assert!(requests.iter().all(|request| request.matches(line).count() == 1), "{line} in {requests:?}");
    }
    assert_eq!((requests.len(), requests[2].contains("content-type: application/json\r\n")), (3, true));
    assert_eq!(server.seen.connections(), 2);
}

#[tokio::test]
async fn answers_have_the_classes_of_downloads() {
    for (steps, class, reason, status) in [
        (answer("404 No", "", ""), Class::Permanent, Reason::HttpStatus, Some(404)),
        (answer("410 Gone", "", ""), Class::Permanent, Reason::HttpStatus, Some(410)),
        (answer("400 Bad", "", ""), Class::Permanent, Reason::HttpStatus, Some(400)),
        (answer("500 Oops", "", ""), Class::Transient, Reason::HttpStatus, Some(500)),
        (answer("429 Slow", "Retry-After: 7\r\n", ""), Class::Throttled, Reason::HostThrottled, Some(429)),
        (answer("503 Busy", "Retry-After: 7\r\n", ""), Class::Throttled, Reason::HostThrottled, Some(503)),
        (answer("204 Nothing", "", ""), Class::Permanent, Reason::HttpStatus, Some(204)),
        (ok("<html>log in</html>"), Class::Transient, Reason::Lookup, None),
        (ok(""), Class::Transient, Reason::Lookup, None),
        (ok(&format!("[{}1]", "1,".repeat(600_000))), Class::Permanent, Reason::TooLarge, Some(200)),
        (vec![Step::Close], Class::Transient, Reason::Protocol, None),
        (answer("302 Found", "Location: /elsewhere\r\n", ""), Class::Permanent, Reason::Redirect, Some(302)),
    ] {
        let failure = failure_of(steps).await;
        assert_eq!((failure.class, failure.reason, failure.http_status), (class, reason, status), "{failure}");
        assert!(class != Class::Throttled || failure.retry_after == Some(Duration::from_secs(7)));
    }
}

#[tokio::test]
async fn nobody_else_is_asked() {
    let server = serve(|_, _| ok("{}")).await;
    let own = template(Method::Get, "https://api.example.com/", None);
    let asked = lookup(&own, |settings| {
        settings.resolver = Arc::new(Names::default().with("api.example.com", &[&["127.0.0.1"]]));
    });
    for url in [
        server.url("/"),
        "https://other.example.com/".into(),
        "http://api.example.com/".into(),
        "https://api.example.com:1/".into(),
    ] {
        let failure = asked.ask(Call { url, ..call(&own) }).await.unwrap_err();
        assert_eq!(failure.class, Class::Rejected, "{failure}");
    }
    let here = template(Method::Get, &server.url("/"), None);
    let public_only = lookup(&here, |settings| settings.allow_private.clear());
    assert_eq!(public_only.ask(call(&here)).await.unwrap_err().reason, Reason::ForbiddenAddress);
    let https_only = lookup(&here, |settings| settings.allow_http = false);
    assert_eq!(https_only.ask(call(&here)).await.unwrap_err().reason, Reason::Scheme);
    assert_eq!(server.seen.connections(), 0);
}

#[tokio::test]
async fn no_more_calls_at_once_than_allowed() {
    let server = serve(|_, _| [vec![Step::Sleep(30)], ok("{}")].concat()).await;
    let template = template(Method::Get, &server.url("/"), None);
    let asked = Arc::new(lookup(&template, |settings| settings.max_in_flight = 2));
    let calls: Vec<_> = (0..6)
        .map(|_| {
            tokio::spawn({
                let (asked, call) = (asked.clone(), call(&template));
                async move { asked.ask(call).await }
            })
        })
        .collect();
    for call in calls {
        assert!(call.await.unwrap().is_ok());
    }
    assert_eq!(server.seen.most.load(std::sync::atomic::Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_endpoint_that_never_answers_is_a_timeout() {
    let server = serve(|_, _| vec![Step::Sleep(60_000)]).await;
    let template = template(Method::Get, &server.url("/"), None);
    let asked = lookup(&template, |settings| settings.timeouts.first_byte = Duration::from_millis(50));
    assert_eq!(asked.ask(call(&template)).await.unwrap_err().reason, Reason::FirstByteTimeout);
}
