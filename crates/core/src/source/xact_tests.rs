use super::*;
use crate::format::Task;
use crate::ids;
use crate::inventory::Shape;
use crate::outcome::{Class, Reason};
use crate::path::PathTemplate;
use crate::policy::Policy;
use crate::row::Cell;
use crate::source::{Event, Identity, Mapping, Source};
use crate::time;

/// 2026-11-23T19:45:32Z
const NOW: i64 = 1_795_463_132_000_000;

const SAMPLE: &str = r#"{
  "type": "verisk.claims.property.xn.estimatePackageReceived",
  "version": 1,
  "utcDateTime": "2026-11-23T19:45:32.749511+00:00",
  "traceId": "abc123",
  "eventId": null,
  "data": {
    "description": "Estimate for \"unit 4\"",
    "assignmentId": "A-77",
    "originalAssignmentId": 12345678901234567890,
    "xnAddress": "X/1", "carrierId": "C9", "estimateVersion": 3, "note": null, "author": "Ann",
    "senderReviewerName": "S", "senderReviewerEmail": "s@example.com",
    "carrierReviewerName": "R", "carrierReviewerEmail": "r@example.com",
    "dateTime": "11/23/2026 12:45 PM",
    "adm": {"coverageLoss": {"claimNumber": "CL-1"}},
    "contact": {"type": "Insured", "name": "Bo",
      "contactMethods": {"phone": {"type": "Mobile", "number": "555", "extension": 7}, "email": {"address": "bo@example.com"}}},
    "attachments": ["https://xactware.com/docs/estimate.pdf", null, "", "https://xactware.com/docs/photo.JPG?sig=secret&sv=1&se=2"]
  }
}"#;

fn source() -> Source {
    Source {
        name: "xact".into(),
        mapping: Mapping::Xact,
        identity: Identity::Unsigned,
        policy: Policy::default(),
        file_types: Mapping::Xact.default_file_types(),
        path: PathTemplate::parse_with(Mapping::Xact.default_path(), &Mapping::Xact.path_columns()).expect("template"),
        route: None,
        enrich: None,
    }
}

fn plan(event: &str) -> Result<Event, Failure> {
    plan_bytes(event.as_bytes())
}

fn plan_bytes(bytes: &[u8]) -> Result<Event, Failure> {
    source().plan(&RawEvent::of(bytes, NOW)).map(|planned| planned.event().expect("ours"))
}

