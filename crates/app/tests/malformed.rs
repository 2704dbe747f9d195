//! Two thousand events with every malformation that is known: each ends in the place that docs/outcomes.md names.

#![allow(clippy::unwrap_used)]

mod batch;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use batch::{Batch, finish, longshore, origin};
use futures::TryStreamExt;
use longshore::demo::origin::Origin;
use longshore::place::Place;
use longshore_core::format::{self, DeadLetter};
use longshore_core::row::Cell;
use longshore_lake::table::{ExactTable, to_cells};
use longshore_stages::ports::Partition;
use serde_json::{Value, json};

/// How many events.
const EVENTS: usize = 2_000;

/// Where something must end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Stored,
    /// `status` and the beginning of `error_message`.
    Failed(&'static str, &'static str),
}

/// One malformation, or none: the line of an event, and what must become of it.
struct Case {
    line: Vec<u8>,
    /// What the event's attachments become; nothing where the event is poison.
    ends: Option<Vec<(String, End)>>,
    /// What the dead letter of a poison event says.
    says: &'static str,
}

impl Case {
    fn accepted(event: impl Into<Vec<u8>>, ends: Vec<(String, End)>) -> Self {
        Case { line: event.into(), ends: Some(ends), says: "" }
    }

    fn poison(line: impl Into<Vec<u8>>, says: &'static str) -> Self {
        Case { line: line.into(), ends: None, says }
    }
}

/// The events of one round, all different from those of every other round.
struct Round<'a> {
    origin: &'a Origin,
    number: usize,
    made: usize,
}

