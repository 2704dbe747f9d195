//! Promise 6: no connection is ever opened to an address that the policy forbids. Listeners on this machine's own
//! addresses count every connection; they must count none.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use longshore_core::outcome::{Class, Reason};
use longshore_origin::HttpOrigin;
use support::*;

/// Hosts that lead, or seem to lead, to 127.0.0.1 or ::1. `PORT` is the canary's.
const SPELLINGS: &[&str] = &[
    "http://127.0.0.1:PORT/",
    "http://127.1:PORT/",
    "http://127.0.1:PORT/",
    "http://0x7f.1:PORT/",
    "http://0X7F.0.0.1:PORT/",
    "http://0x7f000001:PORT/",
    "http://2130706433:PORT/",
    "http://0177.0.0.1:PORT/",
    "http://0177.0.0.0x1:PORT/",
    "http://017700000001:PORT/",
    "http://127.0.0.1.:PORT/",
    "http://0:PORT/",
    "http://0.0.0.0:PORT/",
    "http://0x0:PORT/",
    "http://[::]:PORT/",
    "http://[::1]:PORT/",
    "http://[0000:0000::0001]:PORT/",
    "http://[0:0:0:0:0:0:0:1]:PORT/",
    "http://[::ffff:127.0.0.1]:PORT/",
    "http://[::FFFF:7F00:1]:PORT/",
    "http://[::ffff:0.0.0.0]:PORT/",
    "http://[::127.0.0.1]:PORT/",
    "http://[::ffff:0:127.0.0.1]:PORT/",
    "http://[64:ff9b::7f00:1]:PORT/",
    "http://[64:ff9b:1::7f00:1]:PORT/",
    "http://[2002:7f00:1::]:PORT/",
    "http://localhost:PORT/",
    "http://LOCALHOST:PORT/",
    "http://LocalHost.:PORT/",
    "http://foo.localhost:PORT/",
    "http://foo.localhost.:PORT/",
    "http://ｌｏｃａｌｈｏｓｔ:PORT/",
    "http://%6c%6fcalhost:PORT/",
    "http://loc\u{ad}alhost:PORT/",
    "http://１２７.０.０.１:PORT/",
    "http://①②⑦.⓪.⓪.①:PORT/",
    "http://127。0。0。1:PORT/",
    "http://127．0．0．1:PORT/",
    "http://%31%32%37.%30.0.1:PORT/",
    "http://127%2e0%2e0%2e1:PORT/",
    "http://example.com@127.0.0.1:PORT/",
    "http://example.com:80@127.0.0.1:PORT/",
    "http://user:pass@[::1]:PORT/",
    "http://example.com%40evil@127.0.0.1:PORT/",
    "http://127.0.0.1:PORT@localhost:PORT/",
    "http://127.0.0.1:PORT\\@example.com/",
    "http://127.0.0.1:PORT#@example.com/",
    "http://127.0.0.1:PORT?@example.com/",
    "http:\\\\127.0.0.1:PORT\\",
    "http:127.0.0.1:PORT",
    "http:/127.0.0.1:PORT/",
    "http:////127.0.0.1:PORT/",
    "HTTP://127.0.0.1:PORT/",
    "  http://127.0.0.1:PORT/  ",
    "http://127.0\t.0.1:PORT/",
    "http://127.0.0.1\n:PORT/",
    "ht\ntp://127.0.0.1:PORT/",
    "http://127.0.0.1\u{0}:PORT/",
    "http://127.0.0.1 :PORT/",
    "http://127.0.0.1:PORT:80/",
    "http://127.0.0.1:0PORT/",
    "ftp://127.0.0.1:PORT/",
    "gopher://127.0.0.1:PORT/_GET",
    "//127.0.0.1:PORT/",
    "127.0.0.1:PORT",
];

/// Names whose answers are forbidden in part or whole.
fn names() -> Names {
    let mut names = Names::default();
    for address in ["127.0.0.1", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "10.0.0.1", "169.254.169.254"] {
        names = names.with(&format!("name{}.test", address.replace([':', '.'], "-")), &[&[address]]);
    }
    names.with("both.test", &[&["127.0.0.1", "::1"]])
}

/// One port on 127.0.0.1 and on ::1.
async fn canary() -> (Server, Server) {
    loop {
        let v4 = serve(|_, _| ok("caught")).await;
        let port = v4.address.port();
        if tokio::net::TcpListener::bind(("::1", port)).await.is_ok() {
            return (v4, serve_at(&format!("[::1]:{port}"), None, |_, _| ok("caught")).await);
        }
    }
}

