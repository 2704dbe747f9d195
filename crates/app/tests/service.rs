//! `run` and `send` as a user meets them: the real binary, a local origin, and what the tables say afterwards.

#![allow(clippy::unwrap_used)]

mod batch;
mod service_running;

use std::io::Write;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use batch::{origin, signal, until, wait};
use longshore::demo::origin::Origin;
use rustix::process::Signal;
use service_running::{CLAIMS_AND_OTHERS, Service, URLS};

fn event(kind: &str, id: usize, url: &str) -> String {
    serde_json::json!({ "id": format!("{kind}-{id}"), "kind": kind, "files": [url] }).to_string()
}

fn sorted(mut urls: Vec<String>) -> Vec<String> {
    urls.sort_unstable();
    urls
}

#[test]
fn two_sources_share_a_topic_and_each_event_ends_in_the_tables_of_its_own() {
    let (origin, service) = (origin(), Service::new(CLAIMS_AND_OTHERS, ""));
    let running = service.start(&[]);
    let claims: Vec<String> = (0..20).map(|n| origin.url(&format!("/good/claim-{n}.pdf"))).collect();
    let others: Vec<String> = (0..30).map(|n| origin.url(&format!("/good/other-{n}.pdf"))).collect();
    let mut events: Vec<String> = claims.iter().enumerate().map(|(n, url)| event("claim", n, url)).collect();
    events.extend(others.iter().enumerate().map(|(n, url)| event("photo", n, url)));
    // Half of them by POST, half by send, which finds the log taken and asks the service.
    let (posted, sent): (Vec<_>, Vec<_>) = events.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).unzip();
    let answer = service.post("claims", &posted);
    assert_eq!((answer.status, &answer.body["accepted"]), (202, &posted.len().into()), "{answer:?}");
    let file = service.root.path().join("events.ndjson");
    std::fs::write(&file, format!("{}\n\n{{broken\n", sent.join("\n"))).unwrap();
    let finished = service.finish("send", &[file.to_str().unwrap(), "--source", "others", "--json"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(finished.stdout.contains("over http://127.0.0.1"), "{finished:?}");
    until("all is done", || service.idle() && service.count("others", "failed") <= 1);
    let finished = service.stop(running);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(finished.stderr.contains("source claims reads all.events"), "{finished:?}");
    assert_eq!((service.stored("claims"), service.stored("others")), (sorted(claims), sorted(others)));
    service.reconcile();
    let status = service.finish("status", &[]).stdout;
    assert!(status.lines().any(|line| line.trim_start().starts_with("source ")), "{status}");
}

#[test]
fn sources_are_told_apart_by_a_header_of_the_request_and_of_send() {
    let by_header = CLAIMS_AND_OTHERS.replace("when: {field: kind, equals: claim}", "when: {header: Kind, equals: claim}");
    let (origin, service) = (origin(), Service::new(&by_header, ""));
    let urls: Vec<String> = (0..5).map(|n| origin.url(&format!("/good/{n}.pdf"))).collect();
    let event = |n: usize| event("any", n, &urls[n]);
    let running = service.start(&[]);
    let kind = |kind: &str| format!("Content-Type: application/json\r\n{kind}");
    assert_eq!(service.try_post("others", &kind("kind: claim\r\n"), event(0).as_bytes()).unwrap().status, 202);
    assert_eq!(service.try_post("claims", &kind("kind: photo\r\n"), event(1).as_bytes()).unwrap().status, 202);
    assert_eq!(service.try_post("claims", &kind(""), event(2).as_bytes()).unwrap().status, 202);
    let file = service.root.path().join("events.ndjson");
    std::fs::write(&file, event(3)).unwrap();
    let send = ["send", file.to_str().unwrap(), "--source", "claims", "--header", "kind: claim"];
    assert_eq!(service.finish(send[0], &send[1..]).code, Some(0));
    until("all is done", || service.idle());
    assert_eq!(service.stop(running).code, Some(0));
    std::fs::write(&file, event(4)).unwrap();
    assert_eq!(service.finish(send[0], &send[1..]).code, Some(0), "into the log itself");
    let running = service.start(&[]);
    until("all is done", || service.count("claims", "attachments") == 3);
    assert_eq!(service.stop(running).code, Some(0));
    let of = |numbers: &[usize]| sorted(numbers.iter().map(|n| urls[*n].clone()).collect());
    assert_eq!((service.stored("claims"), service.stored("others")), (of(&[0, 3, 4]), of(&[1, 2])));
    service.reconcile();
}

#[test]
fn only_one_process_has_the_log_and_the_other_names_it() {
    let service = Service::new(URLS, "");
    let running = service.start(&[]);
    let second = service.finish("run", &[]);
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.stderr.contains(&format!("process {}", running.id())), "{second:?}");
    assert_eq!(service.stop(running).code, Some(0));
    let taken = std::net::TcpListener::bind(("127.0.0.1", service.port)).unwrap();
    let deaf = service.finish("run", &[]);
    assert!(deaf.code == Some(1) && deaf.stderr.contains("http.listen"), "{deaf:?}");
    drop(taken);
}

