use super::*;

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn places() -> Places {
    Places { attachments: "a".into(), failed: "f".into(), events: "e".into(), dead_letters: "d".into() }
}

/// Attachment 1 is stored, 2 failed, 3 is in flight, 4 waits as a dead letter, 5 failed once and was stored later.
fn healthy() -> Evidence {
    Evidence {
        events: vec![id(12), id(11), id(13), id(14), id(15)],
        accepted: vec![id(2), id(1), id(3), id(4), id(5), id(1)],
        partial: false,
        in_flight: vec![id(3), id(3), id(4)],
        letters: vec![(id(5), 0), (id(2), 1), (id(2), 0)],
        letters_in_flight: vec![(id(4), 0)],
        stored: vec![id(5), id(1)],
        failed: vec![(id(2), 0), (id(5), 0), (id(2), 1)],
    }
}

fn found(evidence: Evidence) -> Vec<(Kind, u128)> {
    let faults = evidence.faults(&places());
    faults.into_iter().map(|fault| (fault.kind, fault.id.map_or(0, |id| id.as_u128()))).collect()
}

#[test]
fn what_is_whole_has_no_faults() {
    assert_eq!(found(healthy()), []);
    assert_eq!(found(Evidence::default()), []);
}

#[test]
fn an_attachment_that_is_nowhere_is_lost() {
    let mut evidence = healthy();
    evidence.stored.retain(|other| *other != id(1));
    assert_eq!(found(evidence), [(Kind::Lost, 1)], "a deleted row");
    let mut evidence = healthy();
    evidence.in_flight.clear();
    assert_eq!(found(evidence), [(Kind::Lost, 3)], "a deleted task; 4 still has its letter");
    let without_failed_rows = || {
        let mut evidence = healthy();
        evidence.failed.retain(|(other, _)| *other != id(2));
        evidence
    };
    let mut evidence = without_failed_rows();
    assert_eq!(found(without_failed_rows()), [(Kind::NoFailedRow, 2), (Kind::NoFailedRow, 2)], "its letters still tell of it");
    evidence.letters.retain(|(other, _)| *other != id(2));
    assert_eq!(found(evidence), [(Kind::Lost, 2)]);
}

#[test]
fn an_attachment_without_its_event_is_named_unless_events_were_left_out() {
    let without = |partial| {
        let mut evidence = Evidence { partial, ..healthy() };
        evidence.accepted.retain(|other| *other != id(1) && *other != id(2) && *other != id(3));
        found(evidence)
    };
    assert_eq!(without(false), [(Kind::NoEvent, 1), (Kind::NoEvent, 2)], "3 is in flight");
    assert_eq!(without(true), []);
}

#[test]
fn what_is_there_twice_is_named_once() {
    let mut evidence = healthy();
    evidence.stored.extend([id(1), id(1)]);
    evidence.failed.push((id(2), 1));
    evidence.events.push(id(14));
    assert_eq!(found(evidence), [(Kind::StoredTwice, 1), (Kind::FailedTwice, 2), (Kind::EventTwice, 14)]);
}

#[test]
fn a_failed_row_and_its_dead_letter_go_together() {
    let mut evidence = healthy();
    evidence.letters.retain(|life| *life != (id(2), 1));
    assert_eq!(found(evidence), [(Kind::NoDeadLetter, 2)]);
    let mut evidence = healthy();
    evidence.failed.retain(|life| *life != (id(2), 1));
    assert_eq!(found(evidence), [(Kind::NoFailedRow, 2)]);
    let mut evidence = healthy();
    evidence.letters.push((id(2), 1));
    assert_eq!(found(evidence), [], "a letter that was appended twice");
    let mut evidence = healthy();
    evidence.letters.retain(|life| life.0 != id(5));
    evidence.failed.retain(|life| life.0 != id(5));
    evidence.letters.push((id(5), 7));
    assert_eq!(found(evidence), [], "a stored row ends the matter");
}

#[test]
fn only_what_both_passes_saw_counts() {
    let fault = |n| Fault::of_id(Kind::Lost, id(n), "e");
    assert_eq!(confirmed(&[fault(1), fault(2)], vec![fault(2), fault(3)]), [fault(2)]);
}

#[test]
fn claims_tell_who_speaks_for_an_object() {
    let claims =
        Claims::new(vec![Claim::of("h/a", "00"), Claim::of("h/a", "00"), Claim::of("h/b", "00"), Claim::of("h/b", "01")]);
    assert!(claims.cover("h/a") && claims.cover("h/b") && !claims.cover("h/c"));
    assert!(!claims.disagree("h/a"), "equal bytes may be shared");
    assert!(claims.disagree("h/b"));
}
