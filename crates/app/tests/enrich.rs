//! Enriching as a user meets it: the real binary, an endpoint of files for ids, and what the tables say afterwards.

#![allow(clippy::unwrap_used)]

mod batch;
mod endpoint;
mod service_running;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use batch::{origin, until};
use endpoint::{Asked, Endpoint, Reply};
use longshore::demo::origin::Origin;
use serde_json::{Value, json};
use service_running::Service;

const SECRET: &str = "tell-nobody-5b1f7c";

/// What the endpoint does, by the beginning of the claim's id: `good`; `flaky`: 503 twice; `growing`: no files the first time; `gone`: 404, and `garbage`: no
/// JSON, until it is mended; `slow`: too late the first time; `bare`: no files; `odd`: a list that is none;
/// `elsewhere`: a file on a host that nobody allowed; `huge`: more than anybody reads.
fn answer(asked: &Asked, files: &str, mended: bool) -> Reply {
    if asked.headers.get("authorization").map(String::as_str) != Some(&format!("Bearer {SECRET}")) {
        return Reply::status(401);
    }
    let id = asked.target.trim_start_matches("/claims/").split('?').next().unwrap();
    let whole = |files: Value| Reply::json(&json!({"claim": {"owner": format!("owner of {id}")}, "files": files}));
    let good = || {
        let file = |name: &str| json!({"href": format!("{files}/good/{id}/{name}"), "title": format!("{name}.txt")});
        whole(json!([file("a"), file("b")]))
    };
    match id.split('-').next().unwrap() {
        "flaky" if asked.before < 2 => Reply::status(503),
        "gone" if !mended => Reply::status(404),
        "garbage" if !mended => Reply::text("<html>Please log in</html>"),
        "slow" if asked.before == 0 => good().after(Duration::from_millis(1_500)),
        "growing" if asked.before > 0 => good(),
        "bare" | "growing" => whole(json!([])),
        "odd" => whole(json!(7)),
        "huge" => whole(json!(["x".repeat(2 << 20)])),
        "elsewhere" => whole(json!([{"href": "http://169.254.169.254/latest", "title": "x.txt"}])),
        _ => good(),
    }
}

/// A service whose events name a claim, and the endpoint that knows its files.
struct Claims {
    endpoint: Endpoint,
    service: Service,
    mended: Arc<AtomicBool>,
}

impl Claims {
    fn new(origin: &Origin, delay: Duration, more: &str) -> Self {
        let (mended, files) = (Arc::new(AtomicBool::new(false)), origin.url(""));
        let answering = mended.clone();
        let endpoint = Endpoint::start(move |asked| {
            std::thread::sleep(delay);
            answer(asked, &files, answering.load(SeqCst))
        });
        let url = endpoint.url("/claims/{claim}?full=yes");
        let sources = format!(
            "
sources:
  - name: claims
    map: {{trace_id: id, event_time: created}}
    columns: {{branch: branch}}
    enrich:
      url: '{url}'
      headers: {{Authorization: 'Bearer ${{env:CLAIMS_TOKEN}}'}}
      fields: {{claim: claim.id}}
      attachments: 'files[].{{url: href, file_name: title}}'
      columns: {{owner: claim.owner}}
      timeout: 500ms
      retry: [200ms, 400ms]
      allow_http: true
      allow_private: [127.0.0.1/32]
      {more}
    allow_hosts: [127.0.0.1]
    allow_private: [127.0.0.1/32]
    allow_http: true
    file_types: [any]
    path: '{{owner}}/{{path}}'
    retry: [200ms, 400ms]
"
        );
        let mut service = Service::new(&sources, "");
        service.environment = vec![("CLAIMS_TOKEN", SECRET)];
        Claims { endpoint, service, mended }
    }

    fn post(&self, ids: &[String]) {
        let events: Vec<String> = ids.iter().map(|id| event(id)).collect();
        assert_eq!(self.service.post("claims", &events).status, 202);
    }

