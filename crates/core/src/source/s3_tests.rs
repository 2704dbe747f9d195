use super::*;
use crate::outcome::{Class, Reason};
use crate::path::PathTemplate;
use crate::policy::Policy;
use crate::source::{Event, Identity, Mapping, Source};
use serde_json::{Value, json};

fn source(url: Option<&str>) -> Source {
    let fields: Vec<_> = url.map(|url| ("url".to_owned(), url.to_owned())).into_iter().collect();
    let mapping = Mapping::new(Some("s3-notification"), &fields).expect("mapping");
    Source {
        name: "s3".into(),
        identity: Identity::Unsigned,
        policy: Policy { allow_http: true, ..Policy::default() },
        file_types: mapping.default_file_types(),
        path: PathTemplate::parse(mapping.default_path()).expect("template"),
        mapping,
        route: None,
        enrich: None,
    }
}

fn record(key: &str) -> Value {
    json!({
        "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "eu-west-1", "eventTime": "2026-11-23T19:45:32.749Z",
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": "claims"}, "object": {"key": key, "size": 1024, "eTag": "d41d8", "sequencer": "0055AED6"}},
    })
}

fn plan_with(source: &Source, event: &Value) -> Result<Event, Failure> {
    source.plan(&RawEvent::of(event.to_string().as_bytes(), 0)).map(|planned| planned.event().expect("ours"))
}

fn plan(event: &Value) -> Event {
    plan_with(&source(None), event).expect("decodes")
}

fn url(record: &Value) -> String {
    plan(&json!({"Records": [record]})).attachments.remove(0).task.url
}

fn changed(pointer: &str, value: impl Into<Value>) -> Value {
    let mut record = record("a.pdf");
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    record.pointer_mut(parent).expect("a parent")[name] = value.into();
    record
}

fn sns(event: &Value) -> Value {
    json!({"Type": "Notification", "MessageId": "m", "Message": event.to_string()})
}

#[test]
fn a_new_object_is_an_attachment_with_its_columns() {
    let event = plan(&json!({"Records": [record("in/a.pdf")]}));
    assert_eq!(event.event_type.as_deref(), Some("ObjectCreated:Put"));
    assert_eq!(event.event_time.as_deref(), Some("2026-11-23T19:45:32.749Z"));
    let task = &event.attachments[0].task;
    assert_eq!(task.url, "https://claims.s3.eu-west-1.amazonaws.com/in/a.pdf");
    assert_eq!(task.path, "claims.s3.eu-west-1.amazonaws.com/in/a.pdf");
    for columns in [&task.columns, &event.columns] {
        let values: Vec<_> = COLUMNS.iter().map(|name| columns[*name].as_str()).collect();
        assert_eq!(values, ["claims", "in/a.pdf", "d41d8", "1024"]);
    }
}

#[test]
fn keys_are_form_decoded_and_encoded_again_for_the_url() {
    for (key, path) in [
        ("my+report+%28final%29.pdf", "my%20report%20%28final%29.pdf"),
        ("caf%C3%A9%2Bx.pdf", "caf%C3%A9%2Bx.pdf"),
        ("a%3Fb%23c%25d", "a%3Fb%23c%25d"),
        ("in//x", "in//x"),
    ] {
        assert_eq!(url(&record(key)), format!("https://claims.s3.eu-west-1.amazonaws.com/{path}"), "{key}");
    }
    let event = plan(&json!({"Records": [record("my+report.pdf")]}));
    assert_eq!(event.columns["object_key"], "my report.pdf");
}

#[test]
fn a_version_and_a_region_are_part_of_the_url() {
    assert!(url(&changed("/s3/object/versionId", "v/1")).ends_with("/a.pdf?versionId=v/1"));
    assert!(url(&changed("/s3/object/versionId", "null")).ends_with("/a.pdf"));
    assert!(url(&changed("/awsRegion", "")).contains(".s3.us-east-1."));
}

