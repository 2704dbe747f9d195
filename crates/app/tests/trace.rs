//! `longshore trace`: one event or attachment through every stage.

#![allow(clippy::unwrap_used)]

mod small_lake;

use std::process::{Child, Stdio};

use longshore_core::format::{self, DeadLetter, ErrorNote};
use longshore_core::outcome::{Class, Reason};
use longshore_log::EmbeddedLog;
use longshore_stages::ports::{Log, Message};
use serde_json::Value;
use small_lake::{Lake, longshore, media_id, serve, stderr, stdout};

fn trace(lake: &Lake, args: &[&str]) -> (i32, Value) {
    let output = lake.run(&[&["trace", "--json"], args].concat());
    let story: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    assert!(!story.to_string().contains("secret"), "{story}");
    (output.status.code().unwrap(), story)
}

fn stages(story: &Value) -> Vec<&str> {
    story["steps"].as_array().unwrap().iter().map(|step| step["stage"].as_str().unwrap()).collect()
}

fn standings(story: &Value) -> Vec<&str> {
    story["attachments"].as_array().unwrap().iter().map(|one| one["standing"].as_str().unwrap()).collect()
}

#[test]
fn what_ended_is_told_from_its_event_to_its_row() {
    let (lake, server) = (Lake::new(), serve());
    let (good, gone) = (format!("{server}/ok/1.txt"), format!("{server}/gone?token=secret"));
    lake.fetch(&[format!("{{\"id\": \"ev-7\", \"url\": \"{good}\"}}"), gone.clone()]);
    for id in [media_id(&good).as_str(), "ev-7"] {
        let (code, story) = trace(&lake, &[id]);
        assert_eq!((code, stages(&story), standings(&story)), (0, vec!["event row", "stored row"], vec!["stored"]), "{story}");
        let facts = &story["steps"][1]["facts"];
        assert_eq!((&facts["object"], &facts["attempts"]), (&"present".into(), &1.into()));
        assert_eq!(facts["bytes_downloaded"], "the file /ok/1.txt\n".len());
    }
    let (code, story) = trace(&lake, &["--url", &gone]);
    assert_eq!((code, standings(&story)), (0, vec!["failed"]));
    assert_eq!(stages(&story), ["event row", "dead letter", "failed row"]);
    let letter = &story["steps"][1]["facts"];
    assert_eq!((&letter["error"]["http_status"], &letter["recorded"]), (&404.into(), &true.into()), "{story}");
    let text = stdout(&lake.run(&["trace", &media_id(&good)]));
    assert!(text.contains("the object is there") && text.contains("stored at 127.0.0.1"), "{text}");
    look_for_what_is_not_there(&lake);
    damage(&lake, &good);
}

#[test]
fn an_event_that_nobody_can_decode_is_found_by_what_stands_in_it() {
    let lake = Lake::new();
    lake.fetch(&["{\"id\": \"ev-8\", \"link_to\": 7}".to_owned()]);
    let (code, story) = trace(&lake, &["ev-8"]);
    assert_eq!((code, stages(&story)), (0, vec!["dead letter"]), "{story}");
    assert_eq!(trace(&lake, &["v-8"]).0, 3, "a part of an id is none");
}

fn look_for_what_is_not_there(lake: &Lake) {
    let (code, story) = trace(lake, &["no-such-id"]);
    assert_eq!((code, &story["found"]), (3, &false.into()));
    for wrong in [&[] as &[&str], &["https://h.example/a"], &["an-id", "--url", "https://h.example/a"]] {
        let output = lake.run(&[&["trace"], wrong].concat());
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(stderr(&output).contains("--url") || stderr(&output).contains("<ID>"), "{output:?}");
    }
}

