//! Presigned URLs that have expired, as a user meets them: the real binary, an endpoint that signs anew, and an origin that
//! minds signatures.

#![allow(clippy::unwrap_used)]

mod batch;
mod endpoint;
mod service_running;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use batch::until;
use chrono::{TimeDelta, Utc};
use endpoint::{Asked, Endpoint, Reply};
use serde_json::{Value, json};
use service_running::Service;

const SECRET: &str = "tell-nobody-9e02d1";
/// The signatures of events, and of the URLs that the endpoint gives.
const OLD: &str = "01d51647";
const NEW: &str = "4e3516a7";

/// The query of a URL signed so many seconds ago, valid for so many.
fn signed(ago: i64, valid: i64, signature: &str) -> String {
    let date = (Utc::now() - TimeDelta::seconds(ago)).format("%Y%m%dT%H%M%SZ");
    format!(
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2F20261124%2Feu-west-1%2Fs3%2Faws4_request\
         &X-Amz-Date={date}&X-Amz-Expires={valid}&X-Amz-SignedHeaders=host&X-Amz-Signature={signature}"
    )
}

/// The origin: 403 for an old signature, and late, so that a URL may expire on the way; else the file. `broken` fails once.
fn file(asked: &Asked) -> Reply {
    if !asked.target.contains(NEW) {
        return Reply::status(403).after(Duration::from_millis(5_200));
    }
    let name = asked.target.split('?').next().unwrap();
    if name.contains("broken") && asked.before == 0 { Reply::status(500) } else { Reply::text(format!("the file {name}")) }
}

struct World {
    origin: Endpoint,
    endpoint: Endpoint,
    up: Arc<AtomicBool>,
    service: Service,
}

impl World {
    /// With these lines in the source besides; `{endpoint}` stands for where new URLs are to be had.
    fn new(more: &str) -> Self {
        let (origin, up) = (Endpoint::start(file), Arc::new(AtomicBool::new(true)));
        let answering = up.clone();
        // One signature for the whole run, so that the origin knows a URL when it is asked again.
        let query = signed(0, 3_600, NEW);
        let endpoint = Endpoint::start(move |asked| {
            if asked.headers.get("x-api-key").map(String::as_str) != Some(SECRET) {
                return Reply::status(401);
            }
            if !answering.load(SeqCst) {
                return Reply::status(503);
            }
            let question: Value = serde_json::from_str(&asked.body).unwrap();
            let expired = question["url"].as_str().unwrap();
            assert!(expired.contains(OLD) && question["ids"][0].as_str().is_some_and(|id| id.len() == 36), "{question}");
            if expired.contains("/gone") {
                return Reply::status(410);
            }
            let href = format!("{}?{query}", expired.split('?').next().unwrap());
            Reply::json(&json!({"signed": [{"href": href}]}))
        });
        let sources = format!(
            "
sources:
  - name: files
    map: {{trace_id: id, attachments: files}}
    allow_hosts: [127.0.0.1]
    allow_private: [127.0.0.1/32]
    allow_http: true
    file_types: [any]
    path: '{{path}}'
    retry: [200ms, 400ms]{}
",
            more.replace("{endpoint}", &endpoint.url("/sign"))
        );
        let mut service = Service::new(&sources, "");
        service.environment = vec![("SIGNING_KEY", SECRET)];
        World { origin, endpoint, up, service }
    }

    /// Posts an event for each of these files, all signed alike.
    fn post(&self, names: &[String], query: &str) {
        let event = |name: &String| json!({"id": name, "files": [format!("{}?{query}", self.origin.url(&format!("/{name}")))]});
        let events: Vec<String> = names.iter().map(|name| event(name).to_string()).collect();
        assert_eq!(self.service.post("files", &events).status, 202);
    }

    fn count(&self, table: &str) -> usize {
        self.service.count("files", table)
    }

    /// How often the endpoint was asked about a file.
    fn questions(&self, name: &str) -> usize {
        self.endpoint.all().iter().filter(|asked| asked.body.contains(&format!("/{name}?"))).count()
    }

    /// The row of a file, which is the only one.
    fn row(&self, table: &str, name: &str) -> std::collections::BTreeMap<String, Value> {
        let mut rows = self.service.rows("files", table);
        rows.retain(|row| row["trace_id"] == name);
        assert_eq!(rows.len(), 1, "{table} {name}: {rows:?}");
        rows.remove(0)
    }
}

const REFRESH: &str = "
    refresh:
      url: '{endpoint}'
      headers: {X-Api-Key: '${env:SIGNING_KEY}'}
      body: '{\"url\": \"{url}\", \"ids\": [\"{media_id}\", \"{trace_id}\"]}'
      url_at: signed[0].href
      allow_http: true
      allow_private: [127.0.0.1/32]
