use super::*;
use crate::format::ErrorNote;
use crate::headers::TRACEPARENT;
use crate::outcome::{Class, Failure, Reason};
use crate::replay::Subject;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn note() -> ErrorNote {
    ErrorNote::of(&Failure::new(Class::Poison, Reason::Undecodable, "no"), 7)
}

fn poison(bytes: &[u8]) -> DeadLetter {
    DeadLetter { life: 3, ..DeadLetter::of_poison("claims", note(), Some(bytes), "list:7".into()) }
}

fn header(name: &str, value: impl Into<Bytes>) -> Header {
    (name.to_owned(), value.into())
}

fn life() -> Vec<Header> {
    vec![header("ce_id", "1"), header(HEADER_LIFE, "3"), header(TRACEPARENT, PARENT)]
}

fn record_bytes(posted: &Posted) -> usize {
    posted.key.as_ref().map_or(0, Bytes::len) + posted.value.len() + size(&posted.headers)
}

/// The letter and the headers as they are read back with the object.
fn back(posted: &Posted, object: &[u8]) -> Result<(DeadLetter, Vec<Header>), Changed> {
    restore(format::decode(&posted.value).expect("a letter"), posted.headers.clone(), object)
}

#[test]
fn a_letter_that_fits_stays_in_the_log_as_it_is() {
    let (letter, key) = (poison(b"{broken"), Some(Bytes::from("k")));
    let posted = post(key.clone(), letter.clone(), life());
    assert_eq!((&posted.key, &posted.headers, &posted.apart), (&key, &life(), &None));
    assert_eq!(format::decode::<DeadLetter>(&posted.value), Ok(letter.clone()));
    assert_eq!(back(&posted, b""), Ok((letter, life())));
}

#[test]
fn the_bytes_of_a_large_event_are_an_object_of_their_own_and_come_back() {
    // Base64 makes four bytes of three: the bound is on what is appended.
    for (bytes, fits) in [(350_000, true), (400_000, false), (1 << 20, false)] {
        let event = vec![b'x'; bytes];
        let posted = post(None, poison(&event), life());
        assert_eq!(posted.apart.is_none(), fits, "{bytes}");
        let Some(apart) = &posted.apart else { continue };
        assert_eq!(apart.object, event);
        assert!(record_bytes(&posted) < 1_000 && posted.headers == life());
        let letter: DeadLetter = format::decode(&posted.value).expect("a letter");
        let kept = letter.kept.clone().expect("kept");
        assert_eq!((kept.part, kept.bytes, kept.path.as_str()), (Part::Original, bytes as u64, apart.path()));
        assert_eq!(kept.path, format!(".dead-letters/claims/{}", kept.sha256));
        assert_eq!(Subject::of(&letter), Some(Subject::Event(ids::event_key(&event))), "known without its bytes");
        assert_eq!(back(&posted, &event), Ok((poison(&event), life())));
    }
}

#[test]
fn the_same_letter_has_the_same_object_whenever_it_is_made() {
    let (event, later) = (vec![b'x'; 1 << 20], ErrorNote { at: 99, ..note() });
    let [one, other] = [note(), later].map(|error| post(None, DeadLetter { error, ..poison(&event) }, life()));
    assert_eq!(one.apart.as_ref().map(Apart::path), other.apart.as_ref().map(Apart::path));
}

#[test]
fn an_object_that_is_elsewhere_is_told_of_there() {
    let posted = post(None, poison(&vec![b'x'; 1 << 20]), life());
    let apart = posted.apart.expect("too large");
    let letter: DeadLetter = format::decode(&apart.value_at("taken-0123")).expect("a letter");
    assert_eq!(letter.kept.map(|kept| kept.path).as_deref(), Some("taken-0123"));
}

#[test]
fn headers_and_keys_of_any_size_leave_a_small_record_and_all_headers_come_back() {
    for (event, ours) in [(vec![b'x'; 10], 700_000), (vec![b'x'; 1 << 20], 300_000)] {
        let headers: Vec<Header> =
            life().into_iter().chain([header("theirs", vec![0xff; ours]), header(HEADER_TRUNCATED, "9")]).collect();
        let posted = post(Some(Bytes::from(vec![b'k'; 900_000])), poison(&event), headers.clone());
        assert!(record_bytes(&posted) < 2_000, "{}", record_bytes(&posted));
        let left: Vec<&str> = posted.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(left, [TRACEPARENT, HEADER_LIFE, HEADER_TRUNCATED]);
        let object = posted.apart.clone().expect("too large").object;
        assert_eq!(back(&posted, &object), Ok((poison(&event), headers)));
        let letter: DeadLetter = format::decode(&posted.value).expect("a letter");
        assert_eq!(Subject::of(&letter), Some(Subject::Event(ids::event_key(&event))));
    }
}

fn large_task() -> Task {
    Task {
        v: VERSION,
        source: "claims".into(),
        trace_id: "t".into(),
        media_id: Uuid::from_u128(5),
        url: format!("https://user:secret-1@h.example/{}?token=secret-2", "x".repeat(900_000)),
        columns: (0..1_000).map(|n| (format!("c{n:04}").into(), "\u{1}".repeat(1_000))).collect(),
        file_name: Some("\u{1}".repeat(100_000)),
        headers: vec![("Authorization".into(), "x".repeat(100_000))],
        ..Task::default()
    }
}

#[test]
fn a_task_that_is_too_large_leaves_what_its_row_needs() {
    let letter = DeadLetter::of_task(large_task(), note());
    let posted = post(Some("t".into()), letter.clone(), Vec::new());
    assert!(posted.value.len() <= RECORD_BYTES, "{}", posted.value.len());
    let small: DeadLetter = format::decode(&posted.value).expect("a letter");
    let task = small.task.as_ref().expect("a task");
    assert_eq!((task.media_id, task.trace_id.as_str(), small.status), (Uuid::from_u128(5), "t", Class::Poison));
    assert_eq!(Subject::of(&small), Some(Subject::Attachment(Uuid::from_u128(5))));
    assert!(task.url.starts_with("https://h.example/x") && task.url.len() <= CUT_URL);
    assert!(task.columns.contains_key("c0000") && !task.columns.contains_key("c0999"));
    assert!(!String::from_utf8_lossy(&posted.value).contains("secret"), "a cut URL shows no secret");
    let object = posted.apart.clone().expect("too large").object;
    assert_eq!(back(&posted, &object), Ok((letter, Vec::new())));
}

#[test]
fn what_was_changed_is_not_taken_for_the_letter() {
    let event = vec![b'x'; 1 << 20];
    let posted = post(None, poison(&event), life());
    for wrong in [&event[1..], &[&event[1..], b"y"].concat(), b""] {
        assert_eq!(back(&posted, wrong), Err(Changed));
    }
}
