//! What is seen of a running service: its metrics against its inventory, its health in real faults, its lines, its lag.

#![allow(clippy::unwrap_used)]

mod batch;
mod endpoint;
mod exposition;
mod service_running;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use batch::{origin, until};
use endpoint::{Endpoint, Reply};
use exposition::Exposition;
use longshore::demo::origin::Origin;
use longshore::sight::names::METRICS;
use serde_json::Value;
use service_running::{Service, URLS};

fn scrape(service: &Service) -> Exposition {
    let (head, body) = service.text("/metrics");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("text/plain; version=0.0.4"), "{head}");
    Exposition::read(&body)
}

/// Good, late, missing and forbidden ones; how many of them end in `attachments`, and in `attachments_failed`.
fn mixed(origin: &Origin) -> (Vec<String>, usize, usize) {
    let good = (0..40).map(|n| origin.url(&format!("/good/{n}.pdf")));
    let late = (0..3).map(|n| origin.url(&format!("/fails-1/{n}.txt")));
    let missing = (0..4).map(|n| origin.url(&format!("/missing/{n}.pdf")));
    let elsewhere = (0..2).map(|n| origin.url(&format!("/redirect-forbidden/{n}.pdf")));
    let forbidden = (0..5).map(|n| format!("https://claims-{n}.example.com/secret/{n}.pdf"));
    (good.chain(late).chain(missing).chain(elsewhere).chain(forbidden).collect(), 43, 11)
}

#[test]
fn the_numbers_are_those_of_the_inventory_and_no_label_names_anybody() {
    let (origin, service) = (origin(), Service::new(URLS, ""));
    let running = service.start(&[]);
    let (urls, stored, failed) = mixed(&origin);
    assert_eq!(service.post("urls", &urls).status, 202);
    let counts = |table: &str| service.count("urls", table);
    until("all is done", || service.idle() && counts("attachments") == stored && counts("failed") == failed);
    until("the lag was sampled since", || lag(&scrape(&service)) == Some(0.0));
    let seen = scrape(&service);
    let events = counts("events");
    check_inventory(&seen, &service, [stored, failed, events]);
    let sent = |topic: &str| {
        seen.sum("messaging_client_sent_messages_total", &[("messaging_destination_name", topic), ("error_type", "")])
    };
    assert_eq!(sent("urls.events.raw"), urls.len() as f64);
    assert_eq!((sent("urls.downloads.results"), sent("urls.downloads.dlq")), (stored as f64, failed as f64));
    let group = [("messaging_consumer_group_name", "urls.ingest")];
    assert_eq!(seen.sum("messaging_client_consumed_messages_total", &group), urls.len() as f64);
    // Each request to the origin is an attempt: none of them was redirected to a place that we may ask.
    let answered =
        |status: &str| seen.sum("http_client_request_duration_seconds_count", &[("http_response_status_code", status)]);
    assert_eq!([answered("200"), answered("404"), answered("500"), answered("302")], [43.0, 4.0, 3.0, 2.0]);
    assert_eq!(seen.sum("http_client_request_duration_seconds_count", &[]), origin.total_requests() as f64);
    assert_eq!(seen.sum("http_client_active_requests", &[]), 0.0);
    let posts = [("http_route", "/v1/events/{source}"), ("http_request_method", "POST"), ("http_response_status_code", "202")];
    assert_eq!(seen.sum("http_server_request_duration_seconds_count", &posts), 1.0);
    check_process(&seen, running.id());
    check_names(&seen);
    check_labels(&seen, &origin, &service);
    assert_eq!(service.stop(running).code, Some(0));
    service.reconcile();
}

/// The sum of all lags, once there was a sample.
fn lag(seen: &Exposition) -> Option<f64> {
    let sampled = seen.families.contains_key("longshore_consumer_lag_messages");
    sampled.then(|| seen.sum("longshore_consumer_lag_messages", &[]) + seen.sum("longshore_consumer_lag_seconds", &[]))
}

