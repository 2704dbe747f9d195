use super::*;

fn refusal(text: &str) -> String {
    parse("the event", text).expect_err("poison").message
}

#[test]
fn values_are_read_as_they_stand() {
    let text = r#"{"a":[1,-2,2.5,true,null,"é"],"b":{}}"#;
    assert_eq!(parse("the event", text).expect("JSON").to_string(), text);
    assert_eq!(parse("the event", "18446744073709551615").expect("JSON").to_string(), "18446744073709551615");
}

#[test]
fn a_key_may_not_stand_twice_at_any_level() {
    assert_eq!(refusal(r#"{"a":1,"a":2}"#), "the event is ambiguous: the key `a` stands twice (line 1, column 10)");
    assert!(refusal(r#"[{"x":[{"b":1,"b":1}]}]"#).contains("the key `b` stands twice"));
    assert!(parse("the event", r#"{"a":{"a":1},"b":{"a":1}}"#).is_ok());
    assert!(refusal(&format!(r#"{{"{0}":1,"{0}":2}}"#, "k".repeat(9_999))).len() < 200);
}

#[test]
fn depth_is_bounded_and_said_plainly() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse("the event", &nested(MAX_DEPTH)).is_ok());
    assert!(check_depth("the event", &nested(MAX_DEPTH)).is_ok());
    for depth in [MAX_DEPTH + 1, 10_000] {
        assert_eq!(refusal(&nested(depth)), "the event is nested deeper than 127 levels");
        assert!(check_depth("the event", &nested(depth)).is_err());
    }
    let objects = format!("{}1{}", r#"{"a":"#.repeat(10_000), "}".repeat(10_000));
    assert_eq!(refusal(&objects), "the event is nested deeper than 127 levels");
}

#[test]
fn messages_have_a_place_and_no_values() {
    assert_eq!(refusal(r#"{"name": "Ann"#), "the event ends too early (line 1, column 13)");
    assert_eq!(refusal("{\n\"name\": Ann}"), "the event is not JSON: expected value (line 2, column 9)");
    assert_eq!(refusal(""), "the event is empty");
    assert!(!refusal(r#"{"name": "Ann", Smith}"#).contains("Ann"));
}