/// An object that is gone is said to be gone; a lost attachment is said to be unaccounted for.
fn damage(lake: &Lake, good: &str) {
    let lake = lake.copy();
    let object = lake.rows(&["--columns", "blob_path"])[0]["blob_path"].as_str().unwrap().to_owned();
    std::fs::remove_file(lake.dir.join("files").join(object)).unwrap();
    let (_, story) = trace(&lake, &[&media_id(good)]);
    assert_eq!(story["steps"][1]["facts"]["object"], "missing");
    lake.delete_rows("urls_attachments");
    let (code, story) = trace(&lake, &[&media_id(good)]);
    assert_eq!((code, stages(&story), standings(&story)), (0, vec!["event row"], vec!["unaccounted"]));
}

/// Ends with the test, however the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(lake: &Lake, url: &str, flags: &[&str]) -> Running {
    let list = lake.dir.with_extension("txt");
    std::fs::write(&list, url).unwrap();
    let mut command = longshore(&lake.dir, &["fetch", list.to_str().unwrap()]);
    command.args(["--allow-http", "--allow-private", "127.0.0.0/8", "--quiet"]).args(flags);
    Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

fn waiting(status: &Value, stage: &str) -> u64 {
    let stages = status["stages"].as_array().unwrap();
    stages.iter().filter(|s| s["stage"] == stage).map(|s| s["waiting"].as_u64().unwrap()).sum()
}

#[test]
fn what_is_under_way_is_told_with_its_attempts_and_when_it_is_due() {
    let (lake, server) = (Lake::new(), serve());
    let slow = format!("{server}/hang/1?token=secret");
    let _running = start(&lake, &slow, &["--retry", "10m", "--timeout-first-byte", "200ms"]);
    lake.wait_for("the retry tier", |status| waiting(status, "retry 10m") == 1 && waiting(status, "download") == 0);
    let (code, story) = trace(&lake, &[&media_id(&slow)]);
    assert_eq!((code, standings(&story)), (0, vec!["in_flight"]), "{story}");
    let retry = story["steps"].as_array().unwrap().iter().find(|step| step["stage"] == "retry").unwrap();
    let facts = &retry["facts"];
    assert_eq!((&facts["attempts"], &facts["last_error"]["reason"]), (&1.into(), &"first_byte_timeout".into()));
    assert!(facts["due_at"].as_str() > facts["appended_at"].as_str(), "{facts}");
}

#[test]
fn a_task_that_is_being_downloaded_is_told_to_be_pending() {
    let (lake, server) = (Lake::new(), serve());
    let slow = format!("{server}/hang/1");
    let _running = start(&lake, &slow, &[]);
    lake.wait_for("a task", |status| waiting(status, "download") == 1);
    let (code, story) = trace(&lake, &["--url", &slow]);
    assert_eq!((code, standings(&story)), (0, vec!["in_flight"]), "{story}");
    assert!(stages(&story).contains(&"pending"), "{story}");
}

/// An event that could not be enriched has no attachments yet: its letter is found by the ids in its bytes.
#[test]
fn the_letter_of_an_event_is_found_by_the_events_ids() {
    let (lake, server) = (Lake::new(), serve());
    lake.fetch(&[format!("{server}/ok/1.txt")]);
    let event = br#"{"id": "ev-9", "url": "https://h.example/lost?token=secret"}"#;
    let error = ErrorNote {
        class: Class::Transient,
        reason: Reason::Lookup,
        message: "the endpoint is down".to_owned(),
        http_status: Some(503),
        at: 1_795_463_132_000_000,
    };
    let letter = DeadLetter::of_event("urls", error, Some(event), "list.txt:9".to_owned());
    let message = Message { value: Some(format::encode(&letter).into()), ..Message::default() };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let log = EmbeddedLog::open(&lake.dir.join(".longshore")).unwrap();
        log.append("urls.downloads.dlq", &[message]).await.unwrap();
        drop(log);
    });
    for id in ["ev-9", &media_id("https://h.example/lost?token=secret")] {
        let (code, story) = trace(&lake, &[id]);
        assert_eq!((code, stages(&story)), (0, vec!["dead letter"]), "{story}");
        assert_eq!(story["steps"][0]["facts"]["error"]["reason"], "lookup");
    }
}