#[test]
fn senders_wait_while_nobody_reads_and_what_was_taken_is_done_later() {
    let (origin, service) = (origin(), Service::new(URLS, "max_backlog: 10"));
    let running = service.start(&["--role", "record"]);
    let urls: Vec<String> = (0..12).map(|n| origin.url(&format!("/good/{n}.txt"))).collect();
    assert_eq!(service.post("urls", &urls[..10]).status, 202);
    let late = service.post("urls", &urls[10..11]);
    assert!(late.status == 429 && late.head.to_lowercase().contains("retry-after: 1"), "{late:?}");
    let stopped = service.stop(running);
    assert!(stopped.stderr.contains("warning: ingest, download, retry will not run"), "{stopped:?}");
    // Nobody has the log now: send writes to it itself.
    let list = service.root.path().join("list.txt");
    std::fs::write(&list, urls[11..].join("\n")).unwrap();
    let sent = service.finish("send", &[list.to_str().unwrap()]);
    assert!(sent.code == Some(0) && sent.stdout.contains("into the log"), "{sent:?}");
    let running = service.start(&[]);
    until("all is done", || service.idle());
    assert_eq!(service.stop(running).code, Some(0));
    let expected: Vec<String> = urls[..10].iter().chain(&urls[11..]).cloned().collect();
    assert_eq!(service.stored("urls"), sorted(expected));
    service.reconcile();
}

#[test]
fn what_is_not_taken_is_refused_with_the_reason() {
    let service = Service::new(URLS, "token: 'open-sesame-0123456789'\n  max_body: 64KiB");
    let running = service.start(&[]);
    let (lines, token) = ("Content-Type: text/plain\r\n", "Authorization: Bearer open-sesame-0123456789\r\n");
    let status = |source: &str, headers: &str, body: &[u8]| service.try_post(source, headers, body).unwrap().status;
    assert_eq!(status("urls", lines, b"https://127.0.0.1/1"), 401);
    assert_eq!(status("urls", &format!("{lines}Authorization: Bearer open-sesame-012345678\r\n"), b"x"), 401);
    assert_eq!(status("nobody", &format!("{lines}{token}"), b"x"), 404);
    assert_eq!(status("urls", &format!("Content-Type: text/html\r\n{token}"), b"x"), 415);
    let large = service.try_post("urls", &format!("{lines}{token}"), &vec![b'x'; 1 << 20]).unwrap();
    assert!(large.status == 413 && large.body["error"].as_str().unwrap().contains("http.max_body"), "{large:?}");
    // The token of the configuration opens for send.
    let list = service.root.path().join("list.txt");
    std::fs::write(&list, "https://127.0.0.1:1/x\n").unwrap();
    let sent = service.finish("send", &[list.to_str().unwrap()]);
    assert_eq!(sent.code, Some(0), "{sent:?}");
    let stopped = service.stop(running);
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    assert!(!format!("{stopped:?}{sent:?}").contains("sesame"), "{stopped:?}");
}