impl Round<'_> {
    fn trace(&mut self) -> String {
        self.made += 1;
        format!("trace-{}-{}", self.number, self.made)
    }

    fn url(&self, behaviour: &str) -> String {
        self.origin.url(&format!("/{behaviour}/{}-{}.pdf", self.number, self.made))
    }

    fn event(&mut self) -> Value {
        let trace = self.trace();
        json!({
            "type": "verisk.claims.property.xn.estimatePackageReceived",
            "version": 1,
            "utcDateTime": format!("2026-11-23T19:45:32.{:06}+00:00", self.made),
            "traceId": trace,
            "eventId": null,
            "data": { "assignmentId": format!("A-{}", self.number), "estimateVersion": "2" },
        })
    }

    /// An event with one good file, changed.
    fn good(&mut self, change: impl Fn(&mut Value)) -> Case {
        let mut event = self.event();
        let url = self.url("good");
        event["data"]["attachments"] = json!([url]);
        change(&mut event);
        Case::accepted(event.to_string(), vec![(url, End::Stored)])
    }

    /// An event with these entries in its list, of which these ends come.
    fn list(&mut self, attachments: Value, ends: Vec<(String, End)>) -> Case {
        let mut event = self.event();
        event["data"]["attachments"] = attachments;
        Case::accepted(event.to_string(), ends)
    }

    /// An event whose only URL fails.
    fn fails(&mut self, url: String, status: &'static str, reason: &'static str) -> Case {
        self.list(json!([url]), vec![(url, End::Failed(status, reason))])
    }

    /// An event with one good file, changed so that nobody can decode it.
    fn broken(&mut self, says: &'static str, change: impl Fn(&mut Value)) -> Case {
        let good = self.good(change);
        Case::poison(good.line, says)
    }

    fn cases(&mut self) -> Vec<Case> {
        let mut cases = self.oddities();
        cases.extend(self.refused());
        cases.extend(self.undecodable());
        cases
    }

    /// What producers really send, and what must be accepted all the same.
    fn oddities(&mut self) -> Vec<Case> {
        let number = self.number;
        let mut cases = vec![
            self.good(|_| {}),
            self.good(|event| event["data"] = event["data"].to_string().into()),
            self.good(|event| event["utcDateTime"] = "2026-11-23 19:45:32".into()),
            self.good(|event| event["utcDateTime"] = "the other day".into()),
            self.good(|event| event["utcDateTime"] = "9999-12-31T23:59:59Z".into()),
            self.good(|event| event["utcDateTime"] = "0001-01-01T00:00:00Z".into()),
            self.good(|event| event["utcDateTime"] = 5.into()),
            self.good(|event| drop(event.as_object_mut().unwrap().remove("utcDateTime"))),
            self.good(|event| drop(event.as_object_mut().unwrap().remove("version"))),
            self.good(|event| event["version"] = "2.0".into()),
            self.good(move |event| event["traceId"] = (9_000_000_000_000_000_u64 + number as u64).into()),
            self.good(|event| {
                let id = event.as_object_mut().unwrap().remove("traceId").unwrap();
                event["trace_id"] = format!(" {} ", id.as_str().unwrap()).into();
            }),
            self.good(|event| event["data"]["assignmentId"] = 77.into()),
            self.good(|event| event["data"]["assignmentId"] = Value::Null),
            self.good(|event| event["data"]["assignmentId"] = "../../etc".into()),
            self.good(|event| event["type"] = " firstNoticeOfLossReceived ".into()),
            self.good(|event| event["type"] = "a.b.".into()),
            self.good(|event| event["data"]["note"] = "line\nbreak \u{0} and nul".into()),
            self.good(|event| event["data"]["contact"] = json!([1, {"type": "x"}])),
            self.list(json!(null), vec![]),
            self.list(json!([]), vec![]),
            self.list(json!([null, "", "  "]), vec![]),
            self.list(json!("https://not-a-list.example/"), vec![]),
            self.list(json!({"0": "https://not-a-list.example/"}), vec![]),
        ];
        let mut without_data = self.event();
        without_data["data"] = Value::Null;
        cases.push(Case::accepted(without_data.to_string(), vec![]));
        let mut text_null = self.event();
        text_null["data"] = "null".into();
        cases.push(Case::accepted(text_null.to_string(), vec![]));
        self.made += 1;
        let twice = self.url("good");
        cases.push(self.list(json!([twice, twice, format!(" {twice} ")]), vec![(twice.clone(), End::Stored)]));
        self.made += 1;
        let (good, odd) = (self.url("good"), json!({"id": number, "href": "x"}));
        let ends = vec![
            (good.clone(), End::Stored),
            (number.to_string(), End::Failed("rejected", "invalid_url")),
            (odd.to_string(), End::Failed("rejected", "invalid_url")),
        ];
        cases.push(self.list(json!([number, odd, good, null]), ends));
        cases
    }

    /// What must not be fetched, and what fails.
    fn refused(&mut self) -> Vec<Case> {
        let (n, port) = (self.number, self.origin.canary().port());
        let mut cases = Vec::new();
        for (url, reason) in [
            (format!("http://169.254.169.254/latest/{n}.pdf"), "forbidden_address"),
            (format!("http://127.0.0.2:{port}/{n}.pdf"), "forbidden_address"),
            (format!("http://[::ffff:127.0.0.2]:{port}/{n}.pdf"), "forbidden_address"),
            (format!("ftp://files.example/{n}.pdf"), "scheme"),
            (format!("see attachment {n}"), "invalid_url"),
            (format!("https://h.example/{n}.pdf\u{0}"), "invalid_url"),
            (format!("https://h.example/{n}.exe"), "file_type"),
        ] {
            cases.push(self.fails(url, "rejected", reason));
        }
        for (behaviour, status, reason) in [
            ("missing", "permanent", "http_status"),
            ("wrong-type", "permanent", "file_type"),
            ("fails-99", "transient", "http_status"),
            ("short", "transient", "wrong_length"),
            ("redirect-forbidden", "rejected", "redirect"),
        ] {
            self.made += 1;
            let url = self.url(behaviour);
            cases.push(self.fails(url, status, reason));
        }
        self.made += 1;
        let signature = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=K&X-Amz-Date=20200101T000000Z&X-Amz-Expires=60\
                         &X-Amz-SignedHeaders=host&X-Amz-Signature=REDACTED";
        let expired = format!("{}?{signature}", self.url("good"));
        cases.push(self.fails(expired.replace("Credential=K", "Credential=REDACTED"), "permanent", "expired"));
        cases
    }

    /// What is no event.
    fn undecodable(&mut self) -> Vec<Case> {
        let number = self.number;
        let mut cases = vec![
            self.broken("`type`", |event| event["type"] = "  ".into()),
            self.broken("`type`", |event| event["type"] = 7.into()),
            self.broken("`traceId`", |event| event["traceId"] = "".into()),
            self.broken("`traceId`", |event| event["traceId"] = json!([])),
            self.broken("`data`", |event| event["data"] = 5.into()),
            self.broken("`data`", |event| event["data"] = json!([1])),
            self.broken("`data`", |event| event["data"] = "{\"attachments\": [".into()),
            self.broken("`data`", |event| event["data"] = "".into()),
            self.broken("`version`", |event| event["version"] = json!({"major": 1})),
        ];
        let whole = self.good(|_| {}).line;
        cases.push(Case::poison(&whole[..whole.len() - 9], "line 1"));
        let mut twice = whole.clone();
        twice.splice(1..1, format!("\"traceId\":\"other-{number}\",").into_bytes());
        cases.push(Case::poison(twice, "traceId"));
        let mut not_text = whole.clone();
        not_text.splice(1..1, [b'"', 0xff, 0xfe, b'"', b':', b'1', b',']);
        cases.push(Case::poison(not_text, "UTF-8"));
        let mut nul = whole.clone();
        nul.insert(1, 0);
        cases.push(Case::poison(nul, "line 1"));
        cases.push(Case::poison(format!("[\"{number}\"]"), "not a JSON object"));
        cases.push(Case::poison(format!("https://h.example/{number}.pdf"), "not a JSON object"));
        cases.push(Case::poison(nested(number), "nested deeper"));
        cases
    }
}

