use proptest::prelude::*;
use serde_json::Value;

use super::super::json::check_depth;
use super::super::xact::model_tests::events;
use super::*;

/// What serde_json reads, after the check of the depth; nothing is a fault.
fn slowly(text: &str) -> Option<Envelope<'_>> {
    check_depth("the event", text).ok()?;
    serde_json::from_str(text).ok()
}

/// Fails if the scan reads anything that serde_json does not.
fn agree(text: &str) -> Result<(), TestCaseError> {
    if let Some(scanned) = scan(text) {
        prop_assert_eq!(Some(scanned), slowly(text), "{}", text);
    }
    Ok(())
}

fn spread(event: &Value) -> String {
    serde_json::to_string_pretty(event).expect("JSON").replace('\n', "\r\n\t")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_scanned_is_what_serde_reads(event in events()) {
        agree(&event.to_string())?;
        agree(&spread(&event))?;
        agree(&format!("{event} x"))?;
    }

    #[test]
    fn damage_is_seen_or_left_to_serde(
        event in events(),
        at in any::<prop::sample::Index>(),
        piece in prop_oneof![
            "[\\x00-\\x20\"\\\\{}\\[\\],:0-9eE.+-]{0,3}",
            Just("\\u00".to_owned()), Just("\\ud800".to_owned()), Just("null".to_owned()), Just("\"type\":1,".to_owned()),
            Just("\"note\":1,".to_owned()), Just("é".to_owned()), Just("\u{1}".to_owned()), Just("1e9".to_owned()),
        ],
        over in 0usize..4,
    ) {
        let text: Vec<char> = spread(&event).chars().collect();
        let at = at.index(text.len());
        let rest = text[at..].iter().skip(over);
        let damaged: String = text[..at].iter().copied().chain(piece.chars()).chain(rest.copied()).collect();
        agree(&damaged)?;
    }

    #[test]
    fn special_bytes_are_found(text in "[a-z\"\\\\\\x00-\\x22é\u{80}]{0,40}") {
        let slow = text.bytes().position(|b| b < 0x20 || b == b'"' || b == b'\\').unwrap_or(text.len());
        prop_assert_eq!(special(text.as_bytes()), slow);
    }
}

#[test]
fn usual_events_are_scanned() {
    let event = r#" {"type":"a.b", "version": 1.5e3,"traceId":"t","trace_id":null,"eventId":[{"a":-0}],"utcDateTime":"x",
        "data":{"note":"a \"quoted\" word \u00e9\n","assignmentId":12345678901234567890,"attachments":["https://h/a",null,7,{"b":[]}],
        "adm":{"coverageLoss":{"claimNumber":"C"}},"contact":{"contactMethods":{"phone":null,"email":{"address":"e"}}},"é":true}} "#;
    let scanned = scan(event.trim()).expect("plain");
    assert_eq!(Some(&scanned), slowly(event.trim()).as_ref());
    let DataField::Object(data) = scanned.data else { panic!("an object") };
    assert_eq!(data.assignment_id, Some(Raw("12345678901234567890")));
    assert_eq!(data.note, Some(Raw(r#""a \"quoted\" word \u00e9\n""#)));
}

#[test]
fn what_is_not_plain_is_left_alone() {
    let deep = format!("{{\"type\":{}{}}}", "[".repeat(64), "]".repeat(64));
    for event in [
        "",
        "null",
        "[]",
        "{",
        "{\"type\":1}}",
        "{\"type\":1,}",
        "{\"type\":01}",
        "{\"type\":1.}",
        "{\"type\":1e}",
        "{\"type\":-}",
        "{\"type\":tru}",
        "{\"type\":\"a\nb\"}",
        "{\"type\":\"\\x\"}",
        "{\"type\":\"\\u12g4\"}",
        "{\"type\":1,\"type\":2}",
        "{\"t\\u0079pe\":1}",
        "{\"data\":\"{}\"}",
        "{\"data\":null}",
        "{\"data\":{\"note\":null,\"note\":1}}",
        "{\"data\":{\"adm\":7}}",
        "{\"data\":{\"attachments\":{}}}",
        "{\"type\" 1}",
        "{type:1}",
        "{\"type\":\"",
        &deep,
    ] {
        assert_eq!(scan(event), None, "{event}");
    }
}
