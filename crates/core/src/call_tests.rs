#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn get(url: &str) -> Result<CallTemplate, CallError> {
    CallTemplate::parse(Method::Get, url, Vec::new(), None)
}

fn fields<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn fields_are_put_into_the_url_encoded() {
    let template = get("https://api.example.com:8443/items/{id}/files?u={url}&again={id}").unwrap();
    assert_eq!(template.fields(), ["id", "url"]);
    assert_eq!(template.endpoint().as_str(), "https://api.example.com:8443/");
    let call = template.render(&fields([("id", "a/b ä?#"), ("url", "https://h/a?x=1&y"), ("more", "")])).unwrap();
    assert_eq!(
        call.url,
        "https://api.example.com:8443/items/a%2Fb%20%C3%A4%3F%23/files?u=https%3A%2F%2Fh%2Fa%3Fx%3D1%26y&again=a%2Fb%20%C3%A4%3F%23"
    );
    assert_eq!((call.method, call.body), (Method::Get, None));
}

#[test]
fn no_value_leads_out_of_its_place() {
    let template = get("https://api.example.com/items/{id}/files").unwrap();
    for value in [".", ".."] {
        assert_eq!(template.render(&fields([("id", value)])), Err(CallError::DotSegment), "{value}");
    }
    for value in ["", " "] {
        assert_eq!(template.render(&fields([("id", value)])), Err(CallError::Missing("id".into())), "{value:?}");
    }
    assert_eq!(template.render(&fields([])), Err(CallError::Missing("id".into())));
    for odd in ["%2e%2e", "..\\..", "../../x", "...", "a%00"] {
        let url = Url::parse(&template.render(&fields([("id", odd)])).unwrap().url).unwrap();
        assert_eq!(url.path_segments().unwrap().count(), 3, "{url}");
    }
}

#[test]
fn nobody_but_the_endpoint_is_asked() {
    for wrong in [
        "{url}",
        "https://{host}/x",
        "https://api.example.com{x}/y",
        "https://api.example.com:{port}/y",
        "/x",
        "ftp://h/",
        "https://u:p@h/",
        "https:///x",
        "file:///etc/passwd",
        "",
    ] {
        assert!(matches!(get(wrong), Err(CallError::Url(_))), "{wrong}: {:?}", get(wrong).map(drop));
    }
    for wrong in ["https://h/{", "https://h/}", "https://h/{}", "https://h/{a", "https://h/{a{b}}"] {
        assert_eq!(get(wrong), Err(CallError::Brace), "{wrong}");
    }
    assert_eq!(get("https://h/{{x}}/{y}").unwrap().render(&fields([("y", "1")])).unwrap().url, "https://h/{x}/1");
}

#[test]
fn a_body_is_json_whatever_the_values_are() {
    let body = json!({"id": "{id}", "list": ["x-{id}", 1, null], "deep": {"k{id}": true}});
    let template = CallTemplate::parse(Method::Post, "https://h/x", Vec::new(), Some(&body)).unwrap();
    let call = template.render(&fields([("id", "a\"},{\u{1}")])).unwrap();
    let sent: Value = serde_json::from_slice(&call.body.unwrap()).unwrap();
    assert_eq!(sent, json!({"id": "a\"},{\u{1}", "list": ["x-a\"},{\u{1}", 1, null], "deep": {"k{id}": true}}));
    assert_eq!(CallTemplate::parse(Method::Get, "https://h/x", Vec::new(), Some(&body)), Err(CallError::BodyOnGet));
}

#[test]
fn nothing_secret_is_shown() {
    let headers = vec![("Authorization".to_owned(), Secret::new("5ec2e7"))];
    let template = CallTemplate::parse(Method::Get, "https://h/x?api_key=5ec2e7&id={id}", headers, None).unwrap();
    let call = template.render(&fields([("id", "1")])).unwrap();
    assert!(!format!("{template:?} {call:?} {:?}", call.headers).contains("5ec2e7"));
}

#[test]
fn fields_are_read_of_the_event() {
    let fields =
        Fields::parse([("id", "data.id"), ("n", "data.n"), ("flag", "flag"), ("gone", "nowhere"), ("nil", "nil")]).unwrap();
    let event = br#"{"data":{"id":"a","n":9007199254740993},"flag":true,"nil":null}"#;
    let read = fields.read(event).unwrap();
    let pairs: Vec<_> = read.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(pairs, [("flag", "true"), ("id", "a"), ("n", "9007199254740993")]);
    for wrong in [&b"{"[..], b"", b"\xFF", br#"{"data":{"id":["a"]}}"#, "[".repeat(100_000).as_bytes()] {
        assert_eq!(fields.read(wrong).unwrap_err().class, Class::Poison);
    }
    assert!(matches!(Fields::parse([("id", "a[")]), Err(CallError::Expression { .. })));
}

#[test]
fn a_text_is_picked_from_the_answer() {
    let pick = Pick::parse("file.url").unwrap();
    assert_eq!(pick.text(br#"{"file":{"url":"https://h/a"}}"#), Ok("https://h/a".to_owned()));
    for (answer, class) in [
        (&b"<html>"[..], Class::Transient),
        (b"", Class::Transient),
        (b"\"\xFF\"", Class::Transient),
        (b"{}", Class::Permanent),
        (br#"{"file":{"url":" "}}"#, Class::Permanent),
        (br#"{"file":{"url":[]}}"#, Class::Permanent),
    ] {
        let failure = pick.text(answer).unwrap_err();
        assert_eq!((failure.class, failure.reason), (class, Reason::Lookup), "{failure}");
    }
}

#[test]
fn a_refresh_that_cannot_succeed_is_expired() {
    let of = |class| refresh_failure(Failure::new(class, Reason::HttpStatus, "no").with_status(404));
    for class in [Class::Permanent, Class::Rejected] {
        assert_eq!((of(class).class, of(class).reason), (Class::Permanent, Reason::Expired));
    }
    for class in [Class::Transient, Class::Throttled] {
        assert_eq!((of(class).class, of(class).reason, of(class).http_status), (class, Reason::Lookup, Some(404)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_value_stays_in_its_place(value in any::<String>()) {
        let template = get("https://api.example.com/items/{id}/files?q={id}").unwrap();
        if let Ok(call) = template.render(&fields([("id", &value)])) {
            let url = Url::parse(&call.url).unwrap();
            prop_assert_eq!(url.host_str(), Some("api.example.com"));
            prop_assert_eq!(url.path_segments().unwrap().count(), 3);
            prop_assert_eq!(url.query_pairs().next().unwrap().1, value.as_str());
        }
    }

    #[test]
    fn any_template_and_any_answer(text in any::<String>()) {
        let _ = get(&text);
        let _ = get(&format!("https://h/{text}"));
        let _ = Pick::parse("a.b").unwrap().text(text.as_bytes());
    }
}