    fn letters(&self) -> Vec<Value> {
        let finished = self.service.finish("dlq", &["ls", "--json", "--limit", "0"]);
        assert_eq!(finished.code, Some(0), "{finished:?}");
        finished.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn letter(&self, offset: &Value) -> Value {
        let finished = self.service.finish("dlq", &["show", &offset.to_string(), "--json"]);
        serde_json::from_str(&finished.stdout).unwrap_or_else(|e| panic!("{e}: {finished:?}"))
    }

    /// The stored rows by the file's name at the origin: trace id, branch and owner.
    fn stored(&self) -> BTreeMap<String, [String; 3]> {
        let rows = self.service.rows("claims", "attachments");
        let text = |row: &BTreeMap<String, Value>, name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let found = rows.iter().map(|row| {
            let name = text(row, "attachment_url").split_once("/good/").unwrap().1.to_owned();
            (name, ["trace_id", "branch", "owner"].map(|column| text(row, column)))
        });
        let by_name: BTreeMap<_, _> = found.collect();
        assert_eq!(by_name.len(), rows.len(), "a file has two rows");
        by_name
    }
}

/// An event with neither a URL nor an owner in it.
fn event(id: &str) -> String {
    json!({"id": format!("event of {id}"), "created": "2026-11-20T10:00:00Z", "branch": "north", "claim": {"id": id}}).to_string()
}

/// The rows that these claims must leave.
fn expected<S: AsRef<str>>(ids: &[S]) -> BTreeMap<String, [String; 3]> {
    let row = |id: &str| [format!("event of {id}"), "north".to_owned(), format!("owner of {id}")];
    let of = |id: &S| ["a", "b"].map(|file| (format!("{}/{file}", id.as_ref()), row(id.as_ref())));
    ids.iter().flat_map(of).collect()
}

fn ids(kind: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{kind}-{n}")).collect()
}

#[test]
fn events_that_name_an_id_become_files_with_what_the_endpoint_knows() {
    let origin = origin();
    let claims = Claims::new(&origin, Duration::ZERO, "");
    let running = claims.service.start_telling_all();
    let (good, flaky, gone, garbage) = (ids("good", 10), ids("flaky", 2), ids("gone", 2), ids("garbage", 1));
    let others = [ids("slow", 1), ids("bare", 1), ids("odd", 1), ids("elsewhere", 1), ids("huge", 1)].concat();
    claims.post(&[&good[..], &flaky, &gone, &garbage, &others, &[String::new()]].concat());
    let (tried, lost) = ([&good[..], &flaky, &ids("slow", 1)].concat(), ["gone-0", "gone-1", "garbage-0", "huge-0", ""]);
    until("all has ended", || claims.service.idle() && claims.letters().len() == lost.len() + 1);
    assert_eq!(claims.stored(), expected(&tried));

    // One call an attempt, none before its time.
    let asked = claims.endpoint.asked("/claims/flaky-0");
    assert_eq!(asked.len(), 3);
    let waits: Vec<Duration> = asked.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    assert!(waits[0] >= Duration::from_millis(200) && waits[1] >= Duration::from_millis(400), "{waits:?}");
    assert_eq!(
        ["good-0", "slow-0", "garbage-0", "gone-0"].map(|id| claims.endpoint.asked(&format!("/claims/{id}")).len()),
        [1, 2, 3, 1]
    );
    assert!(claims.endpoint.all().iter().all(|asked| asked.method == "GET" && asked.target.ends_with("?full=yes")));

    // What could not be enriched is a dead letter with the event's own bytes.
    let letters = claims.letters();
    let mut whole: Vec<Value> = letters.iter().map(|letter| claims.letter(&letter["offset"])).collect();
    whole.retain(|letter| !letter["original"].is_null());
    let said = |id: &str| {
        let found = whole.iter().find(|letter| letter["original"]["text"] == event(id).as_str());
        let letter = found.unwrap_or_else(|| panic!("no letter of {id}: {whole:#?}"));
        (letter["error"]["class"].as_str().unwrap(), letter["error"]["reason"].as_str().unwrap())
    };
    assert_eq!(
        lost.map(said),
        [
            ("permanent", "http_status"),
            ("permanent", "http_status"),
            ("transient", "lookup"),
            ("permanent", "too_large"),
            ("poison", "undecodable")
        ]
    );
    let failed = claims.service.rows("claims", "failed");
    assert_eq!(
        (failed.len(), &failed[0]["status"], &failed[0]["owner"]),
        (1, &"rejected".into(), &"owner of elsewhere-0".into())
    );

    // Mended, and replayed: what was lost is there, once.
    claims.mended.store(true, SeqCst);
    let replayed = claims.service.finish("dlq", &["replay", "--reason", "http_status"]);
    assert!(replayed.code == Some(0) && replayed.stdout.contains("Replayed 2"), "{replayed:?}");
    let mended = [&tried[..], &gone].concat();
    until("the mended ones are stored", || claims.service.idle() && claims.stored().len() == 2 * mended.len());
    let stopped = claims.service.stop(running);
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    let again = claims.service.finish("dlq", &["replay", "--class", "transient"]);
    assert!(again.code == Some(0) && again.stdout.contains("Replayed 1"), "{again:?}");
    let running = claims.service.start_telling_all();
    let mended = [&mended[..], &garbage].concat();
    until("all are stored", || claims.service.idle() && claims.stored().len() == 2 * mended.len());
    let last = claims.service.stop(running);
    assert_eq!(claims.stored(), expected(&mended));
    claims.service.reconcile();
    let events = claims.service.rows("claims", "events");
    let slow = events.iter().find(|row| row["trace_id"] == "event of slow-0").unwrap();
    assert_eq!(
        (&slow["owner"], &slow["branch"], &slow["event_date"]),
        (&"owner of slow-0".into(), &"north".into(), &"2026-11-20".into())
    );
    assert!(slow["media_ids"].to_string().matches('-').count() == 8 && slow["raw_json"] == event("slow-0"), "{slow:?}");

    // Nobody was told the secret.
    let shown = claims.service.finish("config", &["show"]);
    assert!(shown.code == Some(0) && shown.stdout.contains("Authorization"), "{shown:?}");
    let rows = ["attachments", "failed", "events"].map(|table| claims.service.rows("claims", table));
    let trace = claims.service.finish("trace", &["event of flaky-0"]);
    let texts = format!("{shown:?}{stopped:?}{last:?}{replayed:?}{again:?}{whole:?}{letters:?}{rows:?}{trace:?}");
    assert!(!texts.contains(SECRET), "{}", texts.lines().find(|line| line.contains(SECRET)).unwrap());
    assert_eq!(claims.service.keeps(SECRET), None);
    assert!(claims.service.keeps("DEBUG").is_some(), "the log says too little to prove anything");
}

#[test]
fn a_kill_while_the_endpoint_is_asked_loses_and_doubles_nothing() {
    let origin = origin();
    let claims = Claims::new(&origin, Duration::from_millis(20), "max_in_flight: 4\n      per_second: 100");
    let all = [ids("flaky", 4), ids("good", 80), ids("flaky", 8).split_off(4), ids("good", 150).split_off(80)].concat();
    let mut running = claims.service.start_telling_all();
    claims.post(&all);
    for asked in [10, 60, 120] {
        until("some were asked for", || claims.endpoint.all().len() >= asked);
        running.kill().unwrap();
        running.wait().unwrap();
        assert!(claims.stored().len() < 2 * all.len(), "it was done before it was killed");
        running = claims.service.start_telling_all();
    }
    until("all is done", || claims.service.idle() && claims.stored().len() == 2 * all.len());
    assert_eq!(claims.service.stop(running).code, Some(0));
    assert_eq!(claims.stored(), expected(&all));
    assert_eq!((claims.letters().len(), claims.service.count("claims", "events")), (0, all.len()));
    claims.service.reconcile();
    let asked = claims.endpoint.all();
    assert!(asked.len() >= all.len() + 2 * 8, "each flaky one needs three calls: {}", asked.len());
    let span = asked.last().unwrap().at - asked[0].at;
    assert!(span >= Duration::from_millis(1_000), "{} calls at 100 a second took {span:?}", asked.len());
}

#[test]
fn of_a_shared_topic_only_the_events_of_the_enriched_source_are_asked_about() {
    let origin = origin();
    let shared = "when: {field: kind, equals: claim}
    topic: all.events";
    let claims = Claims::new(&origin, Duration::ZERO, "");
    let config = std::fs::read_to_string(&claims.service.config).unwrap();
    let plain = "
  - name: plain
    topic: all.events
    when: {field: kind, equals: plain}
    map: {trace_id: id, attachments: files}
    allow_hosts: [127.0.0.1]
    allow_private: [127.0.0.1/32]
    allow_http: true
    file_types: [any]
";
    let config = config.replace("- name: claims\n", &format!("- name: claims\n    {shared}\n"));
    std::fs::write(&claims.service.config, format!("{config}{plain}")).unwrap();
    let running = claims.service.start(&[]);
    let of_kind = |kind: &str, event: Value| {
        let mut event = event;
        event["kind"] = kind.into();
        event.to_string()
    };
    let claim = of_kind("claim", serde_json::from_str(&event("good-0")).unwrap());
    let other = of_kind("plain", json!({"id": "p", "files": [origin.url("/good/plain.txt")]}));
    let nobody = of_kind("nobody", json!({"id": "n"}));
    let broken = "{\"kind\": \"claim\", ".to_owned();
    assert_eq!(claims.service.post("plain", &[claim, other, nobody, broken]).status, 202);
    until("all has ended", || {
        claims.service.idle() && claims.stored().len() == 2 && claims.service.count("plain", "attachments") == 1
    });
    assert_eq!(claims.service.stop(running).code, Some(0));
    assert_eq!(claims.stored(), expected(&["good-0"]));
    assert_eq!(claims.endpoint.all().len(), 1);
    let mut reasons: Vec<Value> = claims.letters().into_iter().map(|letter| letter["reason"].clone()).collect();
    reasons.sort_by_key(Value::to_string);
    assert_eq!(reasons, ["undecodable", "unrouted"], "each is told once");
    claims.service.reconcile();
}

#[test]
fn what_waits_for_an_endpoint_that_is_configured_no_more_is_not_forgotten() {
    let origin = origin();
    let claims = Claims::new(&origin, Duration::ZERO, "");
    let config = std::fs::read_to_string(&claims.service.config).unwrap();
    let patient = config.replacen("retry: [200ms, 400ms]", "retry: [2s, 3s]", 1);
    // A column less would be another table, and that is refused.
    let patient = patient.replace("      columns: {owner: claim.owner}\n", "").replace("{owner}/", "");
    std::fs::write(&claims.service.config, &patient).unwrap();
    let running = claims.service.start(&[]);
    claims.post(&["flaky-0".to_owned()]);
    until("it waits for its second call", || claims.endpoint.all().len() == 1 && claims.service.waiting("enrich retry 2s") == 1);
    let first = claims.service.stop(running);
    assert!(!first.stderr.contains("warning: the topic"), "{first:?}");
    // Without its `enrich` nobody reads what waits.
    let (begin, end) = (patient.find("    enrich:").unwrap(), patient.find("    allow_hosts:").unwrap());
    let without = format!("{}{}", &patient[..begin], &patient[end..]).replace("event_time:", "attachments: files, event_time:");
    std::fs::write(&claims.service.config, without).unwrap();
    let running = claims.service.start(&["--role", "retry"]);
    let told = claims.service.stop(running);
    assert!(
        told.stderr.contains("the topic claims.events.retry.2s holds work that no source of the configuration reads (1 unread)"),
        "{told:?}"
    );
    // Brought back, it goes on.
    std::fs::write(&claims.service.config, patient).unwrap();
    let running = claims.service.start(&[]);
    until("it is stored", || claims.service.idle() && claims.service.count("claims", "attachments") == 2);
    assert_eq!(claims.service.stop(running).code, Some(0));
    claims.service.reconcile();
}

#[test]
fn the_same_event_is_asked_about_again_and_may_have_gained_files() {
    let origin = origin();
    let claims = Claims::new(&origin, Duration::ZERO, "");
    let running = claims.service.start(&[]);
    let growing = ["growing-0".to_owned()];
    for (asked, rows, files) in [(1, 1, 0), (2, 2, 2), (3, 2, 2)] {
        claims.post(&growing);
        until("it has been asked about", || {
            let known = claims.endpoint.all().len() == asked && claims.service.count("claims", "events") == rows;
            known && claims.service.idle() && claims.stored().len() == files
        });
    }
    assert_eq!(claims.service.stop(running).code, Some(0));
    let events = claims.service.rows("claims", "events");
    assert_eq!((events.len(), claims.stored()), (2, expected(&growing)), "{events:?}");
    claims.service.reconcile();
}
