//! The commands that look: `status`, `inventory`, `dlq`, `check-url`.

#![allow(clippy::unwrap_used)]

mod small_lake;

use std::process::Command;

use serde_json::Value;
use small_lake::{Lake, media_id, serve, stderr, stdout};

fn check_url(args: &[&str]) -> (i32, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_longshore")).arg("check-url").args(args).arg("--json").output().unwrap();
    (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}")))
}

#[test]
fn check_url_says_what_would_happen_and_why() {
    for (url, flags, code, reason) in [
        ("https://example.com/a.pdf", &[] as &[&str], 0, ""),
        ("http://example.com/a.pdf", &[], 3, "scheme"),
        ("http://example.com/a.pdf", &["--allow-http"], 0, ""),
        ("ftp://example.com/a.pdf", &[], 3, "scheme"),
        ("https://127.0.0.1/a", &[], 3, "forbidden_address"),
        ("https://127.0.0.1/a", &["--allow-private", "127.0.0.0/8"], 0, ""),
        ("https://[::ffff:169.254.169.254]/", &[], 3, "forbidden_address"),
        ("https://0x7f.1/", &[], 3, "forbidden_address"),
        ("https://localhost/", &[], 3, "forbidden_address"),
        ("https://a.example.com/", &["--allow-host", "*.example.com"], 0, ""),
        ("https://example.org/", &["--allow-host", "*.example.com"], 3, "host"),
        ("https://example.com/a.exe", &["--file-types", "pdf,jpg"], 3, "file_type"),
        ("not a url", &[], 3, "invalid_url"),
        ("{\"url\": \"https://example.com/\"}", &[], 3, "invalid_url"),
        ("", &[], 3, "invalid_url"),
    ] {
        let (exit, verdict) = check_url(&[&[url], flags].concat());
        assert_eq!((exit, verdict["reason"].as_str().unwrap_or("")), (code, reason), "{url}: {verdict}");
        assert_eq!(verdict["allowed"], code == 0, "{url}");
        assert_eq!(verdict["path"].is_string(), code == 0, "{url}");
    }
    let (_, verdict) = check_url(&["https://u:secret1@example.com/d/a.pdf?token=secret2"]);
    assert!(!verdict.to_string().contains("secret"), "{verdict}");
    let (_, verdict) = check_url(&["https://example.com/d/a.pdf"]);
    assert_eq!((&verdict["path"], &verdict["host"]), (&"example.com/d/a.pdf".into(), &"example.com".into()));
    assert_eq!(verdict["media_id"], media_id("https://example.com/d/a.pdf"));
}

