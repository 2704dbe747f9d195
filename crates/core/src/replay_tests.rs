use super::*;
use crate::file_type::FileTypes;
use crate::format::ErrorNote;
use crate::outcome::{Class, Reason};
use crate::path::PathTemplate;
use crate::policy::Policy;
use crate::source::{Identity, Mapping};

fn source(allow_http: bool) -> Source {
    Source {
        name: "urls".into(),
        mapping: Mapping::Urls,
        identity: Identity::Unsigned,
        policy: Policy { allow_http, ..Policy::default() },
        file_types: FileTypes::any(),
        path: PathTemplate::parse("{host}/{path}").expect("template"),
        route: None,
        enrich: None,
    }
}

fn note(class: Class) -> ErrorNote {
    ErrorNote { class, reason: Reason::HttpStatus, message: "500".into(), http_status: Some(500), at: 7 }
}

fn tired(path: &str) -> Task {
    let error = Some(note(Class::Transient));
    Task {
        url: "http://example.com/a.pdf".into(),
        path: path.into(),
        media_id: Uuid::from_u128(5),
        event_time: Some("2026-11-24T10:00:00Z".into()),
        attempts: 4,
        waits: 3,
        moves: 2,
        waiting_since: Some(9),
        first_error: error.clone(),
        last_error: error,
        life: 2,
        ..Task::default()
    }
}

fn poison(life: u32) -> DeadLetter {
    let letter = DeadLetter::of_poison("urls", note(Class::Poison), Some(b"{broken"), "list.ndjson:7".into());
    DeadLetter { life, ..letter }
}

fn header(name: &str, value: &str) -> (String, Bytes) {
    (name.to_owned(), Bytes::from(value.to_owned()))
}

#[test]
fn a_task_begins_anew_in_its_next_life_and_keeps_what_it_is() {
    let letter = DeadLetter::of_task(tired("kept/a.pdf"), note(Class::Transient));
    let Ok(Replay::Task(task)) = replay(&source(false), letter, &[]) else { panic!("not replayed") };
    let new = Task { life: 3, attempts: 0, waits: 0, moves: 0, waiting_since: None, ..tired("kept/a.pdf") };
    assert_eq!(*task, Task { first_error: None, last_error: None, ..new });
}

#[test]
fn what_was_refused_is_judged_anew() {
    let letter = || DeadLetter::of_task(tired(""), note(Class::Rejected));
    let Ok(Replay::Task(task)) = replay(&source(true), letter(), &[]) else { panic!("not replayed") };
    assert_eq!(task.path, "example.com/a.pdf");
    let Err(NotReplayed::StillRefused(failure)) = replay(&source(false), letter(), &[]) else { panic!("replayed") };
    assert_eq!(failure.reason, Reason::Scheme);
}

#[test]
fn an_event_goes_back_as_it_came_with_its_next_life() {
    let came = [header("ce-id", "1"), header(HEADER_LIFE, "4"), header(HEADER_INPUT, "list.ndjson:7")];
    let Ok(Replay::Event { bytes, headers }) = replay(&source(false), poison(4), &came) else { panic!("not replayed") };
    assert_eq!(bytes, "{broken");
    assert_eq!(headers, [header("ce-id", "1"), header(HEADER_INPUT, "list.ndjson:7"), header(HEADER_LIFE, "5")]);
}

#[test]
fn what_was_cut_or_is_no_event_is_not_replayed() {
    let cut = [header(HEADER_LIFE, "0"), header(HEADER_TRUNCATED, "9000000")];
    let without = DeadLetter { original: None, ..poison(0) };
    for (letter, headers, says) in
        [(poison(0), &cut[..], "only its beginning"), (poison(0), &[], "no event"), (without, &cut[..1], "not kept")]
    {
        let Err(NotReplayed::NotReplayable(why)) = replay(&source(false), letter, headers) else { panic!("replayed") };
        assert!(why.contains(says), "{why}");
    }
}

#[test]
fn only_the_latest_life_counts_whatever_the_order() {
    let (one, other) = (Subject::Attachment(Uuid::from_u128(1)), Subject::Event(Uuid::from_u128(1)));
    let mut latest = Latest::until(u64::MAX);
    for (subject, life, offset) in [(one, 0, 10), (other, 0, 11), (one, 2, 12), (one, 1, 13), (one, 2, 14)] {
        latest.note(subject, life, offset);
    }
    let of = |subject| (10..15).filter(|offset| latest.is(subject, *offset)).collect::<Vec<_>>();
    assert_eq!((of(one), of(other)), (vec![14], vec![11]));
}

#[test]
fn after_the_end_only_a_higher_life_supersedes() {
    let [one, other, new] = [1, 2, 3].map(|n| Subject::Attachment(Uuid::from_u128(n)));
    let mut latest = Latest::until(20);
    for (subject, life, offset) in [(one, 0, 10), (other, 0, 11), (one, 0, 20), (other, 1, 21), (other, 0, 22), (new, 0, 23)] {
        latest.note(subject, life, offset);
    }
    assert!(latest.is(one, 10), "the same life once more hides nothing");
    assert!(!latest.is(other, 11), "its next life has failed, too");
    assert!((20..24).all(|offset| !latest.is(new, offset) && !latest.is(one, offset)));
}

#[test]
fn only_a_later_life_that_is_under_way_counts() {
    let (one, other) = (Subject::Attachment(Uuid::from_u128(1)), Subject::Event(Uuid::from_u128(1)));
    let mut under_way = UnderWay::default();
    for life in [0, 2, 1] {
        under_way.note(one, life);
    }
    under_way.note(other, 0);
    assert!(under_way.after(one, 0) && under_way.after(one, 1) && !under_way.after(one, 2));
    assert!(!under_way.after(other, 0));
}
