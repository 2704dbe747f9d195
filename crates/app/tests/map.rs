//! `longshore map`: the tasks that events would become.

#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn map(input: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_longshore"));
    command.args(["map", "-"]).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may end before it has read anything, for wrong usage.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// The exit code, and the events as JSON.
fn mapped(input: &str, args: &[&str]) -> (i32, Vec<Value>) {
    let output = map(input, &[args, &["--json"]].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!text.contains("secret"), "{text}");
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {output:?}")));
    (output.status.code().unwrap(), lines.collect())
}

#[test]
fn each_line_is_told_what_it_becomes() {
    let events = "https://example.com/d/a.PDF?token=secret\n\n{\"url\": \"http://example.com/b\", \"id\": 7}\n{\"url\": 5}\n";
    let (code, events) = mapped(events, &["--file-types", "pdf"]);
    assert_eq!(code, 3);
    let verdicts: Vec<_> = events.iter().map(|event| event["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["accepted", "refused", "poison"]);
    let lines: Vec<_> = events.iter().map(|event| event["line"].as_u64().unwrap()).collect();
    assert_eq!(lines, [1, 3, 4]);
    let good = &events[0]["attachments"][0];
    // The query is a part of the name, as a digest.
    assert!(good["path"].as_str().unwrap().starts_with("example.com/d/a~"), "{good}");
    assert_eq!(good["file_type"], "PDF");
    assert_eq!((&good["verdict"], &events[0]["untimed"]), (&"allowed".into(), &true.into()));
    assert_eq!(good["media_id"], events[0]["trace_id"]);
    let refused = &events[1]["attachments"][0];
    assert_eq!((&refused["reason"], &refused["path"], &events[1]["event_id"]), (&"scheme".into(), &Value::Null, &"7".into()));
    assert_eq!(events[2]["reason"], "undecodable");
    assert!(events[2]["message"].as_str().unwrap().contains("holds a number"));
}

const CLAIM: &str = r#"{
  "type": "verisk.claims.estimatePackageReceived",
  "utcDateTime": "2020-01-02T03:04:05.678901Z",
  "traceId": 4711,
  "data": {
    "assignmentId": "A-1",
    "estimateVersion": "2",
    "attachments": ["https://files.example.com/Estimate.PDF?token=secret", "https://other.example.org/x.pdf"]
  }
}"#;

const CONFIG: &str = "
sources:
  - name: claims
    preset: xact
    topic: in
    allow_hosts: [files.example.com]
    when: {field: traceId, equals: ['4711']}
  - name: links
    preset: urls
    topic: in
    allow_hosts: [files.example.com]
";

fn config(dir: &Path) -> String {
    let path = dir.join("longshore.yaml");
    std::fs::write(&path, CONFIG).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_configured_source_takes_its_events_and_judges_each_attachment() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    // One event over several lines.
    let (code, events) = mapped(CLAIM, &["-c", &config]);
    assert_eq!((code, events.len()), (3, 1), "{events:?}");
    let event = &events[0];
    assert_eq!((&event["source"], &event["trace_id"], &event["untimed"]), (&"claims".into(), &"4711".into(), &false.into()));
    assert_eq!(event["columns"]["status_subtype"], "estimatePackageReceived");
    let paths: Vec<_> = event["attachments"].as_array().unwrap().iter().map(|one| &one["path"]).collect();
    assert_eq!(paths, [&"estimatePackageReceived/A-1/4711/A-1_2_Estimate.pdf".into(), &Value::Null]);
    assert_eq!(event["attachments"][1]["reason"], "host");
    let (code, events) = mapped("{\"url\": \"https://files.example.com/a.pdf\"}", &["-c", &config, "--source", "claims"]);
    assert_eq!((code, &events[0]["source"]), (0, &"links".into()), "another source of the topic takes it");
}

#[test]
fn people_are_told_the_same() {
    let output = map(CLAIM, &["--preset", "xact"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for word in ["4711", "status_subtype estimatePackageReceived", "allowed: goes to", "2 attachments"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(!text.contains("secret") && output.status.code() == Some(0), "{output:?}");
}

#[test]
fn wrong_usage_is_2_and_a_wrong_configuration_78() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    for (args, code, says) in [
        (&["--map", "nonsense"] as &[&str], 2, "FIELD=EXPRESSION"),
        (&["--preset", "nonsense"], 2, "nonsense"),
        (&["--header", "nonsense"], 2, "Name: value"),
        (&["-c", &config, "--source", "other"], 2, "claims, links"),
        (&["-c", &config, "--allow-http"], 2, "--allow-http"),
        (&["-c", "/nowhere/longshore.yaml"], 78, "no such file"),
    ] {
        let output = map("https://example.com/", args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(says), "{args:?}: {output:?}");
    }
    let output = map(" \n", &[]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn what_is_hostile_is_told_and_harms_nobody() {
    let deep = format!("{{\"url\": {}", "[".repeat(10_000));
    let long = format!("{{\"url\": \"https://example.com/{}\"}}", "a".repeat(1 << 20));
    let (code, events) = mapped(&format!("{deep}\n{long}\n\u{0}\n"), &[]);
    assert_eq!(code, 3);
    let verdicts: Vec<_> = events.iter().map(|event| event["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["poison", "refused", "refused"]);
}
