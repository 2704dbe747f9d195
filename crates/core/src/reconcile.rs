//! The proof of promises 1 and 2: of what was accepted, nothing is lost and nothing is counted twice.
//!
//! *Owns*: the set logic. *Does not own*: where the ids come from, and the order in which they are read.
//!
//! Memory: 16 bytes for each id of each kind (of events twice: the event's key and its attachment's id), 20 for each
//! failed row and each dead letter, in plain vectors that are sorted once; about 60 MB for a million stored
//! attachments, and as much again while a vector grows. Faults cost about 100 bytes each.

use std::fmt;

use uuid::Uuid;

/// What is wrong, from a closed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An accepted attachment is neither stored nor failed nor in flight, and no dead letter tells of it.
    Lost,
    /// Two rows in `attachments` for one attachment.
    StoredTwice,
    /// Two rows in `attachments_failed` for one life of an attachment.
    FailedTwice,
    /// Two rows in `events` for one event.
    EventTwice,
    /// A failed row whose dead letter is not in its topic.
    NoDeadLetter,
    /// A recorded dead letter without its failed row, of an attachment that is not stored.
    NoFailedRow,
    /// A stored or failed attachment whose event has no row and is not in its topic.
    NoEvent,
    /// An offset that must be there is missing in its topic.
    MissingRecord,
    /// A record that is there but cannot be read.
    DamagedRecord,
    /// A row that does not say what it is about.
    DamagedRow,
    /// The object of a row is not there.
    ObjectMissing,
    /// The object of a row has another size.
    ObjectSize,
    /// The object of a row has other bytes.
    ObjectContent,
    /// Two rows with different contents claim one object.
    PathClaimedTwice,
    /// The object that a dead letter refers to is not there, or is not what was put there.
    LetterObject,
}

impl Kind {
    /// The name used on the command line and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Lost => "lost",
            Kind::StoredTwice => "stored_twice",
            Kind::FailedTwice => "failed_twice",
            Kind::EventTwice => "event_twice",
            Kind::NoDeadLetter => "no_dead_letter",
            Kind::NoFailedRow => "no_failed_row",
            Kind::NoEvent => "no_event",
            Kind::MissingRecord => "missing_record",
            Kind::DamagedRecord => "damaged_record",
            Kind::DamagedRow => "damaged_row",
            Kind::ObjectMissing => "object_missing",
            Kind::ObjectSize => "object_size",
            Kind::ObjectContent => "object_content",
            Kind::PathClaimedTwice => "path_claimed_twice",
            Kind::LetterObject => "letter_object",
        }
    }

    /// What to do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Kind::Lost => "fetch its input once more: what is stored is skipped, this one is not",
            Kind::StoredTwice | Kind::FailedTwice | Kind::EventTwice => {
                "remove one of the two rows with a Delta tool; somebody else wrote to the table, or this is a defect to report"
            }
            Kind::NoDeadLetter => "restore log.db from a copy; the row still tells what failed",
            Kind::NoFailedRow => "restore the table from a copy; `longshore dlq show` with the id tells the whole story",
            Kind::NoEvent => "restore the events table from a copy; the attachment itself is as its row says",
            Kind::MissingRecord => "restore log.db from a copy, or fetch the input once more",
            Kind::DamagedRecord => "check the disk, then restore log.db from a copy, or fetch the input once more",
            Kind::DamagedRow => "somebody else wrote to the table: remove the row with a Delta tool",
            Kind::ObjectMissing => "restore the object from a copy, or remove its row and fetch its input once more",
            Kind::ObjectSize | Kind::ObjectContent => {
                "somebody changed the object: restore it from a copy, or remove it and its row and fetch its input once more"
            }
            Kind::LetterObject => {
                "restore the object from a copy; without it the letter cannot be replayed: feed its event again"
            }
            Kind::PathClaimedTwice => "at most one of the rows is right: compare their sha256 with the object's",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// What is wrong.
    pub kind: Kind,
    /// The attachment, or the event's key.
    pub id: Option<Uuid>,
    /// Where: a table, a topic with its offset, an object's path; without secrets.
    pub place: String,
}

