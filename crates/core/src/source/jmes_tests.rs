use super::*;
use crate::outcome::{Class, Failure, Reason};
use crate::path::PathTemplate;
use crate::policy::Policy;
use crate::source::{Event, Identity, Mapping, RawEvent, Source};

fn fields(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, expression)| ((*name).to_owned(), (*expression).to_owned())).collect()
}

fn source(pairs: &[(&str, &str)]) -> Source {
    let mapping = Mapping::new(None, &fields(pairs)).expect("mapping");
    Source {
        name: "claims".into(),
        identity: Identity::Unsigned,
        policy: Policy::default(),
        file_types: mapping.default_file_types(),
        path: PathTemplate::parse_with("{trace_id}/{filename}", &mapping.path_columns()).expect("template"),
        mapping,
        route: None,
        enrich: None,
    }
}

fn plan(pairs: &[(&str, &str)], event: &str) -> Result<Event, Failure> {
    source(pairs).plan(&RawEvent::of(event.as_bytes(), 0)).map(|planned| planned.event().expect("ours"))
}

fn attachments(expression: &str, event: &str) -> Event {
    plan(&[("trace_id", "id"), ("attachments", expression)], event).expect(event)
}

fn urls(event: &Event) -> Vec<&str> {
    event.attachments.iter().map(|a| a.task.url.as_str()).collect()
}

fn refusals(event: &Event) -> Vec<Option<(Class, Reason)>> {
    event.attachments.iter().map(|a| a.refused.as_ref().map(|f| (f.class, f.reason))).collect()
}

