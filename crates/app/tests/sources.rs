//! Sources of different kinds in one service, as a user meets them: the real binary, local origins, and what the tables say.

#![allow(clippy::unwrap_used)]

mod batch;
mod endpoint;
mod service_running;

use std::collections::BTreeMap;

use batch::{origin, until};
use endpoint::{Asked, Endpoint, Reply};
use serde_json::{Value, json};
use service_running::Service;

/// Where a redirect leads, as `/to?http://…`; else the file.
fn file(asked: &Asked) -> Reply {
    match asked.target.strip_prefix("/to?") {
        Some(location) => Reply::status(302).header("Location", location),
        None => Reply::text("a file"),
    }
}

#[test]
fn credentials_go_to_the_host_that_they_are_for_and_nowhere_else() {
    let (one, two) = (Endpoint::start(file), Endpoint::start(file));
    let sources = "
sources:
  - name: urls
    preset: urls
    allow_hosts: [127.0.0.1, localhost]
    allow_private: [127.0.0.0/8, '::1/128']
    allow_http: true
    file_types: [any]
    path: '{host}/{media_id}'
    headers: {X-Every: to-the-urls-own-host}
    credentials:
      - host: 127.0.0.1
        headers: {Authorization: 'Bearer ${env:KEY_OF_ONE}'}
";
    let mut service = Service::new(sources, "");
    service.environment = vec![("KEY_OF_ONE", "tell-nobody-77aa01")];
    let running = service.start_telling_all();
    let (own, other) = (one.url("/own"), format!("http://localhost:{}", two.port()));
    let urls = [
        own.clone(),
        format!("{other}/other"),
        one.url(&format!("/to?{other}/from-one")),
        format!("{other}/to?{}", one.url("/from-two")),
    ];
    assert_eq!(service.post("urls", &urls).status, 202);
    until("all are stored", || service.idle() && service.count("urls", "attachments") == 4);
    assert_eq!(service.stop(running).code, Some(0));
    let sent = |endpoint: &Endpoint, target: &str| {
        let asked = endpoint.all().into_iter().find(|asked| asked.target == target).unwrap();
        (asked.headers.contains_key("authorization"), asked.headers.contains_key("x-every"))
    };
    assert_eq!(sent(&one, "/own"), (true, true));
    assert_eq!(sent(&two, "/other"), (false, true));
    assert_eq!(sent(&two, "/from-one"), (false, false), "a secret went along a redirect");
    assert_eq!(sent(&one, "/from-two"), (true, false), "the host of a hop gets what is for it");
    assert_eq!(one.all()[0].headers.get("authorization").map(String::as_str), Some("Bearer tell-nobody-77aa01"));
    assert_eq!(service.keeps("tell-nobody"), None);
    service.reconcile();
}

/// One column of all rows, by the URL's last part.
fn column(rows: &[BTreeMap<String, Value>], name: &str) -> BTreeMap<String, String> {
    let text = |row: &BTreeMap<String, Value>, name: &str| row[name].as_str().unwrap_or("").to_owned();
    rows.iter().map(|row| (text(row, "attachment_url").rsplit('/').next().unwrap().to_owned(), text(row, name))).collect()
}

fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn cloud_events_and_bucket_notifications_have_tables_of_their_own_in_one_service() {
    let origin = origin();
    let sources = format!(
        "
sources:
  - name: cloud
    preset: cloudevents
    map: {{attachments: 'data.docs[].{{url: href, file_name: title}}'}}
    columns: {{tenant: data.tenant}}
    allow_hosts: [127.0.0.1]
    allow_private: [127.0.0.1/32]
    allow_http: true
    file_types: [any]
    path: '{{ce_subject}}/{{tenant}}/{{filename}}'
    retry: [200ms, 400ms]
  - name: bucket
    preset: s3-notification
    map: {{url: '{}/{{bucket}}/{{key}}'}}
    allow_hosts: [127.0.0.1]
    allow_private: [127.0.0.1/32]
    allow_http: true
    file_types: [any]
    path: '{{bucket}}/{{object_key}}'
    retry: [200ms, 400ms]
",
        origin.url("")
    );
    let service = Service::new(&sources, "");
    let running = service.start(&[]);
    let docs =
        |name: &str| json!({"tenant": "t-1", "docs": [{"href": origin.url(&format!("/good/{name}")), "title": "Title.txt"}]});
    let structured = json!({
        "specversion": "1.0", "id": "1", "source": "/claims", "type": "filed", "subject": "s-1", "time": "2026-11-20T10:00:00Z",
        "data": docs("structured")
    });
    let post = |headers: &str, body: &Value| service.try_post("cloud", headers, body.to_string().as_bytes()).unwrap().status;
    assert_eq!(post("Content-Type: application/cloudevents+json\r\n", &structured), 202);
    let binary = "Content-Type: application/json\r\nce-specversion: 1.0\r\nce-id: 2\r\nce-source: /claims\r\nce-type: filed\r\n\
                  ce-subject: s-2\r\nce-time: 2026-11-21T10:00:00Z\r\n";
    assert_eq!(post(binary, &docs("binary")), 202);
    let record = |kind: &str, key: &str| {
        json!({"eventName": kind, "awsRegion": "eu-west-1", "eventTime": "2026-11-22T10:00:00.000Z",
            "s3": {"bucket": {"name": "good"}, "object": {"key": key, "size": 7, "eTag": "e", "sequencer": key}}})
    };
    let created =
        json!({"Records": [record("ObjectCreated:Put", "in/a.txt"), record("ObjectCreated:Copy", "in/caf%C3%A9+1.txt")]});
    let removed = json!({"Records": [record("ObjectRemoved:Delete", "in/c.txt")]});
    let enveloped = json!({"Type": "Notification", "Message": created.to_string()});
    let notifications = [created, removed, enveloped].map(|event| event.to_string());
    assert_eq!(service.post("bucket", &notifications).body["accepted"], 3);
    until("all are stored", || {
        service.idle() && ["cloud", "bucket"].map(|source| service.count(source, "attachments")) == [2, 2]
    });
    assert_eq!(service.stop(running).code, Some(0));

    let cloud = service.rows("cloud", "attachments");
    for (name, expected) in [
        ("tenant", [("structured", "t-1"), ("binary", "t-1")]),
        ("ce_source", [("structured", "/claims"), ("binary", "/claims")]),
        ("trace_id", [("structured", "/claims/1"), ("binary", "/claims/2")]),
        ("event_date", [("structured", "2026-11-20"), ("binary", "2026-11-21")]),
        ("blob_path", [("structured", "s-1/t-1/Title.txt"), ("binary", "s-2/t-1/Title.txt")]),
    ] {
        assert_eq!(column(&cloud, name), texts(&expected), "{name}");
    }
    let bucket = service.rows("bucket", "attachments");
    for (name, expected) in [
        ("object_key", [("a.txt", "in/a.txt"), ("caf%C3%A9%201.txt", "in/café 1.txt")]),
        ("bucket", [("a.txt", "good"), ("caf%C3%A9%201.txt", "good")]),
        ("event_date", [("a.txt", "2026-11-22"), ("caf%C3%A9%201.txt", "2026-11-22")]),
    ] {
        assert_eq!(column(&bucket, name), texts(&expected), "{name}");
    }
    assert!(!cloud[0].contains_key("bucket") && !bucket[0].contains_key("ce_source"), "columns of the other source");
    assert_eq!(origin.total_requests(), 4);
    let where_clause = ["--source", "bucket", "--where", "object_key~café", "--count"];
    let counted = service.finish("inventory", &where_clause);
    assert_eq!(counted.stdout.trim(), "1", "{counted:?}");
    service.reconcile();
}

/// The fenced blocks of a document, in order: what they are, and what they hold.
fn blocks(document: &str) -> Vec<(&str, String)> {
    let mut pieces = document.split("\n```");
    pieces.next();
    let fenced = pieces.step_by(2).map(|block| block.split_once('\n').unwrap());
    fenced.map(|(kind, text)| (kind, format!("{text}\n"))).collect()
}

#[test]
fn the_examples_of_the_documentation_are_right() {
    let document = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/sources.md");
    let document = std::fs::read_to_string(document).unwrap();
    let mut service = Service::new("", "");
    service.environment = ["CLAIMS_TOKEN", "SIGNING_KEY", "FILES_TOKEN", "PARTNER_KEY"].map(|name| (name, "a-secret")).into();
    let event = service.root.path().join("event.json");
    let map = |args: &[&str]| service.finish("map", &[&[event.to_str().unwrap()], args].concat());
    let mut counts = BTreeMap::new();
    for (kind, text) in blocks(&document) {
        *counts.entry(kind).or_insert(0) += 1;
        match kind {
            "yaml" => {
                std::fs::write(&service.config, &text).unwrap();
                let checked = service.finish("config", &["check"]);
                assert!(checked.code == Some(0) && checked.stderr.is_empty(), "{text}\n{checked:?}");
            }
            "json" => {
                std::fs::write(&event, &text).unwrap();
                let mapped = map(&["--json"]);
                let found: Value = serde_json::from_str(mapped.stdout.trim()).unwrap_or_else(|e| panic!("{e}: {mapped:?}"));
                assert_eq!((mapped.code, &found["verdict"]), (Some(0), &"accepted".into()), "{text}\n{found}");
                assert!(!found["attachments"].as_array().unwrap().is_empty(), "{text}\n{found}");
            }
            "text" => assert_eq!(map(&[]).stdout, text),
            other => panic!("a block of {other}"),
        }
    }
    assert_eq!(counts, BTreeMap::from([("yaml", 7), ("json", 4), ("text", 1)]));
}