/// An event that is nested 10,000 levels deep.
fn nested(number: usize) -> Vec<u8> {
    let mut line = format!("{{\"type\":\"t\",\"traceId\":\"deep-{number}\",\"x\":").into_bytes();
    line.extend(std::iter::repeat_n(b'[', 10_000));
    line.extend(std::iter::repeat_n(b']', 10_000));
    line.push(b'}');
    line
}

fn events(origin: &Origin) -> Vec<Case> {
    let rounds = (0..).flat_map(|number| Round { origin, number, made: 0 }.cases());
    rounds.take(EVENTS).collect()
}

/// Rows as they stand in a table.
async fn rows(table: Option<&ExactTable>, columns: &[&str]) -> Vec<Vec<Cell>> {
    let Some(table) = table else { return Vec::new() };
    let batches: Vec<_> = table.scan(columns).await.unwrap().try_collect().await.unwrap();
    batches.iter().flat_map(|batch| to_cells(batch).unwrap()).collect()
}

fn text(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => text.clone(),
        other => panic!("not a text: {other:?}"),
    }
}

/// What is in the tables: each attachment's URL with its end, and the number of events.
async fn found(place: &Place) -> (Vec<(String, String)>, usize) {
    let tables = place.open_tables(place.only().unwrap()).await.unwrap();
    let stored = rows(tables.attachments.as_ref(), &["attachment_url"]).await;
    let failed = rows(tables.failed.as_ref(), &["attachment_url", "status", "error_message"]).await;
    let mut ends: Vec<_> = stored.iter().map(|row| (text(&row[0]), "stored".to_owned())).collect();
    ends.extend(failed.iter().map(|row| (text(&row[0]), format!("{} {}", text(&row[1]), text(&row[2])))));
    (ends, rows(tables.events.as_ref(), &["event_key"]).await.len())
}