/// An event with these members beside what every event needs.
fn event(more: &str) -> Event {
    plan(&format!(r#"{{"type":"a.b.c","traceId":"t","utcDateTime":"2026-11-23T19:45:32Z",{more}}}"#)).expect(more)
}

fn with_data(data: &str) -> Event {
    event(&format!(r#""data":{data}"#))
}

fn refusal(event: &str) -> String {
    let failure = plan(event).expect_err(event);
    assert_eq!((failure.class, failure.reason), (Class::Poison, Reason::Undecodable), "{event}");
    failure.message
}

fn urls(event: &Event) -> Vec<&str> {
    event.attachments.iter().map(|a| a.task.url.as_str()).collect()
}

#[test]
fn a_real_event_becomes_tasks_with_the_ids_of_its_producers() {
    let event = plan(SAMPLE).expect("decodes");
    assert_eq!(event.trace_id, "abc123");
    assert_eq!(event.event_id, Some(uuid::Uuid::new_v5(&XACT_EVENT_NAMESPACE, b"abc123").to_string()));
    assert_eq!(event.event_time.as_deref().and_then(time::parse_event_time), Some(NOW + 749_511));
    let ids: Vec<String> = event.attachments.iter().map(|a| a.task.media_id.to_string()).collect();
    assert_eq!(ids[0], "6d7ab70c-874d-5ff2-8698-454e7a9d3e4d");
    assert_eq!(ids.len(), 2);
    assert_eq!(event.attachments[0].refused, None);
    assert_eq!(event.attachments[0].task.path, "estimatePackageReceived/A-77/abc123/A-77_3_estimate.pdf");
    assert_eq!(event.attachments[1].task.path, "estimatePackageReceived/A-77/abc123/A-77_3_photo.jpg");
}

#[test]
fn every_column_of_the_events_table_is_filled_from_its_place() {
    let event = plan(SAMPLE).expect("decodes");
    let urls = "https://xactware.com/docs/estimate.pdf,https://xactware.com/docs/photo.JPG?";
    let expected = [
        ("status_subtype", "estimatePackageReceived"),
        ("version", "1"),
        ("description", "Estimate for \"unit 4\""),
        ("assignment_id", "A-77"),
        ("original_assignment_id", "12345678901234567890"),
        ("xn_address", "X/1"),
        ("carrier_id", "C9"),
        ("estimate_version", "3"),
        ("author", "Ann"),
        ("sender_reviewer_name", "S"),
        ("sender_reviewer_email", "s@example.com"),
        ("carrier_reviewer_name", "R"),
        ("carrier_reviewer_email", "r@example.com"),
        ("event_datetime_mdt", "11/23/2026 12:45 PM"),
        ("claim_number", "CL-1"),
        ("contact_type", "Insured"),
        ("contact_name", "Bo"),
        ("contact_phone_type", "Mobile"),
        ("contact_phone_number", "555"),
        ("contact_phone_extension", "7"),
        ("contact_email_address", "bo@example.com"),
    ];
    for (name, value) in expected {
        assert_eq!(event.columns.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(event.columns["attachments"].starts_with(urls), "{}", event.columns["attachments"]);
    assert!(!event.columns["attachments"].contains("secret"));
    assert_eq!(event.columns.get("note"), None);
    assert!(event.columns.keys().all(|name| EVENT_COLUMNS.contains(&&**name)));
}

/// Every column of preset-xact.md, and ours.
#[test]
fn the_tables_have_the_columns_that_readers_know() {
    let shape = source().shape();
    let names = |spec: crate::row::TableSpec| spec.columns.into_iter().map(|c| c.name.to_string()).collect::<Vec<_>>();
    let attachments = names(shape.attachments_table());
    for name in [
        "media_id",
        "trace_id",
        "attachment_url",
        "blob_path",
        "file_type",
        "status_subtype",
        "assignment_id",
        "bytes_downloaded",
        "downloaded_at",
        "created_at",
        "event_date",
    ] {
        assert!(attachments.contains(&name.to_owned()), "{name}");
    }
    let events = names(shape.events_table());
    for name in "type status_subtype version ingested_at event_date trace_id event_id description assignment_id \
        original_assignment_id xn_address carrier_id estimate_version note author sender_reviewer_name sender_reviewer_email \
        carrier_reviewer_name carrier_reviewer_email event_datetime_mdt attachments claim_number contact_type contact_name \
        contact_phone_type contact_phone_number contact_phone_extension contact_email_address raw_json created_at event_time \
        media_ids event_key mapping_version source"
        .split_whitespace()
    {
        assert!(events.contains(&name.to_owned()), "{name}");
    }
    assert_eq!(events.len(), 35);
    assert_eq!(shape, Shape { failed: Vec::new(), ..shape.clone() });
}

#[test]
fn rows_take_the_columns_that_their_table_names() {
    let (source, event) = (source(), plan(SAMPLE).expect("decodes"));
    let shape = source.shape();
    let row = shape.event_row(&source.mapping_version(), &event, &RawEvent::of(SAMPLE.as_bytes(), NOW), NOW);
    let at = |name: &str| shape.events_table().columns.iter().position(|c| c.name == name).expect("a column");
    assert_eq!(row.cells[at("event_time")], Cell::Timestamp(NOW + 749_511));
    assert_eq!(row.cells[at("claim_number")], Cell::Text("CL-1".into()));
    assert_eq!(row.cells[at("mapping_version")], Cell::Text("xact/1".into()));
    assert_eq!(row.cells[at("note")], Cell::Null);
}

#[test]
fn type_is_a_text_that_is_not_empty() {
    for wrong in [r#"{"traceId":"t"}"#, r#"{"traceId":"t","type":null}"#, r#"{"traceId":"t","type":7}"#] {
        assert!(refusal(wrong).contains("`type` is missing or not a text"), "{wrong}");
    }
    assert!(refusal(r#"{"traceId":"t","type":"  "}"#).contains("`type` is empty"));
    assert_eq!(plan(r#"{"traceId":"t","type":"  a.b "}"#).expect("trimmed").event_type.as_deref(), Some("a.b"));
}

#[test]
fn the_subtype_is_what_follows_the_last_dot_or_all_of_it() {
    for (kind, expected) in [("a.b.c", "c"), ("plain", "plain"), ("a.b.", "a.b."), ("a. b", "b"), (".", ".")] {
        let event = plan(&format!(r#"{{"traceId":"t","type":"{kind}"}}"#)).expect("decodes");
        assert_eq!(event.columns["status_subtype"], expected, "{kind}");
    }
}

#[test]
fn version_is_a_number_or_a_text_and_1_where_absent() {
    for (given, expected) in
        [("2", "2"), ("1.50", "1.50"), ("\"2.1\"", "2.1"), ("null", "1"), ("18446744073709551616", "18446744073709551616")]
    {
        assert_eq!(event(&format!(r#""version":{given}"#)).columns["version"], expected);
    }
    assert_eq!(event(r#""x":1"#).columns["version"], "1");
    for wrong in ["true", "[]", "{}"] {
        assert!(refusal(&format!(r#"{{"type":"a","traceId":"t","version":{wrong}}}"#)).contains("`version`"), "{wrong}");
    }
}

#[test]
fn a_time_is_taken_as_producers_spell_it_and_else_there_is_none() {
    let time_of = |text: &str| {
        let event = plan(&format!(r#"{{"type":"a","traceId":"t","utcDateTime":{text}}}"#)).expect("accepted");
        time::event_time(event.event_time.as_deref(), NOW)
    };
    for text in [
        "2026-11-23T19:45:32.749511+00:00",
        "2026-11-23 19:45:32.749511Z",
        "2026-11-23T19:45:32.749511",
        "2026-11-23T21:15:32.749511+01:30",
        "2026-11-23T19:45:32.749511000Z",
    ] {
        assert_eq!(time_of(&format!("\"{text}\"")), Some(NOW + 749_511), "{text}");
    }
    assert_eq!(time_of("\"2026-11-23T19:45:32Z\""), Some(NOW));
    for untimed in [
        "\"\"",
        "\"yesterday\"",
        "\"1969-12-31T23:59:59Z\"",
        "\"2026-12-01T00:00:00Z\"",
        "\"9999-12-31T23:59:59Z\"",
        "\"+262142-01-01T00:00:00Z\"",
        "\"-0001-01-01T00:00:00Z\"",
        "null",
        "7",
        "[]",
        "\"2026-02-30T00:00:00Z\"",
    ] {
        assert_eq!(time_of(untimed), None, "{untimed}");
    }
}

#[test]
fn an_absurd_time_chooses_no_partition() {
    let (shape, today) = (source().shape(), (NOW / time::DAY) as i32);
    let partition = shape.events_table().partition;
    for text in ["1971-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-12-31T00:00:00Z", "nonsense"] {
        let event = plan(&format!(r#"{{"type":"a","traceId":"t","utcDateTime":"{text}"}}"#)).expect("accepted");
        assert_eq!(shape.event_row("", &event, &RawEvent::of(b"", NOW), NOW).cells[partition], Cell::Date(today), "{text}");
    }
}

#[test]
fn a_trace_id_is_a_text_or_the_digits_of_a_number_under_either_name() {
    let id = |members: &str| plan(&format!(r#"{{"type":"a",{members}}}"#)).map(|e| e.trace_id);
    for (members, expected) in [
        (r#""traceId":" t ""#, "t"),
        (r#""trace_id":"t""#, "t"),
        (r#""traceId":null,"trace_id":"t""#, "t"),
        (r#""traceId":"  ","trace_id":"t""#, "t"),
        (r#""traceId":"t","trace_id":"u""#, "t"),
        (r#""traceId":42"#, "42"),
        (r#""traceId":12345678901234567891"#, "12345678901234567891"),
        (r#""traceId":123456789012345678901234567890"#, "123456789012345678901234567890"),
        (r#""trace\u0049d":"t""#, "t"),
        (r#""traceId":"\u00e9""#, "é"),
    ] {
        assert_eq!(id(members).expect(members), expected);
    }
    assert_ne!(id(r#""traceId":12345678901234567891"#), id(r#""traceId":12345678901234567892"#));
    for (members, says) in [
        (r#""x":1"#, "`traceId` is missing or empty"),
        (r#""traceId":null"#, "`traceId` is missing or empty"),
        (r#""traceId":" ","trace_id":"""#, "`traceId` is missing or empty"),
        (r#""traceId":true"#, "`traceId` is true or false"),
        (r#""trace_id":{}"#, "`trace_id` is an object"),
        (r#""traceId":["t"]"#, "`traceId` is a list"),
    ] {
        assert!(refusal(&format!(r#"{{"type":"a",{members}}}"#)).contains(says), "{members}");
    }
}

#[test]
fn ids_that_no_task_could_carry_are_refused() {
    let long = "x".repeat(2_000);
    assert!(refusal(&format!(r#"{{"type":"a","traceId":"{long}"}}"#)).contains("`traceId` is 2000 bytes long"));
    assert!(refusal(&format!(r#"{{"type":"{long}","traceId":"t"}}"#)).contains("`type` is 2000 bytes long"));
    let event = with_data(&format!(r#"{{"assignmentId":"{long}","attachments":["https://h/a.pdf"]}}"#));
    assert_eq!(event.columns["assignment_id"].len(), 2_000);
    assert_eq!(event.attachments[0].task.columns["assignment_id"].len(), 1_024);
}

#[test]
fn an_event_id_is_computed_whatever_the_event_says() {
    let computed = uuid::Uuid::new_v5(&XACT_EVENT_NAMESPACE, b"t").to_string();
    for members in [r#""x":1"#, r#""eventId":null"#, r#""eventId":{}"#, r#""eventId":"e1""#, r#""event_id":7"#] {
        assert_eq!(event(members).event_id.as_ref(), Some(&computed), "{members}");
    }
}

#[test]
fn data_is_an_object_or_a_text_that_holds_one() {
    assert_eq!(urls(&with_data(r#"{"attachments":["https://h/a.pdf"]}"#)), ["https://h/a.pdf"]);
    let text = with_data(r#"" {\"attachments\":[\"https://h/a.pdf\"],\"note\":\"caf\\u00e9\"} ""#);
    assert_eq!((urls(&text), text.columns["note"].as_str()), (vec!["https://h/a.pdf"], "café"));
    for none in ["null", "\"null\"", "{}"] {
        let event = with_data(none);
        assert!(event.attachments.is_empty() && !event.without_list, "{none}");
    }
    assert!(event(r#""x":1"#).attachments.is_empty());
    for (wrong, says) in [
        ("\"hello\"", "the text in `data` is not a JSON object"),
        ("\"\"", "the text in `data` is empty"),
        (r#""{\"a\":""#, "the text in `data` ends too early"),
        (r#""{\"a\" 1}""#, "the text in `data` is not JSON"),
        ("\"[1]\"", "the text in `data` is not a JSON object"),
        (r#""\"{}\"""#, "the text in `data` is not a JSON object"),
        ("7", "`data` is a number"),
        ("[{}]", "`data` is a list"),
        ("true", "`data` is true or false"),
    ] {
        assert!(refusal(&format!(r#"{{"type":"a","traceId":"t","data":{wrong}}}"#)).contains(says), "{wrong}");
    }
}

#[test]
fn null_and_empty_entries_are_skipped_and_odd_ones_fail_each() {
    let event =
        with_data(r#"{"attachments":[null,""," ","https://h/a.pdf",7,{"url":"https://h/b.pdf"},["https://h/c.pdf"],true]}"#);
    assert_eq!(event.attachments.len(), 5);
    assert_eq!(event.attachments[0].refused, None);
    for odd in &event.attachments[1..] {
        let failure = odd.refused.as_ref().expect("refused");
        assert_eq!((failure.class, failure.reason), (Class::Rejected, Reason::InvalidUrl), "{}", odd.task.url);
    }
    assert!(!event.without_list);
    assert_eq!(event.columns["attachments"], "https://h/a.pdf");
}

#[test]
fn a_list_that_is_none_is_no_attachment_and_is_counted_where_it_is_odd() {
    for none in ["{}", r#"{"attachments":null}"#, r#"{"attachments":[]}"#, r#"{"attachments":[null]}"#] {
        assert!(!with_data(none).without_list, "{none}");
    }
    for odd in [r#""https://h/a.pdf""#, "7", "true", r#"{"url":"https://h/a.pdf"}"#] {
        let event = with_data(&format!(r#"{{"attachments":{odd}}}"#));
        assert!(event.without_list && event.attachments.is_empty(), "{odd}");
    }
}

#[test]
fn the_same_url_twice_is_one_attachment() {
    let event = with_data(
        r#"{"attachments":["https://h/a.pdf"," https://h/a.pdf ","https://h/b.pdf","https://h/a.pdf?sv=1&se=2&sig=x"]}"#,
    );
    assert_eq!(urls(&event), ["https://h/a.pdf", "https://h/b.pdf"]);
    let exact = Source { identity: Identity::Exact, ..source() };
    let bytes = br#"{"type":"a","traceId":"t","data":{"attachments":["https://h/a.pdf","https://h/a.pdf?sv=1&se=2&sig=x"]}}"#;
    let event = exact.plan(&RawEvent::of(bytes, NOW)).expect("decodes").event().expect("ours");
    let id = |url| ids::media_id(&ids::XACT_MEDIA_NAMESPACE, "t", url);
    assert_eq!(event.attachments[1].task.media_id, id("https://h/a.pdf?sv=1&se=2&sig=x"));
}

#[test]
fn assignment_and_estimate_are_texts_or_numbers_and_may_be_missing() {
    let one = |more: &str| with_data(&format!(r#"{{"attachments":["https://h/a.PDF"]{more}}}"#));
    for (more, path) in [
        ("", "c/unknown/t/unknown_a.pdf"),
        (r#","assignmentId":null"#, "c/unknown/t/unknown_a.pdf"),
        (r#","assignmentId":" ""#, "c/unknown/t/unknown_a.pdf"),
        (r#","assignmentId":"A1""#, "c/A1/t/A1_a.pdf"),
        (r#","assignmentId":98765432109876543210"#, "c/98765432109876543210/t/98765432109876543210_a.pdf"),
        (r#","assignmentId":"../../etc""#, "c/.._.._etc/t/.._.._etc_a.pdf"),
    ] {
        assert_eq!(one(more).attachments[0].task.path, path, "{more}");
    }
    assert_eq!(one("").columns.get("assignment_id"), None);
    assert_eq!(one(r#","estimateVersion":2"#).attachments[0].task.columns["estimate_version"], "2");
}

#[test]
fn file_names_depend_on_the_subtype() {
    let path = |kind: &str, data: &str, url: &str| {
        let event = format!(r#"{{"type":"x.{kind}","traceId":"t","data":{{{data}"attachments":["{url}"]}}}}"#);
        plan(&event).expect("decodes").attachments.remove(0).task.path
    };
    let name = |kind, data, url| path(kind, data, url).rsplit('/').next().map(str::to_owned).expect("a name");
    let id = r#""assignmentId":"A","#;
    assert_eq!(name("other", id, "https://h/x/My.File.PDF?x=1#y"), "A_My.File.pdf");
    assert_eq!(name("firstNoticeOfLossReceived", id, "https://h/a.pdf"), "A_FNOL_a.pdf");
    assert_eq!(name("estimatePackageReceived", id, "https://h/a.pdf"), "A_unknown_a.pdf");
    assert_eq!(name("estimatePackageReceived", r#""assignmentId":"A","estimateVersion":"2","#, "https://h/a.pdf"), "A_2_a.pdf");
    assert_eq!(name("other", id, "https://h"), "A_unknown");
    assert_eq!(name("other", id, "https://h/x/"), "A_unknown");
    assert_eq!(name("other", id, "https://h/a%20b.pdf"), "A_a%20b.pdf");
    assert_eq!(name("other", id, "https://h/a b.pdf"), "A_a b.pdf");
    assert_eq!(name("other", id, "https://h/.htm"), "A_.htm");
    assert_eq!(name("other", id, "https://h/get?filename=a.pdf"), "A_get");
}

#[test]
fn the_file_type_is_the_extension_or_that_of_the_named_file() {
    let (source, pdf) = (source(), b"%PDF-1.7\n");
    let task = |url: &str| Task { url: url.to_owned(), ..Task::default() };
    let judge = |task: &Task| source.judge_body(task, Some("binary/octet-stream"), pdf).map(|verdict| verdict.file_type);
    let judged = |url: &str| judge(&task(url));
    let named = Task { file_name: Some("report.PDF".into()), ..task("https://h/get") };
    assert_eq!(judge(&named).expect("allowed"), "PDF");
    assert_eq!(judged("https://h/a.pdf").expect("allowed"), "PDF");
    assert_eq!(judged("https://h/get?filename=a.Pdf").expect("allowed"), "PDF");
    assert_eq!(judged("https://h/get").expect("allowed"), "UNKNOWN");
    let refused = with_data(r#"{"attachments":["https://h/a.exe"]}"#).attachments.remove(0).refused.expect("refused");
    assert_eq!((refused.class, refused.reason), (Class::Rejected, Reason::FileType));
}

#[test]
fn columns_of_the_wrong_kind_are_kept_as_json() {
    let event = with_data(
        r#"{"note":{"a": [1]},"author":[1,2],"description":true,"carrierId":1.50,"xnAddress":"\ud800","adm":[1],"contact":"x"}"#,
    );
    for (name, value) in [("note", r#"{"a": [1]}"#), ("author", "[1,2]"), ("description", "true"), ("carrier_id", "1.50")] {
        assert_eq!(event.columns[name], value);
    }
    assert_eq!(event.columns["xn_address"], r#""\ud800""#, "no character has this escape");
    assert_eq!(event.columns.get("claim_number").or(event.columns.get("contact_name")), None);
    let odd = with_data(r#"{"contact":{"type":null,"contactMethods":{"phone":7,"email":{"address":{}}}}}"#);
    assert_eq!((odd.columns.get("contact_type"), odd.columns["contact_email_address"].as_str()), (None, "{}"));
}

#[test]
fn a_key_that_is_read_may_not_stand_twice() {
    for (event, key) in [
        (r#"{"type":"a","traceId":"t","traceId":"u"}"#, "traceId"),
        (r#"{"type":"a","type":"a","traceId":"t"}"#, "type"),
        (r#"{"type":"a","traceId":"t","data":{},"data":{}}"#, "data"),
        (r#"{"type":"a","traceId":"t","data":{"attachments":[],"attachments":[]}}"#, "attachments"),
        (r#"{"type":"a","traceId":"t","data":{"adm":{"coverageLoss":{"claimNumber":1,"claimNumber":2}}}}"#, "claimNumber"),
        (r#"{"type":"a","traceId":"t","data":"{\"note\":1,\"n\\u006fte\":2}"}"#, "note"),
    ] {
        assert!(refusal(event).contains(&format!("the key `{key}` stands twice")), "{event}");
    }
    assert!(plan(r#"{"type":"a","traceId":"t","x":1,"x":2,"data":{"y":1,"y":2,"traceId":"u"}}"#).is_ok());
}

#[test]
fn an_event_cut_at_any_byte_is_poison_and_says_that_it_ends_too_early() {
    for end in 0..SAMPLE.len() {
        let message = refusal(&SAMPLE[..end]);
        assert!(message.contains("ends too early") || message == "the event is empty", "{end}: {message}");
    }
}

#[test]
fn bytes_that_are_no_json_are_poison_and_no_value_is_told() {
    assert!(plan_bytes(b"{\"type\":\"a\xff\"}").expect_err("poison").message.contains("not UTF-8 at byte 10"));
    assert!(refusal("\0\0\0").contains("not a JSON object"));
    assert!(refusal("{\"type\":\"a\0b\"}").contains("control character"));
    assert!(refusal("[1]").contains("not a JSON object"));
    assert!(refusal("{} {}").contains("trailing characters"));
    let message = refusal(r#"{"type":"a","traceId":"t","data":"Ann Smith, 4 Main St"}"#);
    assert!(!message.contains("Smith"), "{message}");
    let nul = plan(r#"{"type":"a","traceId":"t\u0000","data":{"attachments":["https://h/a\u0000.pdf"]}}"#).expect("decodes");
    assert!(!nul.attachments[0].task.path.contains('\0'));
}

#[test]
fn deep_nesting_is_poison_wherever_it_stands() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{}1{}", open.repeat(10_000), close.repeat(10_000));
        for event in [
            format!(r#"{{"type":"a","traceId":"t","unread":{deep}}}"#),
            format!(r#"{{"type":"a","traceId":"t","data":{{"note":{deep}}}}}"#),
            format!(r#"{{"type":"a","traceId":"t","data":{{"adm":{deep}}}}}"#),
            format!(r#"{{"type":"a","traceId":"t","data":{}}}"#, serde_json::json!(format!("{{\"x\":{deep}}}"))),
            open.repeat(10_000),
        ] {
            let message = refusal(&event);
            assert!(message.contains("nested deeper than 127 levels") || message.contains("not a JSON object"), "{message}");
        }
    }
    let brackets = "[{".repeat(5_000);
    assert!(
        plan(&format!(r#"{{"type":"a","traceId":"t","note":"{brackets}\"{brackets}"}}"#)).is_ok(),
        "in a text they are no nesting"
    );
}

#[test]
fn ten_thousand_attachments_are_ten_thousand_tasks() {
    let list: Vec<String> = (0..10_000).map(|i| format!("\"https://h.example/{i}.pdf\"")).collect();
    let event = with_data(&format!(r#"{{"attachments":[{}]}}"#, list.join(",")));
    let ids: std::collections::HashSet<uuid::Uuid> = event.attachments.iter().map(|a| a.task.media_id).collect();
    assert_eq!((event.attachments.len(), ids.len()), (10_000, 10_000));
}
