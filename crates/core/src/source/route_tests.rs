use bytes::Bytes;

use super::*;
use crate::path::PathTemplate;
use crate::policy::Policy;
use crate::source::{Identity, Mapping, Planned, Source};

fn header(name: &str, values: &[&str]) -> Option<When> {
    Some(When::Header { name: name.into(), any_of: values.iter().map(|v| (*v).to_owned()).collect() })
}

fn field(expression: &str, values: &[&str]) -> Option<When> {
    let field = Field::parse(expression).expect("expression");
    Some(When::Field { field, any_of: values.iter().map(|v| (*v).to_owned()).collect() })
}

/// What each source of the list makes of an event: `Some(true)` takes it, `Some(false)` leaves it, none makes it poison.
fn verdicts(list: &[(&str, Option<When>)], headers: &[(&str, &str)], body: &str) -> Vec<Result<bool, Reason>> {
    let list: Vec<_> = list.iter().map(|(name, when)| ((*name).to_owned(), when.clone())).collect();
    let headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).to_owned(), Bytes::from((*value).to_owned()))).collect();
    let raw = RawEvent { headers: &headers, ..RawEvent::of(body.as_bytes(), 0) };
    let route = |name: &str| Route::new(&list, name).expect("route");
    list.iter().map(|(name, _)| route(name).takes(&raw).map_err(|failure| failure.reason)).collect()
}

#[test]
fn exactly_one_source_takes_each_event() {
    let list = [("a", header("kind", &["a", "x"])), ("b", field("kind", &["b", "x", "7", "true"])), ("rest", None)];
    for (headers, body, taken_by) in [
        (&[("Kind", " a ")][..], "{}", 0),
        (&[("kind", "x")], r#"{"kind":"x"}"#, 0),
        (&[("kind", "b")], "{}", 2),
        (&[], r#"{"kind":" b "}"#, 1),
        (&[], r#"{"kind":7}"#, 1),
        (&[], r#"{"kind":true}"#, 1),
        (&[], r#"{"kind":["b"]}"#, 2),
        (&[], r#"{"other":"b"}"#, 2),
        (&[], "no JSON", 2),
        (&[("kind", "other"), ("kind", "a")], "", 0),
    ] {
        let expected: Vec<_> = (0..3).map(|index| Ok(index == taken_by)).collect();
        assert_eq!(verdicts(&list, headers, body), expected, "{headers:?} {body}");
    }
}

#[test]
fn what_nobody_takes_is_the_poison_of_the_first_source_alone() {
    let list = [("a", header("kind", &["a"])), ("b", field("kind", &["b"]))];
    assert_eq!(verdicts(&list, &[], "{}"), [Err(Reason::Unrouted), Ok(false)]);
    assert_eq!(verdicts(&list, &[], "no JSON"), [Err(Reason::Undecodable), Ok(false)]);
    assert_eq!(verdicts(&list, &[("kind", "a")], "no JSON"), [Ok(true), Ok(false)]);
}

#[test]
fn an_expression_that_cannot_be_worked_out_does_not_hold() {
    let list = [("a", field("length(kind)", &["1"])), ("rest", None)];
    assert_eq!(verdicts(&list, &[], r#"{"kind":7}"#), [Ok(false), Ok(true)]);
    assert_eq!(verdicts(&list, &[], r#"{"kind":"x"}"#), [Ok(true), Ok(false)]);
}

#[test]
fn a_list_that_leaves_open_who_takes_what_is_an_error() {
    let list: Vec<_> = ["a", "b"].map(|name| (name.to_owned(), None)).into();
    assert!(Route::new(&list, "a").expect_err("two").contains("`a`, `b` share a topic"));
    assert!(Route::new(&list[..1], "c").expect_err("absent").contains("`c` is not on"));
    assert!(Field::parse("a[").is_err());
}

#[test]
fn a_source_leaves_the_events_of_others_alone() {
    let list = [("xact".to_owned(), header("kind", &["xact"])), ("urls".to_owned(), None)];
    let source = |name: &str| Source {
        name: name.into(),
        mapping: Mapping::preset(name).expect("preset"),
        identity: Identity::Unsigned,
        policy: Policy::default(),
        file_types: Mapping::Urls.default_file_types(),
        path: PathTemplate::parse("{media_id}").expect("template"),
        route: Some(Route::new(&list, name).expect("route")),
        enrich: None,
    };
    let raw = RawEvent::of(b"https://h/a.pdf", 0);
    assert_eq!(source("xact").plan(&raw), Ok(Planned::Elsewhere));
    assert!(matches!(source("urls").plan(&raw), Ok(Planned::Event(_))));
    let cut = RawEvent { truncated: Some(99), ..raw };
    assert_eq!(source("xact").plan(&cut), Ok(Planned::Elsewhere), "a cut event is the poison of its owner only");
    assert!(source("urls").plan(&cut).is_err());
}