/// The dead letters without an attachment: what was read, where, and what they say.
async fn poison_letters(place: &Place) -> Vec<(Vec<u8>, String, String)> {
    let topic = place.only().unwrap().topics.dead_letters();
    let (view, partition) = (place.log_view().unwrap(), Partition { topic: topic.into(), index: 0 });
    let (mut letters, mut from) = (Vec::new(), 0);
    loop {
        let records = view.read(&partition, from, 1_000).await.unwrap();
        let Some(last) = records.last() else { return letters };
        from = last.offset + 1;
        for record in &records {
            let letter: DeadLetter = format::decode(record.message.value.as_ref().unwrap()).unwrap();
            if letter.task.is_none() {
                let original = STANDARD.decode(letter.original.unwrap()).unwrap();
                letters.push((original, letter.input.unwrap(), letter.error.message));
            }
        }
    }
}

#[test]
fn each_of_two_thousand_events_ends_where_the_outcome_table_says() {
    let (batch, origin) = (Batch::new(), origin());
    let cases = events(&origin);
    let mut lines: Vec<u8> = Vec::new();
    cases.iter().for_each(|case| lines.extend(case.line.iter().chain(b"\n")));
    let input = batch.file("events.ndjson", lines);
    let summary = batch.summary(&[&input, "--preset", "xact"], 3);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let place = Place::existing(&batch.to).unwrap();
    let (rows, event_rows) = runtime.block_on(found(&place));
    let mut by_url: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    rows.iter().for_each(|(url, end)| by_url.entry(url).or_default().push(end));

    let mut attachments = 0;
    for (number, case) in cases.iter().enumerate() {
        for (url, end) in case.ends.iter().flatten() {
            attachments += 1;
            let url = longshore_core::policy::redact::redact_url(url);
            let ends = by_url.get(url.as_str()).unwrap_or_else(|| panic!("event {}: {url} has no row", number + 1));
            let expected = match end {
                End::Stored => "stored".to_owned(),
                End::Failed(status, reason) => format!("{status} {reason}: "),
            };
            assert!(ends.len() == 1 && ends[0].starts_with(&expected), "event {}: {url}: {ends:?}, not {expected}", number + 1);
        }
    }
    assert_eq!(rows.len(), attachments, "rows that nobody asked for");
    let accepted = cases.iter().filter(|case| case.ends.is_some()).count();
    assert_eq!(event_rows, accepted);

    let letters = runtime.block_on(poison_letters(&place));
    assert_eq!(letters.len(), cases.len() - accepted);
    for (number, case) in cases.iter().enumerate().filter(|(_, case)| case.ends.is_none()) {
        let here = format!("events.ndjson:{}", number + 1);
        let (original, _, said) = letters.iter().find(|(_, input, _)| input.ends_with(&here)).unwrap_or_else(|| panic!("{here}"));
        assert_eq!(original, &case.line, "{here}");
        assert!(said.contains(case.says), "{here}: '{said}' does not say {}", case.says);
    }
    assert_eq!(summary["lines"], cases.len());
    assert_eq!(origin.canary_dials(), 0);
    batch.reconcile();
}

#[test]
fn an_event_of_ten_thousand_attachments_and_one_of_ten_megabytes_end_like_any_other() {
    let (batch, origin) = (Batch::new(), origin());
    // One good file; the others are refused before anybody is asked.
    let urls: Vec<String> = (1..10_000).map(|n| format!("http://10.0.0.1/{n}.pdf")).chain([origin.url("/good/1.pdf")]).collect();
    let event = json!({"type": "t", "traceId": "many", "data": {"attachments": urls}}).to_string();
    let long = format!("{{\"type\":\"t\",\"traceId\":\"long\",\"x\":\"{}\"}}", "x".repeat(10_000_000));
    let input = batch.file("events.ndjson", format!("{event}\n{long}\n"));
    let summary = batch.summary(&[&input, "--preset", "xact"], 3);
    assert_eq!((&summary["stored"], &summary["failed"]), (&json!(1), &json!(9_999 + 1)));
    let mut listing = longshore();
    listing.args(["dlq", "ls", "--class", "poison", "--json", "--to"]).arg(&batch.to);
    assert_eq!(finish(listing).stdout.lines().count(), 1);
    batch.reconcile();
}