/// Posts one event after the other from several threads until told to stop; returns the URLs that were accepted.
fn post_until(service: &Service, origin: &Origin, stop: &AtomicBool) -> Vec<String> {
    let one = |thread: usize| {
        let mut accepted = Vec::new();
        for n in 0.. {
            let urls: Vec<String> = (0..4).map(|k| origin.url(&format!("/good/{thread}-{n}-{k}.txt"))).collect();
            let answer = service.try_post("urls", "Content-Type: text/plain\r\n", urls.join("\n").as_bytes());
            if answer.is_some_and(|answer| answer.status == 202) {
                accepted.extend(urls);
            }
            if stop.load(SeqCst) || n == 2_000 {
                break;
            }
        }
        accepted
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|thread| scope.spawn(move || one(thread))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn what_was_accepted_survives_a_kill() {
    let (origin, service) = (origin(), Service::new(URLS, ""));
    let mut accepted = Vec::new();
    for _ in 0..3 {
        let (mut running, stop) = (service.start(&[]), AtomicBool::new(false));
        accepted.extend(std::thread::scope(|scope| {
            let posting = scope.spawn(|| post_until(&service, &origin, &stop));
            std::thread::sleep(Duration::from_millis(300));
            running.kill().unwrap();
            running.wait().unwrap();
            stop.store(true, SeqCst);
            posting.join().unwrap()
        }));
    }
    assert!(accepted.len() > 20, "hardly anything was accepted: {}", accepted.len());
    let running = service.start(&[]);
    until("all is done", || service.idle());
    assert_eq!(service.stop(running).code, Some(0));
    let stored = service.stored("urls");
    accepted.sort_unstable();
    accepted.dedup();
    let lost: Vec<_> = accepted.iter().filter(|url| stored.binary_search(url).is_err()).collect();
    assert!(lost.is_empty(), "{} of {} lost: {lost:?}", lost.len(), accepted.len());
    assert!(stored.windows(2).all(|pair| pair[0] != pair[1]), "a row twice");
    service.reconcile();
}

#[test]
fn a_stop_under_load_loses_and_doubles_nothing() {
    let (origin, service) = (origin(), Service::new(URLS, ""));
    let (running, stop) = (service.start(&[]), AtomicBool::new(false));
    let mut slow: Vec<String> = (0..20).map(|n| origin.url(&format!("/slow-500/{n}.txt"))).collect();
    assert_eq!(service.post("urls", &slow).status, 202);
    let (finished, mut accepted) = std::thread::scope(|scope| {
        let posting = scope.spawn(|| post_until(&service, &origin, &stop));
        std::thread::sleep(Duration::from_millis(400));
        let finished = service.stop(running);
        stop.store(true, SeqCst);
        (finished, posting.join().unwrap())
    });
    assert_eq!(finished.code, Some(0), "{finished:?}");
    // What was under way was recorded before the end.
    assert!(service.count("urls", "attachments") > 0);
    assert_eq!(service.waiting("record attachments"), 0);
    service.reconcile();
    let running = service.start(&[]);
    until("all is done", || service.idle());
    assert_eq!(service.stop(running).code, Some(0));
    accepted.append(&mut slow);
    assert_eq!(service.stored("urls"), sorted(accepted));
    service.reconcile();
}

#[test]
fn a_sender_outlives_the_service() {
    let (origin, service) = (origin(), Service::new(URLS, ""));
    let running = service.start(&[]);
    let mut sending = service.command("send", &["-"]);
    let mut sending = sending.stdin(Stdio::piped()).spawn().unwrap();
    let mut lines = sending.stdin.take().unwrap();
    let urls: Vec<String> = (0..3).map(|n| origin.url(&format!("/good/{n}.txt"))).collect();
    writeln!(lines, "{}", urls[0]).unwrap();
    until("the first has got through", || service.count("urls", "attachments") == 1);
    assert_eq!(service.stop(running).code, Some(0));
    writeln!(lines, "{}\n{}", urls[1], urls[2]).unwrap();
    drop(lines);
    let sent = wait(sending);
    assert!(sent.code == Some(0) && sent.stdout.contains("3 events sent"), "{sent:?}");
    let running = service.start(&[]);
    until("all is done", || service.idle());
    assert_eq!(service.stop(running).code, Some(0));
    assert_eq!(service.stored("urls"), sorted(urls));
    service.reconcile();
}

#[test]
fn cloud_events_come_in_every_way_of_the_standard() {
    let sources = URLS.replace("name: urls", "name: cloud").replace("preset: urls", "preset: cloudevents");
    let (origin, service) = (origin(), Service::new(&sources, ""));
    let running = service.start(&[]);
    let url = |name: &str| origin.url(&format!("/good/{name}.txt"));
    let whole = |id: &str| {
        let data = serde_json::json!({ "url": url(id) });
        serde_json::json!({ "specversion": "1.0", "id": id, "source": "/s", "type": "t", "data": data }).to_string()
    };
    let post = |headers: &str, body: String| service.try_post("cloud", headers, body.as_bytes()).unwrap();
    let structured = post("Content-Type: application/cloudevents+json; charset=utf-8\r\n", whole("structured"));
    assert_eq!(structured.body["accepted"], 1, "{structured:?}");
    let batch = format!("[{}, {}]", whole("one"), whole("two"));
    assert_eq!(post("Content-Type: application/cloudevents-batch+json\r\n", batch).body["accepted"], 2);
    let attributes = "ce-specversion: 1.0\r\nce-id: binary\r\nce-source: /s\r\nce-type: t\r\nContent-Type: application/json\r\n";
    assert_eq!(post(attributes, serde_json::json!({ "url": url("binary") }).to_string()).body["accepted"], 1);
    until("all is done", || service.idle() && service.count("cloud", "attachments") == 4);
    assert_eq!(service.stop(running).code, Some(0));
    assert_eq!(service.stored("cloud"), sorted(["structured", "one", "two", "binary"].map(url).into()));
    service.reconcile();
}

#[test]
fn dead_letters_are_replayed_by_the_service_that_has_the_log() {
    let (origin, service) = (origin(), Service::new(&URLS.replace("retry: [200ms, 400ms]", "retry: []"), ""));
    let running = service.start(&[]);
    let urls: Vec<String> = (0..5).map(|n| origin.url(&format!("/fails-1/{n}.txt"))).collect();
    assert_eq!(service.post("urls", &urls).status, 202);
    until("all have failed once", || service.idle() && service.count("urls", "failed") == 5);
    let replayed = service.finish("dlq", &["replay", "--all"]);
    assert!(replayed.code == Some(0) && replayed.stdout.contains("Replayed 5"), "{replayed:?}");
    until("all are stored", || service.idle() && service.count("urls", "attachments") == 5);
    let again = service.finish("dlq", &["replay", "--all"]);
    assert!(again.code == Some(0) && again.stdout.contains("Replayed 0"), "{again:?}");
    assert_eq!(service.stop(running).code, Some(0));
    assert_eq!(service.stored("urls"), sorted(urls));
    service.reconcile();
}

#[test]
fn a_second_signal_stops_at_once() {
    let (origin, service) = (origin(), Service::new(URLS, ""));
    let running = service.start(&[]);
    assert_eq!(service.post("urls", &[origin.url("/endless/a.txt")]).status, 202);
    until("it is being downloaded", || !origin.requests("/endless/a.txt").is_empty());
    let begun = Instant::now();
    signal(&running, Signal::TERM);
    until("it is stopping", || service.try_post("urls", "Content-Type: text/plain\r\n", b"x").is_some_and(|a| a.status == 503));
    signal(&running, Signal::TERM);
    let finished = wait(running);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(begun.elapsed() < Duration::from_secs(8), "it waited for the download");
    service.reconcile();
}

#[test]
fn a_wrong_configuration_is_said_whole() {
    let service = Service::new("\nsources:\n  - name: urls\n    preset: url\n    allow_hostss: [a]\n", "");
    for command in ["run", "send", "status"] {
        let args: &[&str] = if command == "send" { &["-"] } else { &[] };
        let finished = service.finish(command, args);
        assert_eq!(finished.code, Some(78), "{command}: {finished:?}");
        assert!(finished.stderr.contains("preset") && finished.stderr.contains("allow_hosts"), "{command}: {finished:?}");
    }
}