impl Fault {
    /// A fault of an attachment or event.
    pub fn of_id(kind: Kind, id: Uuid, place: impl Into<String>) -> Self {
        Fault { kind, id: Some(id), place: place.into() }
    }

    /// A fault of something else.
    pub fn at(kind: Kind, place: impl Into<String>) -> Self {
        Fault { kind, id: None, place: place.into() }
    }
}

/// One failed life of an attachment.
pub type Life = (Uuid, u32);

/// What one pass found, in any order and with repeats.
#[derive(Debug, Default)]
pub struct Evidence {
    /// The keys of the rows of `events`.
    pub events: Vec<Uuid>,
    /// The attachments of accepted events.
    pub accepted: Vec<Uuid>,
    /// Whether events of some days only were read.
    pub partial: bool,
    /// The attachments in topics that somebody must still read.
    pub in_flight: Vec<Uuid>,
    /// The lives whose dead letter is in its topic and recorded.
    pub letters: Vec<Life>,
    /// The lives whose dead letter waits to be recorded.
    pub letters_in_flight: Vec<Life>,
    /// The attachments of the rows of `attachments`.
    pub stored: Vec<Uuid>,
    /// The lives of the rows of `attachments_failed`.
    pub failed: Vec<Life>,
}

/// The names under which faults are reported.
#[derive(Debug, Clone)]
pub struct Places {
    /// The table of stored attachments.
    pub attachments: String,
    /// The table of failed attachments.
    pub failed: String,
    /// The table of events.
    pub events: String,
    /// The topic of dead letters.
    pub dead_letters: String,
}

impl Evidence {
    /// Everything that the ids alone prove to be wrong, sorted.
    pub fn faults(mut self, places: &Places) -> Vec<Fault> {
        self.sort();
        let mut faults = self.doubled(places);
        self.accepted.dedup();
        faults.extend(self.lost(places));
        faults.extend(self.without_event(places));
        faults.extend(self.without_letter(places));
        faults.extend(self.without_row(places));
        faults.sort();
        faults
    }

    fn sort(&mut self) {
        for ids in [&mut self.events, &mut self.accepted, &mut self.in_flight, &mut self.stored] {
            ids.sort_unstable();
        }
        for lives in [&mut self.letters, &mut self.letters_in_flight, &mut self.failed] {
            lives.sort_unstable();
        }
    }

    fn doubled(&self, places: &Places) -> Vec<Fault> {
        let of = |kind, place: &str| {
            let place = place.to_owned();
            move |id| Fault::of_id(kind, id, place.clone())
        };
        let mut faults: Vec<_> = repeated(&self.stored).map(of(Kind::StoredTwice, &places.attachments)).collect();
        faults.extend(repeated(&self.events).map(of(Kind::EventTwice, &places.events)));
        let life = |(id, life)| Fault::of_id(Kind::FailedTwice, id, format!("{}, life {life}", places.failed));
        faults.extend(repeated(&self.failed).map(life));
        faults
    }

    fn lost(&self, places: &Places) -> impl Iterator<Item = Fault> {
        let ended = |id: &Uuid| has(&self.stored, id) || has_life(&self.failed, id);
        let on_its_way = |id: &Uuid| has(&self.in_flight, id) || has_life(&self.letters_in_flight, id);
        // With a recorded letter it is not lost: its row is missing, which is a fault of its own.
        let has_letter = |id: &Uuid| has_life(&self.letters, id);
        let lost = self.accepted.iter().filter(move |id| !ended(id) && !on_its_way(id) && !has_letter(id));
        lost.map(|id| Fault::of_id(Kind::Lost, *id, format!("accepted in {}", places.events)))
    }