#[test]
fn ids_times_and_columns_are_found_where_the_expressions_say() {
    let pairs = [
        ("trace_id", "meta.claim"),
        ("event_id", "meta.id"),
        ("event_time", "meta.at"),
        ("event_type", "kind"),
        ("attachments", "docs[].href"),
        ("branch", "meta.branch"),
        ("tags", "tags"),
    ];
    let event = r#"{"meta":{"claim":12345678901234567891,"id":" e7 ","at":"2026-11-23T19:45:32.749511Z","branch":"é"},
        "kind":"filed","docs":[{"href":"https://h/a.pdf"},{"x":1},{"href":"https://h/b.pdf"}],"tags":["x",1]}"#;
    let planned = plan(&pairs, event).expect("decodes");
    assert_eq!((planned.trace_id.as_str(), planned.event_id.as_deref()), ("12345678901234567891", Some("e7")));
    assert_eq!(planned.event_time.as_deref(), Some("2026-11-23T19:45:32.749511Z"));
    assert_eq!((planned.event_type.as_deref(), urls(&planned)), (Some("filed"), vec!["https://h/a.pdf", "https://h/b.pdf"]));
    assert_eq!((planned.columns["branch"].as_str(), planned.columns["tags"].as_str()), ("é", r#"["x",1]"#));
    assert_eq!(planned.attachments[0].task.columns, planned.columns);
    let shape = source(&pairs).shape();
    assert_eq!((&shape.attachments, &shape.failed), (&shape.events, &shape.events));
    assert_eq!(shape.events, ["branch", "tags"]);
}

#[test]
fn an_event_without_ids_is_known_by_its_bytes() {
    let (event, attachments) = (r#"{"id":"e1","url":"https://h/a"}"#, ("attachments", "url"));
    assert_eq!(plan(&[attachments], event).expect("decodes").trace_id, ids::event_key(event.as_bytes()).to_string());
    assert_eq!(plan(&[attachments, ("event_id", "id")], event).expect("decodes").trace_id, "e1");
    let none = plan(&[attachments, ("event_id", "nothing")], event).expect("decodes");
    assert_eq!((none.event_id, none.trace_id), (None, ids::event_key(event.as_bytes()).to_string()));
}

#[test]
fn a_trace_id_that_is_asked_for_must_be_there() {
    for (event, says) in [
        ("{}", "the expression for `trace_id` gives nothing"),
        (r#"{"id":" "}"#, "gives nothing"),
        (r#"{"id":null}"#, "gives nothing"),
        (r#"{"id":["a"]}"#, "the expression for `trace_id` gives a list"),
        (r#"{"id":true}"#, "gives true or false"),
        (r#"{"id":123456789012345678901234567890}"#, "too many digits"),
    ] {
        let failure = plan(&[("trace_id", "id")], event).expect_err(event);
        assert_eq!(failure.class, Class::Poison);
        assert!(failure.message.contains(says), "{event}: {}", failure.message);
    }
    let long = format!(r#"{{"id":"{}"}}"#, "x".repeat(2_000));
    assert!(plan(&[("trace_id", "id")], &long).expect_err("poison").message.contains("2000 bytes long"));
}

#[test]
fn attachments_are_texts_or_objects_alone_or_in_lists() {
    let one = ["https://h/a.pdf"];
    assert_eq!(urls(&attachments("u", r#"{"id":1,"u":" https://h/a.pdf "}"#)), one);
    assert_eq!(urls(&attachments("u", r#"{"id":1,"u":["https://h/a.pdf",null,""," "]}"#)), one);
    assert_eq!(urls(&attachments("u", r#"{"id":1,"u":{"url":"https://h/a.pdf"}}"#)), one);
    assert_eq!(urls(&attachments("u", r#"{"id":1,"u":[{"url":"https://h/a.pdf"},{"url":null},{"url":""}]}"#)), one);
    assert_eq!(
        urls(&attachments("docs[].{url: link, file_name: title}", r#"{"id":1,"docs":[{"link":"https://h/a.pdf"},{}]}"#)),
        one
    );
    for none in ["{\"id\":1}", r#"{"id":1,"u":null}"#, r#"{"id":1,"u":[]}"#, r#"{"id":1,"u":""}"#] {
        let event = attachments("u", none);
        assert!(event.attachments.is_empty() && !event.without_list, "{none}");
    }
    assert!(attachments("u", r#"{"id":1,"u":7}"#).without_list);
    let odd = attachments("u", r#"{"id":1,"u":[7,["https://h/a.pdf"],{"href":"https://h/a.pdf"},{"url":7}]}"#);
    assert_eq!(refusals(&odd), [Some((Class::Rejected, Reason::InvalidUrl)); 4]);
    assert!(odd.attachments[2].refused.as_ref().is_some_and(|f| f.message.contains("no key `url`")));
}

#[test]
fn an_object_gives_a_name_a_checksum_and_headers() {
    let hex = "ab".repeat(32);
    for name in ["file_name", "filename", "name"] {
        let event = format!(
            r#"{{"id":"t","u":[{{"url":"https://h/get?id=7","{name}":"Report.PDF","checksum":"{hex}","headers":{{"X-Key":"k","X-N":7,"X-No":null}}}}]}}"#
        );
        let planned = attachments("u", &event);
        let task = &planned.attachments[0].task;
        assert_eq!(planned.attachments[0].refused, None);
        assert_eq!((task.path.as_str(), task.file_name.as_deref()), ("t/Report.PDF", Some("Report.PDF")));
        assert_eq!(task.checksum, Some(format!("sha256:{hex}")));
        assert_eq!(task.headers, [("X-Key".to_owned(), "k".to_owned()), ("X-N".to_owned(), "7".to_owned())]);
    }
    let unnamed = attachments("u", r#"{"id":"t","u":{"url":"https://h/x/b.pdf","name":"../../etc/passwd"}}"#);
    assert_eq!(unnamed.attachments[0].task.path, "t/.._.._etc_passwd");
}

#[test]
fn a_promise_that_cannot_be_checked_is_permanent_and_the_host_is_not_asked() {
    for checksum in [r#""md5:0123""#, r#""sha256:zz""#, r#""abc""#, "7", "{}"] {
        let event = attachments("u", &format!(r#"{{"id":1,"u":{{"url":"https://h/a","checksum":{checksum}}}}}"#));
        assert_eq!(refusals(&event), [Some((Class::Permanent, Reason::Checksum))], "{checksum}");
        assert_eq!(event.attachments[0].task.path, "");
    }
    for none in ["null", "\"\"", "\" \""] {
        let event = attachments("u", &format!(r#"{{"id":1,"u":{{"url":"https://h/a","checksum":{none}}}}}"#));
        assert_eq!((refusals(&event), &event.attachments[0].task.checksum), (vec![None], &None), "{none}");
    }
}

#[test]
fn an_event_cannot_choose_headers_that_are_ours() {
    for headers in [
        r#"{"Host":"internal"}"#,
        r#"{"transfer-encoding":"chunked"}"#,
        r#"{"X-A":"a\r\nHost: internal"}"#,
        r#"{"X A":"a"}"#,
        r#"{"":"a"}"#,
        r#"["X: y"]"#,
        r#"{"X":["y"]}"#,
    ] {
        let event = attachments("u", &format!(r#"{{"id":1,"u":{{"url":"https://h/a","headers":{headers}}}}}"#));
        assert_eq!(refusals(&event), [Some((Class::Rejected, Reason::InvalidUrl))], "{headers}");
    }
    let many: Vec<String> = (0..33).map(|i| format!(r#""X-{i}":"v""#)).collect();
    let event = attachments("u", &format!(r#"{{"id":1,"u":{{"url":"https://h/a","headers":{{{}}}}}}}"#, many.join(",")));
    assert_eq!(refusals(&event), [Some((Class::Rejected, Reason::InvalidUrl))]);
}

#[test]
fn an_error_names_the_field_the_expression_and_the_column() {
    for (field, expression, says) in [
        ("trace_id", "meta.[", "`trace_id`: the expression `meta.[` is wrong at column "),
        ("attachments", "docs[?a==`1`", "is wrong at column 13"),
        ("attachments", "", "is wrong at column 1"),
        ("branch", "docs[].upper(name)", "`branch`: the expression `docs[].upper(name)` calls `upper`"),
        ("branch", "docs[::0]", "has a slice with the step 0"),
        ("branch", "docs[1::2147483647].a", "has a slice with the step 2147483647"),
        ("branch", &"(".repeat(100_000), "the expression is 100000 bytes long"),
        ("branch", &"!".repeat(1_024), "more than 100 operators and brackets"),
        ("branch", &"[".repeat(100), "is wrong at column"),
        ("Branch", "a", "neither a field (`trace_id`"),
        ("1st", "a", "neither a field"),
        ("media_id", "a", "the tables have a column of that name already"),
        ("status", "a", "the tables have a column of that name already"),
        ("host", "a", "object paths have a field of that name already"),
        ("filename", "a", "object paths have a field of that name already"),
    ] {
        let error = JmesMapping::new(&fields(&[(field, expression)])).expect_err(field);
        assert_eq!(error.field, field);
        assert!(error.to_string().contains(says), "{error}");
    }
    assert!(JmesMapping::new(&fields(&[("a", "b"), ("a", "c")])).expect_err("twice").message.contains("twice"));
}

#[test]
fn what_an_expression_cannot_work_out_is_poison_without_values() {
    let failure = plan(&[("trace_id", "id"), ("attachments", "sort(urls)")], r#"{"id":1,"urls":["Ann",7]}"#).expect_err("poison");
    assert_eq!(failure.class, Class::Poison);
    assert!(failure.message.starts_with("the expression for `attachments` cannot be worked out"), "{}", failure.message);
    assert!(!failure.message.contains("Ann"), "{}", failure.message);
}

#[test]
fn bad_json_is_poison_with_a_reason() {
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    for (event, says) in [
        ("", "the event is empty"),
        ("{\"a\":", "ends too early"),
        ("nonsense", "is not JSON"),
        (r#"{"a":{"b":1,"b":2}}"#, "the key `b` stands twice"),
        (deep.as_str(), "nested deeper than 127 levels"),
        ("{\"a\":\"\0\"}", "control character"),
    ] {
        let failure = plan(&[("attachments", "u")], event).expect_err("poison");
        assert!(failure.message.contains(says), "{}", failure.message);
    }
}

#[test]
fn the_version_follows_the_expressions_and_not_their_order() {
    let version = |pairs: &[(&str, &str)]| source(pairs).mapping_version();
    let one = version(&[("trace_id", "a"), ("attachments", "b")]);
    assert!(one.starts_with("jmes/") && one.len() == "jmes/".len() + 8, "{one}");
    assert_eq!(one, version(&[("attachments", "b"), ("trace_id", "a")]));
    assert_ne!(one, version(&[("trace_id", "b"), ("attachments", "a")]));
    assert_ne!(one, version(&[("trace_id", "a")]));
}

#[test]
fn ten_thousand_objects_are_ten_thousand_tasks() {
    let list: Vec<String> = (0..10_000).map(|i| format!(r#"{{"url":"https://h/{i}.pdf"}}"#)).collect();
    assert_eq!(attachments("u", &format!(r#"{{"id":1,"u":[{}]}}"#, list.join(","))).attachments.len(), 10_000);
}

#[test]
fn every_preset_has_a_mapping_and_a_path() {
    for name in crate::source::PRESETS {
        let mapping = Mapping::preset(name).expect(name);
        PathTemplate::parse_with(mapping.default_path(), &mapping.path_columns()).expect(name);
        let shape = mapping.shape("s");
        for table in [shape.attachments_table(), shape.failed_table(), shape.events_table()] {
            let mut names: Vec<_> = table.columns.iter().map(|column| column.name.clone()).collect();
            names.sort();
            assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{name}: {} has a column twice", table.name);
        }
    }
    assert!(Mapping::preset("claimx").is_none());
    for fixed in ["urls", "xact"] {
        assert!(Mapping::new(Some(fixed), &fields(&[("trace_id", "a")])).expect_err(fixed).message.contains("takes no fields"));
    }
    assert!(Mapping::new(Some("clamx"), &[]).expect_err("unknown").message.contains("there are: urls, xact"));
}

#[test]
fn no_value_is_too_odd_for_any_function() {
    let expressions = [
        "abs(u)",
        "avg(u)",
        "ceil(u)",
        "floor(u)",
        "sum(u)",
        "to_number(u)",
        "to_string(u)",
        "to_array(u)",
        "type(u)",
        "max(u)",
        "min(u)",
        "max_by(u, &a)",
        "min_by(u, &a)",
        "sort(u)",
        "sort_by(u, &a)",
        "reverse(u)",
        "length(u)",
        "keys(u)",
        "values(u)",
        "merge(u, u)",
        "map(&a, u)",
        "join(',', u)",
        "contains(u, `1`)",
        "starts_with(u, 'a')",
        "ends_with(u, u)",
        "not_null(u, id)",
        "u[::-1]",
        "u[-1]",
        "u[-2147483647:2147483647:1000000]",
        "u[99]",
        "u[]",
        "u[*].a",
        "u.*",
        "u[?a > `1`]",
        "u[?@ == `1e308`].[@]",
        "u | [0]",
        &["u"; 51].join("||"),
        &["u"; 51].join("|@|"),
        &["u"; 101].join("."),
        &format!("{}u", "!".repeat(100)),
        "{url: u}",
        "[u, u][]",
    ];
    let values = [
        "null",
        "true",
        "0",
        "-0.0",
        "1e308",
        "18446744073709551615",
        "-9223372036854775808",
        "\"\"",
        "\"é\\u0000\"",
        "[]",
        "{}",
        "[1e308,1e308,1e308]",
        "[1,\"a\",null]",
        "[[],[[]]]",
        "[{\"a\":1},{\"a\":\"b\"},{}]",
        "{\"a\":{\"a\":[1,2]},\"\":0}",
        "[\"b\",\"a\"]",
        "[{\"a\":2},{\"a\":1}]",
    ];
    for expression in expressions {
        for value in values {
            let event = format!(r#"{{"id":1,"u":{value}}}"#);
            let planned = plan(&[("trace_id", "id"), ("attachments", expression), ("found", expression)], &event);
            if let Err(failure) = planned {
                assert_eq!(failure.class, Class::Poison, "{expression} of {value}");
            }
        }
    }
}