";

fn names(kind: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{kind}-{n}")).collect()
}

#[test]
fn an_expired_url_that_cannot_be_refreshed_is_never_asked_for() {
    let world = World::new("");
    let running = world.service.start(&[]);
    world.post(&names("old", 3), &signed(7_200, 3_600, OLD));
    world.post(&names("now", 1), &signed(8, 13, OLD));
    until("all have failed", || world.service.idle() && world.count("failed") == 4);
    assert_eq!(world.service.stop(running).code, Some(0));
    for name in ["old-0", "old-1", "old-2", "now-0"] {
        let row = world.row("failed", name);
        let message = row["error_message"].as_str().unwrap();
        assert!(row["status"] == "permanent" && message.starts_with("expired: "), "{row:?}");
        // What expired on the way was asked for, and its refusal is no other failure.
        let refused = name == "now-0";
        assert_eq!((row["http_status"] == 403, world.origin.asked(&format!("/{name}")).len()), (refused, usize::from(refused)));
    }
    world.service.reconcile();
}

#[test]
fn an_expired_url_is_refreshed_and_the_row_keeps_that_of_the_event() {
    let world = World::new(REFRESH);
    let running = world.service.start_telling_all();
    let (old, broken) = (names("old", 3), names("broken", 1));
    world.post(&[&old[..], &broken, &names("gone", 1)].concat(), &signed(7_200, 3_600, OLD));
    world.post(&names("now", 1), &signed(8, 13, OLD));
    until("all has ended", || world.service.idle() && world.count("attachments") == 5 && world.count("failed") == 1);
    assert_eq!(world.service.stop(running).code, Some(0));
    for (name, attempts, at_origin) in [("old-0", 1, 1), ("broken-0", 2, 2), ("now-0", 1, 2)] {
        let row = world.row("attachments", name);
        assert_eq!((row["attempts"].as_u64(), world.questions(name)), (Some(attempts), attempts as usize), "{name}");
        assert_eq!(world.origin.asked(&format!("/{name}")).len(), at_origin, "{name}");
        let url = row["attachment_url"].as_str().unwrap();
        assert!(url.starts_with(&world.origin.url(&format!("/{name}?"))) && url.contains("X-Amz-Expires="), "{url}");
        assert!(!url.contains(OLD) && !url.contains(NEW), "{url}");
        let stored =
            std::fs::read_to_string(world.service.root.path().join("lake/files").join(row["blob_path"].as_str().unwrap()));
        assert_eq!(stored.unwrap(), format!("the file /{name}"));
    }
    let gone = world.row("failed", "gone-0");
    let message = gone["error_message"].as_str().unwrap();
    assert!(gone["status"] == "permanent" && message.starts_with("expired: ") && message.contains("410"), "{gone:?}");
    assert_eq!((world.questions("gone-0"), world.origin.asked("/gone-0").len()), (1, 0));
    world.service.reconcile();
    // The same event again, signed anew, is the same attachment.
    let running = world.service.start_telling_all();
    world.post(&old, &signed(7_000, 3_600, OLD));
    until("it has been read", || world.service.idle());
    assert_eq!(world.service.stop(running).code, Some(0));
    assert_eq!(world.count("attachments"), 5);
    assert_eq!((world.service.keeps(SECRET), world.service.keeps(NEW)), (None, None));
    assert!(world.service.keeps(OLD).is_some(), "the log holds tasks as they are, or this proves nothing");
    let shown = format!("{:?}", world.service.finish("config", &["show"]));
    assert!(shown.contains("X-Api-Key") && !shown.contains(SECRET), "{shown}");
}

#[test]
fn while_the_endpoint_is_down_tasks_wait_and_are_stored_later() {
    let world = World::new(REFRESH);
    world.up.store(false, SeqCst);
    let running = world.service.start(&[]);
    let all = names("old", 40);
    world.post(&all, &signed(7_200, 3_600, OLD));
    until("the endpoint counts as down", || world.endpoint.all().len() > 10);
    let asked = world.endpoint.all().len();
    assert!(asked < 40, "{asked} calls of an endpoint that is down");
    world.up.store(true, SeqCst);
    until("all are stored", || world.service.idle() && world.count("attachments") == all.len());
    assert_eq!(world.service.stop(running).code, Some(0));
    assert_eq!(world.count("failed"), 0);
    let rows = world.service.rows("files", "attachments");
    assert!(rows.iter().any(|row| row["attempts"] == 1) && rows.iter().any(|row| row["attempts"] == 2), "{rows:?}");
    world.service.reconcile();
}