#[test]
fn a_template_leads_to_other_stores() {
    let minio = source(Some("http://minio:9000/{bucket}/{key}"));
    let event =
        plan_with(&minio, &json!({"EventName": "s3:ObjectCreated:Put", "Records": [record("in/a+b.pdf")]})).expect("decodes");
    assert_eq!(event.attachments[0].task.url, "http://minio:9000/claims/in/a%20b.pdf");
    assert_ne!(minio.mapping_version(), source(None).mapping_version());
    for (wrong, says) in [
        ("minio/{bucket}/{key}", "has no scheme"),
        ("http://minio/{bucket}", "lacks {key}"),
        ("http://minio/{bucket}/{key}/{size}", "may use {bucket}, {region}, {key} only"),
    ] {
        let error = S3Mapping::new(&[("url".to_owned(), wrong.to_owned())]).expect_err(wrong);
        assert!(error.to_string().contains(says), "{error}");
    }
    assert!(S3Mapping::new(&[("trace_id".to_owned(), "a".to_owned())]).is_err());
}

#[test]
fn an_event_is_the_same_in_every_envelope_and_when_it_comes_again() {
    let event = json!({"Records": [record("a.pdf")]});
    let plain = plan(&event);
    let wrapped = plan(&sns(&event));
    assert_eq!((&wrapped.trace_id, &wrapped.attachments), (&plain.trace_id, &plain.attachments));
    let again = json!({"Records": [changed("/responseElements", json!({"x-amz-request-id": "other"}))]});
    assert_eq!(plan(&again).trace_id, plain.trace_id);
    let anew = json!({"Records": [changed("/s3/object/sequencer", "0055AED7")]});
    assert_ne!(plan(&anew).trace_id, plain.trace_id);
    assert_ne!(plan(&json!({"Records": [record("b.pdf")]})).trace_id, plain.trace_id);
}

#[test]
fn eventbridge_has_its_own_form_and_keys_as_they_are() {
    let bridge = |kind: &str| {
        json!({"id": "e-1", "detail-type": kind, "source": "aws.s3", "time": "2026-11-23T19:45:32Z", "region": "eu-west-1",
            "detail": {"bucket": {"name": "claims"}, "object": {"key": "a+b c.pdf", "size": 5, "etag": "e", "sequencer": "1"}}})
    };
    let event = plan(&bridge("Object Created"));
    assert_eq!(event.attachments[0].task.url, "https://claims.s3.eu-west-1.amazonaws.com/a%2Bb%20c.pdf");
    assert_eq!((event.event_id.as_deref(), event.columns["object_etag"].as_str()), (Some("e-1"), "e"));
    assert!(plan(&bridge("Object Deleted")).attachments.is_empty());
    assert!(plan(&bridge("AWS API Call via CloudTrail")).attachments.is_empty());
}

#[test]
fn what_tells_of_no_new_object_is_accepted_without_attachments() {
    let test = json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "claims", "RequestId": "r"});
    for event in
        [test.clone(), sns(&test), json!({"Records": []}), json!({"Records": [changed("/eventName", "ObjectRemoved:Delete")]})]
    {
        assert!(plan(&event).attachments.is_empty(), "{event}");
    }
    assert_eq!(plan(&test).event_type.as_deref(), Some("s3:TestEvent"));
    let gone = json!({"Records": [{"eventName": "s3:ObjectRemoved:Delete", "s3": {}}]});
    assert!(plan(&gone).attachments.is_empty());
}

#[test]
fn a_record_that_cannot_be_fetched_is_one_failed_row() {
    let hostile = [
        changed("/s3/bucket/name", "evil.example/"),
        changed("/s3/bucket/name", "user@evil.example"),
        changed("/awsRegion", "x.evil.example#"),
        changed("/s3/object/key", "a/../b"),
        changed("/s3/object/key", "a/%2E%2E/b"),
        changed("/s3/object/key", ""),
        changed("/s3", json!({})),
        json!("text"),
    ];
    for record in hostile {
        let event = plan(&json!({"Records": [record, self::record("good.pdf")]}));
        let refused = event.attachments[0].refused.as_ref().expect("refused");
        assert_eq!((refused.class, refused.reason), (Class::Rejected, Reason::InvalidUrl), "{record}");
        assert_eq!(event.attachments[1].refused, None, "{record}");
    }
}

#[test]
fn other_shapes_are_poison_with_a_reason() {
    for (event, says) in [
        (json!([]), "the event is a list"),
        (json!({}), "no list `Records`"),
        (json!({"Message": "hello"}), "the text in `Message` is not JSON"),
        (json!({"Message": "[]"}), "no list `Records`"),
        (json!({"detail": {}}), "`detail-type` is missing"),
    ] {
        let failure = plan_with(&source(None), &event).expect_err("poison");
        assert_eq!(failure.class, Class::Poison);
        assert!(failure.message.contains(says), "{}", failure.message);
    }
}