    fn without_event(&self, places: &Places) -> Vec<Fault> {
        if self.partial {
            return Vec::new();
        }
        let mut ended: Vec<Uuid> = self.stored.iter().copied().chain(self.failed.iter().map(|(id, _)| *id)).collect();
        ended.sort_unstable();
        ended.dedup();
        ended.retain(|id| !has(&self.accepted, id) && !has(&self.in_flight, id));
        ended.into_iter().map(|id| Fault::of_id(Kind::NoEvent, id, places.events.clone())).collect()
    }

    fn without_letter(&self, places: &Places) -> impl Iterator<Item = Fault> {
        let known = |life: &Life| self.letters.binary_search(life).is_ok() || self.letters_in_flight.binary_search(life).is_ok();
        let alone = self.failed.iter().filter(move |life| !known(life) && !has(&self.stored, &life.0));
        alone.map(|(id, life)| Fault::of_id(Kind::NoDeadLetter, *id, format!("{}, life {life}", places.failed)))
    }

    fn without_row(&self, places: &Places) -> impl Iterator<Item = Fault> {
        let alone = |life: &&Life| self.failed.binary_search(life).is_err() && !has(&self.stored, &life.0);
        let distinct = self.letters.chunk_by(|a, b| a == b).map(|same| &same[0]);
        let alone = distinct.filter(alone);
        alone.map(|(id, life)| Fault::of_id(Kind::NoFailedRow, *id, format!("{}, life {life}", places.dead_letters)))
    }
}

/// What stands more than once in a sorted list, each once.
fn repeated<T: Copy + PartialEq>(sorted: &[T]) -> impl Iterator<Item = T> {
    sorted.chunk_by(|a, b| a == b).filter(|same| same.len() > 1).map(|same| same[0])
}

fn has(sorted: &[Uuid], id: &Uuid) -> bool {
    sorted.binary_search(id).is_ok()
}

fn has_life(sorted: &[Life], id: &Uuid) -> bool {
    let first = sorted.partition_point(|(other, _)| other < id);
    sorted.get(first).is_some_and(|(other, _)| other == id)
}

/// A row's claim on an object: 24 bytes, whatever the path's length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    path: [u8; 16],
    content: [u8; 8],
}

impl Claim {
    /// The claim of a row on the object at `path`, whose SHA-256 in hex is `sha256`.
    pub fn of(path: &str, sha256: &str) -> Self {
        Claim { path: digest(path), content: digest(sha256) }
    }
}

/// The first bytes of a text's SHA-256: 128 bits do not collide by chance.
fn digest<const N: usize>(text: &str) -> [u8; N] {
    use sha2::Digest as _;
    let whole = sha2::Sha256::digest(text.as_bytes());
    let mut first = [0; N];
    first.copy_from_slice(&whole[..N]);
    first
}

/// Which objects are spoken for.
#[derive(Debug, Default)]
pub struct Claims {
    claims: Vec<Claim>,
}

impl Claims {
    /// Sorts what the rows and the results in flight claim.
    pub fn new(mut claims: Vec<Claim>) -> Self {
        claims.sort_unstable();
        claims.dedup();
        Claims { claims }
    }

    /// Whether somebody claims the object at this path.
    pub fn cover(&self, path: &str) -> bool {
        !self.of(path).is_empty()
    }

    /// Whether rows that differ in their content claim the object at this path.
    pub fn disagree(&self, path: &str) -> bool {
        self.of(path).len() > 1
    }

    fn of(&self, path: &str) -> &[Claim] {
        let path: [u8; 16] = digest(path);
        let from = self.claims.partition_point(|claim| claim.path < path);
        let length = self.claims[from..].partition_point(|claim| claim.path == path);
        &self.claims[from..from + length]
    }
}

/// The faults that two passes agree on; both are sorted.
pub fn confirmed(first: &[Fault], second: Vec<Fault>) -> Vec<Fault> {
    second.into_iter().filter(|fault| first.binary_search(fault).is_ok()).collect()
}

#[cfg(test)]
#[path = "reconcile_tests.rs"]
mod tests;