fn check_inventory(seen: &Exposition, service: &Service, [stored, failed, events]: [usize; 3]) {
    let number = |name: &str, labels: &[(&str, &str)]| seen.sum(name, labels) as usize;
    for (table, rows) in [("attachments", stored), ("failed", failed), ("events", events)] {
        assert_eq!(number("longshore_rows_total", &[("table", table)]), rows, "{table}");
        assert!(number("longshore_table_commit_rows_count", &[("table", table)]) > 0, "{table}");
    }
    assert_eq!(number("longshore_events_total", &[("source", "urls")]), events);
    assert_eq!(number("longshore_attachments_total", &[("outcome", "stored")]), stored);
    assert_eq!(number("longshore_attachments_total", &[]), stored + failed);
    assert_eq!(number("longshore_dead_letters_total", &[]), failed);
    let mut classes: BTreeMap<String, usize> = BTreeMap::new();
    for row in service.rows("urls", "failed") {
        *classes.entry(row["status"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    assert!(classes.len() > 1, "{classes:?}");
    for (class, count) in classes {
        assert_eq!(number("longshore_attachments_total", &[("outcome", &class)]), count, "{class}");
    }
    assert_eq!(number("longshore_retries_total", &[]), 3);
    let bytes: u64 = service.rows("urls", "attachments").iter().map(|row| row["bytes_downloaded"].as_u64().unwrap()).sum();
    assert_eq!(seen.sum("longshore_stored_bytes_total", &[]), bytes as f64);
    let status: Value = serde_json::from_str(&service.finish("status", &["--json"]).stdout).unwrap();
    for table in status["tables"].as_array().unwrap() {
        let version = seen.sum("longshore_table_version", &[("table", table["table"].as_str().unwrap())]);
        assert_eq!(version, table["version"].as_f64().unwrap(), "{table}");
    }
}

fn check_process(seen: &Exposition, pid: u32) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap().trim().trim_end_matches(" kB");
    let (shown, is) = (seen.sum("process_resident_memory_bytes", &[]), resident.parse::<f64>().unwrap() * 1024.0);
    assert!((shown - is).abs() < is / 2.0, "{shown} and {is}");
    assert!(seen.sum("process_cpu_seconds_total", &[]) > 0.0 && seen.sum("process_open_fds", &[]) > 5.0);
    assert_eq!(seen.sum("longshore_ready", &[]), 1.0);
}

/// Everything that is documented is exported, with these kinds and labels, and nothing else.
fn check_names(seen: &Exposition) {
    let exported = seen.families.iter().map(|(name, (kind, help))| (name.clone(), kind.clone(), help.clone()));
    let known = METRICS.iter().map(|metric| (metric.name.to_owned(), metric.kind.as_str().to_owned(), metric.help()));
    assert_eq!(exported.collect::<BTreeSet<_>>(), known.collect());
    for (name, labels) in seen.labels() {
        let known = METRICS.iter().find(|metric| metric.name == name).unwrap();
        assert_eq!(labels, known.labels.iter().map(|label| (*label).to_owned()).collect(), "{name}");
    }
}

fn check_labels(seen: &Exposition, origin: &Origin, service: &Service) {
    let rows = service.rows("urls", "attachments").into_iter().chain(service.rows("urls", "failed"));
    let ids: BTreeSet<String> = rows.map(|row| row["media_id"].as_str().unwrap().to_owned()).collect();
    assert!(ids.len() > 50);
    let port = origin.address().port().to_string();
    for sample in &seen.samples {
        for value in sample.labels.values() {
            let names = [&port, "127.0.0.1", "example.com", "://", ".pdf", ".txt", "secret", "localhost"]
                .iter()
                .any(|no| value.contains(*no));
            assert!(!names && !ids.iter().any(|id| value.contains(id)), "{sample:?}");
        }
    }
}

/// The state of readiness, with the parts that are to blame.
fn readiness(service: &Service) -> (u16, Vec<String>) {
    let answer = service.get("/health/ready").unwrap();
    let reasons = answer.body["reasons"].as_array().cloned().unwrap_or_default();
    assert_eq!(answer.body["status"], if answer.status == 200 { "ready" } else { "not ready" }, "{answer:?}");
    for reason in &reasons {
        assert!(reason["since"].as_str().unwrap().ends_with('Z') && !reason["what"].as_str().unwrap().is_empty(), "{reason}");
    }
    (answer.status, reasons.iter().map(|reason| reason["part"].as_str().unwrap().to_owned()).collect())
}

#[test]
fn a_stalled_origin_turns_readiness_off_until_something_is_done() {
    let (origin, service) = (origin(), Service::new(URLS, "stalled_after: 1s"));
    let running = service.start(&[]);
    let urls: Vec<String> = (0..3).map(|n| origin.url(&format!("/slow-6000/{n}.txt"))).collect();
    assert_eq!(service.post("urls", &urls).status, 202);
    until("work waits and nothing is done", || readiness(&service) == (503, vec!["work".to_owned()]));
    assert_eq!(scrape(&service).sum("longshore_ready", &[]), 0.0);
    assert_eq!(service.get("/health/live").unwrap().status, 200, "to start it anew would not help");
    until("the files arrive", || readiness(&service) == (200, Vec::new()));
    until("all is done", || service.idle() && service.count("urls", "attachments") == 3);
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(readiness(&service).0, 200, "nothing waits");
    assert_eq!(service.stop(running).code, Some(0));
    service.reconcile();
}

#[test]
fn a_retry_that_waits_for_its_time_is_no_stall() {
    let sources = URLS.replace("[200ms, 400ms]", "[6s]");
    let (origin, service) = (origin(), Service::new(&sources, "stalled_after: 1s"));
    let running = service.start(&[]);
    assert_eq!(service.post("urls", &[origin.url("/fails-1/a.txt")]).status, 202);
    until("the first attempt has failed", || service.waiting("retry 6s") == 1);
    let begun = Instant::now();
    while service.count("urls", "attachments") == 0 {
        assert_eq!(readiness(&service), (200, Vec::new()));
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(begun.elapsed() > Duration::from_secs(3), "the retry was waited for");
    assert_eq!(service.stop(running).code, Some(0));
}

#[test]
fn a_host_that_said_wait_is_no_stall() {
    let asked = Arc::new(Mutex::new(None));
    let first = asked.clone();
    let endpoint = Endpoint::start(move |_| match *first.lock().unwrap().get_or_insert_with(Instant::now) {
        at if at.elapsed() < Duration::from_secs(5) => Reply::status(429).header("Retry-After", "6"),
        _ => Reply::text("here it is"),
    });
    let service = Service::new(URLS, "stalled_after: 1s");
    let running = service.start(&[]);
    let urls: Vec<String> = (0..5).map(|n| endpoint.url(&format!("/{n}.txt"))).collect();
    assert_eq!(service.post("urls", &urls).status, 202);
    let begun = Instant::now();
    while service.count("urls", "attachments") < urls.len() {
        assert_eq!(readiness(&service), (200, Vec::new()));
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(begun.elapsed() > Duration::from_secs(3), "the host was waited for");
    assert!(scrape(&service).sum("longshore_waits_total", &[]) >= 1.0);
    assert_eq!(service.stop(running).code, Some(0));
}

#[test]
fn a_table_that_cannot_be_written_turns_readiness_off_and_every_line_said_is_json() {
    let (origin, service) = (origin(), Service::new(URLS, ""));
    let said = service.root.path().join("said.log");
    let mut command = service.command("run", &["--log-format", "json"]);
    command.stderr(fs::File::create(&said).unwrap());
    let running = service.started(command);
    assert_eq!(readiness(&service), (200, Vec::new()));
    let log = service.root.path().join("lake/tables/urls_attachments/_delta_log");
    let aside = service.root.path().join("aside");
    fs::rename(&log, &aside).unwrap();
    // A loop, which the service takes for a fault that may pass: it does not say who has to mend it.
    std::os::unix::fs::symlink(&log, &log).unwrap();
    let urls: Vec<String> = (0..5).map(|n| origin.url(&format!("/good/{n}.pdf"))).collect();
    assert_eq!(service.post("urls", &urls).status, 202);
    until("the table is blamed", || readiness(&service) == (503, vec!["table".to_owned()]));
    assert!(scrape(&service).sum("longshore_table_commit_duration_seconds_count", &[("error_type", "unavailable")]) > 0.0);
    fs::remove_file(&log).unwrap();
    fs::rename(&aside, &log).unwrap();
    until("it is written again", || readiness(&service) == (200, Vec::new()));
    until("all is done", || service.idle() && service.count("urls", "attachments") == 5);
    assert_eq!(service.stop(running).code, Some(0));
    service.reconcile();
    check_lines(&fs::read_to_string(&said).unwrap());
}

fn check_lines(said: &str) {
    let read = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    let lines: Vec<Value> = said.lines().map(read).collect();
    for line in &lines {
        for key in ["timestamp", "level", "target", "message"] {
            assert!(line[key].is_string(), "{key}: {line}");
        }
        assert!(line.get("fields").is_none(), "{line}");
    }
    let told = |text: &str| lines.iter().find(|line| line["message"].as_str().unwrap().contains(text));
    for text in ["runs ingest, download, retry, record", "source urls reads urls.events.raw", "Stopping:", "Stopped: 5 events"] {
        assert_eq!(told(text).unwrap_or_else(|| panic!("{text}: {said}"))["level"], "INFO");
    }
    let again = told("trying again").unwrap();
    assert!(
        again["level"] == "WARN" && again["wait_ms"].is_u64() && again["error"].is_string(),
        "fields stand at the top: {again}"
    );
}

#[test]
fn the_form_of_the_lines_has_a_twin_in_the_environment_and_holds_for_failures_too() {
    let service = Service::new("\nsources:\n  - name: urls\n    preset: url\n", "");
    let mut command = service.command("run", &[]);
    command.env("LONGSHORE_TRACING_FORMAT", "json");
    let finished = batch::finish(command);
    assert_eq!(finished.code, Some(78), "{finished:?}");
    let line: Value = serde_json::from_str(finished.stderr.trim()).unwrap_or_else(|e| panic!("{e}: {finished:?}"));
    assert!(line["level"] == "ERROR" && line["message"].as_str().unwrap().contains("preset"), "{line}");
    let plain = service.finish("run", &[]);
    assert!(plain.stderr.starts_with("error: "), "{plain:?}");
}

#[test]
fn a_quiet_service_says_nothing_in_either_form() {
    let service = Service::new(URLS, "");
    for form in ["text", "json"] {
        let stopped = service.stop(service.start(&["--quiet", "--log-format", form]));
        assert_eq!((stopped.code, stopped.stderr.as_str()), (Some(0), ""), "{form}");
    }
}

#[test]
fn lag_tells_what_waits_where_and_for_how_long() {
    let (origin, service) = (origin(), Service::new(URLS, ""));
    let running = service.start(&["--role", "record"]);
    let urls: Vec<String> = (0..12).map(|n| origin.url(&format!("/good/{n}.txt"))).collect();
    assert_eq!(service.post("urls", &urls).status, 202);
    until("record has read the events", || service.waiting("record events") == 0);
    std::thread::sleep(Duration::from_millis(100));
    let lag: Value = serde_json::from_str(&service.finish("lag", &["--json"]).stdout).unwrap();
    let stages = lag["stages"].as_array().unwrap();
    let of = |name: &str| stages.iter().find(|stage| stage["stage"] == name).unwrap_or_else(|| panic!("{name}: {lag}"));
    let numbers = |stage: &Value| [&stage["committed"], &stage["end"], &stage["waiting"]].map(|n| n.as_u64().unwrap());
    assert_eq!((numbers(of("ingest")), numbers(of("record events"))), ([0, 12, 12], [12, 12, 0]));
    assert_eq!((&of("ingest")["topic"], &of("ingest")["partition"]), (&"urls.events.raw".into(), &0.into()));
    assert!(of("ingest")["seconds"].as_f64().unwrap() >= 0.1 && of("record events")["seconds"].is_null(), "{lag}");
    assert_eq!((&lag["total"]["waiting"], &lag["total"]["seconds"]), (&12.into(), &of("ingest")["seconds"]));
    let text = service.finish("lag", &["--source", "urls"]).stdout;
    let row = text.lines().find(|line| line.contains(" ingest ")).unwrap_or_else(|| panic!("{text}"));
    let words: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(words[..7], ["urls", "ingest", "urls.events.raw", "0", "0", "12", "12"], "{text}");
    assert!(text.lines().last().unwrap().starts_with("total: 12 waiting, the oldest for "), "{text}");
    assert_eq!(service.stop(running).code, Some(0));
    let running = service.start(&[]);
    until("all is done", || service.idle());
    assert_eq!(service.stop(running).code, Some(0));
    let text = service.finish("lag", &[]).stdout;
    assert_eq!(text.lines().last(), Some("total: 0 waiting"), "{text}");
}
