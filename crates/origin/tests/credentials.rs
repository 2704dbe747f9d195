//! Headers for certain hosts: who sees them, and who does not.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use longshore_core::policy::HostPattern;
use longshore_core::secret::Secret;
use longshore_origin::{HttpOrigin, Settings};
use longshore_stages::ports::{Origin, Request};
use support::*;

fn for_host(pattern: &str, headers: &[(&str, &str)]) -> (HostPattern, Vec<(String, Secret)>) {
    let headers = headers.iter().map(|(name, value)| (name.to_string(), Secret::new(*value))).collect();
    (pattern.parse().unwrap(), headers)
}

fn credentials() -> Vec<(HostPattern, Vec<(String, Secret)>)> {
    vec![
        for_host("a.example", &[("Authorization", "Bearer of-a"), ("X-Key", "k-a")]),
        for_host("*.example", &[("Authorization", "Bearer of-all")]),
    ]
}

fn with_names(settings: &mut Settings) {
    let names = Names::default().with("a.example", &[&["127.0.0.1"]]).with("b.example", &[&["127.0.0.1"]]);
    settings.resolver = Arc::new(names.with("other.test", &[&["127.0.0.1"]]));
    settings.credentials = credentials();
}

fn authorization(request: &str) -> Vec<String> {
    let lines = request.lines().filter_map(|line| line.strip_prefix("authorization: "));
    lines.map(str::to_owned).collect()
}

#[tokio::test]
async fn each_host_gets_its_own_and_a_redirect_takes_none_along() {
    let server = serve(|head, number| {
        let port = head.lines().find_map(|line| line.strip_prefix("host: ")?.split_once(':')).unwrap().1;
        match number {
            1 => answer("302 Found", &format!("Location: http://b.example:{port}/\r\n"), ""),
            2 => answer("302 Found", &format!("Location: http://other.test:{port}/\r\n"), ""),
            _ => ok("content"),
        }
    })
    .await;
    let origin = origin(with_names);
    let url = format!("http://a.example:{}/f", server.address.port());
    let request = Request { url, headers: vec![("Authorization".into(), "Bearer of-the-event".into())] };
    origin.open(request).await.unwrap();
    let seen: Vec<_> = server.seen.requests().iter().map(|request| authorization(request)).collect();
    assert_eq!(seen, [vec!["Bearer of-a"], vec!["Bearer of-all"], vec![]]);
    let keys = server.seen.requests().iter().filter(|request| request.contains("k-a")).count();
    assert_eq!(keys, 1);
}

#[tokio::test]
async fn a_header_of_the_caller_takes_the_place_of_ours() {
    let server = serve(|_, _| ok("content")).await;
    let headers = vec![("Accept".into(), "application/pdf".into()), ("User-Agent".into(), "mine".into())];
    origin(|_| {}).open(Request { url: server.url("/"), headers }).await.unwrap();
    let request = server.seen.requests().remove(0);
    assert_eq!(request.matches("accept: ").count(), 1, "{request}");
    assert!(request.contains("accept: application/pdf") && request.contains("user-agent: mine"), "{request}");
}

#[tokio::test]
async fn a_header_that_cannot_be_sent_is_told_at_once_and_not_shown() {
    for (name, value) in [("bad name", "5ec2e7"), ("X-Key", "5ec\n2e7"), ("Host", "5ec2e7"), ("Content-Length", "5")] {
        let settings = Settings { credentials: vec![for_host("a.example", &[(name, value)])], ..settings(&[]) };
        let error = HttpOrigin::new(settings).err().unwrap().to_string();
        assert!(error.contains(name) && error.contains("a.example") && !error.contains("5ec"), "{error}");
    }
}