fn urls(port: u16) -> Vec<String> {
    let names = ["127-0-0-1", "--1", "0-0-0-0", "--", "--ffff-127-0-0-1", "64-ff9b--7f00-1", "10-0-0-1", "169-254-169-254"];
    let names = names.iter().map(|name| format!("http://name{name}.test:PORT/"));
    let all = SPELLINGS.iter().map(ToString::to_string).chain(names).chain(["http://both.test:PORT/".to_string()]);
    all.map(|url| url.replace("PORT", &port.to_string())).collect()
}

fn guarded(allow: &[&str]) -> HttpOrigin {
    let mut settings = settings(allow);
    settings.resolver = Arc::new(names());
    HttpOrigin::new(settings).unwrap()
}

#[tokio::test]
async fn no_spelling_of_this_machine_is_dialled() {
    let (v4, v6) = canary().await;
    let origin = guarded(&[]);
    for url in urls(v4.address.port()) {
        let failure = open(&origin, &url).await.err().unwrap_or_else(|| panic!("{url:?} was opened"));
        assert_eq!(failure.class, Class::Rejected, "{url:?}: {failure}");
        assert_eq!((v4.seen.connections(), v6.seen.connections()), (0, 0), "{url:?} reached the canary");
    }
}

#[tokio::test]
async fn the_canary_is_reached_where_allowed() {
    let (v4, v6) = canary().await;
    let port = v4.address.port();
    let origin = guarded(&["127.0.0.0/8", "::1/128"]);
    for host in ["127.0.0.1", "127.1", "2130706433", "[::ffff:127.0.0.1]", "name127-0-0-1.test", "both.test"] {
        assert_eq!(get(&origin, &format!("http://{host}:{port}/")).await.unwrap(), b"caught", "{host}");
    }
    for host in ["[::1]", "name--1.test"] {
        assert_eq!(get(&origin, &format!("http://{host}:{port}/")).await.unwrap(), b"caught", "{host}");
    }
    assert!(v4.seen.connections() > 0 && v6.seen.connections() > 0);
}

#[tokio::test]
async fn no_redirect_leads_there() {
    let (v4, v6) = canary().await;
    let targets = urls(v4.address.port());
    let locations: Vec<String> = targets.iter().map(|url| url.replace(['\n', '\0'], "\t")).collect();
    let gate = serve_at("127.0.0.2:0", None, move |head, _| {
        match head.split(['/', ' ']).nth(2).and_then(|index| locations.get(index.parse::<usize>().ok()?)) {
            Some(location) => answer("302 Found", &format!("Location: {location}\r\n"), ""),
            // Without `//` some of them are paths on the gate itself.
            None => answer("404 Not Found", "", ""),
        }
    })
    .await;
    let origin = guarded(&["127.0.0.2/32"]);
    let mut stayed = 0;
    for (index, url) in targets.iter().enumerate() {
        let failure = open(&origin, &gate.url(&format!("/{index}"))).await.err().unwrap_or_else(|| panic!("{url:?} was opened"));
        if failure.http_status == Some(404) {
            stayed += 1;
            continue;
        }
        assert_eq!((failure.class, failure.reason), (Class::Rejected, Reason::Redirect), "{url:?}: {failure}");
        assert_eq!((v4.seen.connections(), v6.seen.connections()), (0, 0), "{url:?} reached the canary");
    }
    assert!(stayed <= 4, "{stayed} redirects stayed at the gate");
    assert_eq!((v4.seen.connections(), v6.seen.connections()), (0, 0));
}

#[tokio::test]
async fn a_name_that_changes_its_address_is_judged_each_time() {
    let (v4, _) = canary().await;
    let port = v4.address.port();
    let good = serve_at(&format!("127.0.0.2:{port}"), None, |_, _| {
        let mut steps = answer("200 OK", "Connection: close\r\n", "good");
        steps.push(Step::Close);
        steps
    })
    .await;
    let mut settings = settings(&["127.0.0.2/32"]);
    settings.resolver = Arc::new(
        Names::default()
            .with("rebinding.test", &[&["127.0.0.2"], &["127.0.0.1"]])
            .with("mixed.test", &[&["127.0.0.1", "127.0.0.2", "::1"]]),
    );
    let origin = HttpOrigin::new(settings).unwrap();
    let url = format!("http://rebinding.test:{port}/");
    assert_eq!(get(&origin, &url).await.unwrap(), b"good");
    for _ in 0..3 {
        let failure = get(&origin, &url).await.unwrap_err();
        assert_eq!((failure.class, failure.reason), (Class::Rejected, Reason::ForbiddenAddress), "{failure}");
    }
    assert_eq!(
        get(&origin, &format!("http://mixed.test:{port}/")).await.unwrap(),
        b"good",
        "only the allowed address is dialled"
    );
    assert_eq!((v4.seen.connections(), good.seen.connections()), (0, 2));
}