#[test]
fn every_looking_command_shows_an_example_in_its_help() {
    for args in [
        &["status"] as &[&str],
        &["lag"],
        &["inventory"],
        &["reconcile"],
        &["check-url"],
        &["dlq"],
        &["dlq", "ls"],
        &["dlq", "show"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_longshore")).args(args).arg("--help").output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert!(stdout(&output).contains("Example"), "{args:?}");
    }
}

#[test]
fn a_directory_that_holds_nothing_is_an_error_with_a_remedy() {
    let lake = Lake::new();
    for args in [&["status"] as &[&str], &["inventory"], &["reconcile"], &["dlq", "ls"], &["dlq", "show", "0"]] {
        let output = lake.run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(stderr(&output).contains("--to"), "{args:?}: {output:?}");
    }
}

#[test]
fn what_a_fetch_left_can_be_looked_at() {
    let (lake, server) = (Lake::new(), serve());
    let urls = ["ok/1.txt", "ok/22.txt", "gone?token=secret"].map(|path| format!("{server}/{path}"));
    lake.fetch(&[urls.to_vec(), vec!["{\"url\": 5".to_owned()]].concat());
    look_at_status(&lake);
    look_at_inventory(&lake, &urls);
    look_at_dead_letters(&lake, &urls[2]);
}

fn look_at_status(lake: &Lake) {
    let status = lake.json(&["status", "--json"]);
    assert_eq!(status["running"], false);
    assert_eq!(status["dead_letters"], 2);
    let stages = status["stages"].as_array().unwrap();
    let stage = |name: &str| stages.iter().find(|s| s["stage"] == name).unwrap_or_else(|| panic!("{name}: {status}"));
    for (name, end) in [("ingest", 4), ("download", 3), ("record attachments", 2), ("record failed", 2), ("record events", 4)] {
        let stage = stage(name);
        assert_eq!((&stage["end"], &stage["committed"], &stage["waiting"]), (&end.into(), &end.into(), &0.into()), "{name}");
        assert!(stage["oldest_ms"].is_null());
    }
    let rows: Vec<_> = status["tables"].as_array().unwrap().iter().map(|table| table["rows"].as_u64().unwrap()).collect();
    assert_eq!(rows, [2, 1, 3]);
    assert!(status["tables"].as_array().unwrap().iter().all(|table| table["committed_at"].is_string()));
    let text = stdout(&lake.run(&["status"]));
    assert!(text.contains("record attachments") && text.contains("nothing runs on it"), "{text}");
}

fn look_at_inventory(lake: &Lake, urls: &[String; 3]) {
    let rows =
        lake.rows(&["--where", "blob_path~/ok/22", "--where", "bytes_downloaded>0", "--where", "downloaded_at>2020-01-01"]);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["media_id"], media_id(&urls[1]));
    assert_eq!(rows[0]["bytes_downloaded"], "the file /ok/22.txt\n".len());
    assert_eq!(lake.rows(&["--columns", "sha256,attempts", "--limit", "1"])[0].as_object().unwrap().len(), 2);
    assert_eq!(lake.rows(&["--table", "events"])[0]["media_ids"].as_array().unwrap().len(), 1);
    assert!(lake.rows(&["--where", "file_type=PDF"]).is_empty());
    for (args, count) in [(&["--count"] as &[&str], "2\n"), (&["--count", "--where", "blob_path~22"], "1\n")] {
        assert_eq!(stdout(&lake.run(&[&["inventory"], args].concat())), count);
    }
    let text = stdout(&lake.run(&["inventory", "--table", "failed"]));
    assert!(text.contains("permanent") && !text.contains("secret"), "{text}");
    assert_eq!(stdout(&lake.run(&["inventory", "--limit", "0", "--columns", "attempts"])), "attempts\n1\n1\n");
    for wrong in [&["--where", "size>1"] as &[&str], &["--columns", "size"], &["--table", "rows"], &["--where", "attempts=x"]] {
        let output = lake.run(&[&["inventory"], wrong].concat());
        assert_eq!(output.status.code(), Some(2));
        let known = if wrong[1].starts_with("size") { "bytes_downloaded" } else { wrong[1] };
        assert!(stderr(&output).contains(known), "{output:?}");
    }
}

fn look_at_dead_letters(lake: &Lake, gone: &str) {
    let list = |args: &[&str]| -> Vec<Value> {
        let output = lake.run(&[&["dlq", "ls", "--json"], args].concat());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(!stdout(&output).contains("secret"), "{output:?}");
        stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    assert_eq!(list(&[]).len(), 2);
    let permanent = list(&["--class", "permanent", "--host", "127.0.0.1", "--newer", "1h"]);
    assert_eq!(permanent.len(), 1);
    assert_eq!((&permanent[0]["http_status"], &permanent[0]["reason"]), (&404.into(), &"http_status".into()));
    assert!(list(&["--host", "*.example.com"]).is_empty() && list(&["--older", "1h"]).is_empty());
    assert_eq!(list(&["--limit", "1"])[0]["offset"], 1, "the latest");
    let id = permanent[0]["media_id"].as_str().unwrap();
    assert_eq!(id, media_id(gone));
    let shown = lake.json(&["dlq", "show", id, "--json"]);
    assert_eq!((&shown["error"]["http_status"], &shown["task"]["attempts"]), (&404.into(), &1.into()));
    assert!(!shown.to_string().contains("secret"), "{shown}");
    let poison = list(&["--class", "poison"])[0]["offset"].to_string();
    let shown = lake.json(&["dlq", "show", &poison, "--json"]);
    assert_eq!((&shown["original"]["text"], &shown["original"]["bytes"]), (&"{\"url\": 5".into(), &9.into()));
    for unknown in ["99", "00000000-0000-0000-0000-000000000000", "what"] {
        let output = lake.run(&["dlq", "show", unknown]);
        assert_eq!(output.status.code(), Some(if unknown == "what" { 2 } else { 1 }));
        assert!(stderr(&output).contains(unknown), "{output:?}");
    }
}
