//! Replay: what becomes of a dead letter that is tried once more.
//!
//! *Owns*: what is appended for it, and why it may not be. *Does not own*: which letters are meant, what the tables
//! say of them, the append itself.
//!
//! The same letter replayed two times is harmless: both copies have the same life, and rows are keyed by attachment and
//! life (a stored row by attachment alone).

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use uuid::Uuid;

use crate::format::{DeadLetter, HEADER_INPUT, HEADER_LIFE, HEADER_TRUNCATED, Task};
use crate::headers;
use crate::ids;
use crate::outcome::Failure;
use crate::source::Source;

/// What a dead letter is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// An attachment, by its media id.
    Attachment(Uuid),
    /// An event that cannot be decoded, by its key.
    Event(Uuid),
}

impl Subject {
    /// What this letter is about; nothing where it has neither a task nor an event's bytes.
    pub fn of(letter: &DeadLetter) -> Option<Subject> {
        match &letter.task {
            Some(task) => Some(Subject::Attachment(task.media_id)),
            None => event_key(letter).map(Subject::Event),
        }
    }

    /// The key of its row in `attachments`, or of its row in `events`.
    pub fn id(self) -> Uuid {
        match self {
            Subject::Attachment(id) | Subject::Event(id) => id,
        }
    }
}

/// Which letter of each subject is its latest: that of the highest life, and of these the last in its topic. The
/// others are superseded. Memory: about 80 bytes for each subject.
///
/// Letters at or after an end come from lives that began while letters before it were being replayed. They supersede
/// only what is of a lower life, so that a letter that came once more in the same life does not hide the one before.
#[derive(Debug)]
pub struct Latest {
    letters: HashMap<Subject, (u32, u64)>,
    end: u64,
}

impl Latest {
    /// With the letters before this offset as those that may be replayed.
    pub fn until(end: u64) -> Self {
        Latest { letters: HashMap::new(), end }
    }

    /// Notes the letter at this offset. Letters are noted in the order of their offsets.
    pub fn note(&mut self, subject: Subject, life: u32, offset: u64) {
        if offset >= self.end {
            if let Some(latest) = self.letters.get_mut(&subject).filter(|latest| life > latest.0) {
                *latest = (life, offset);
            }
            return;
        }
        let latest = self.letters.entry(subject).or_insert((life, offset));
        if life >= latest.0 {
            *latest = (life, offset);
        }
    }

    /// Whether the letter at this offset is the latest of its subject.
    pub fn is(&self, subject: Subject, offset: u64) -> bool {
        self.letters.get(&subject).is_some_and(|latest| latest.1 == offset)
    }
}

/// The lives that are still under way. First lives are not noted: no letter comes before them. Memory: about 50 bytes
/// for each subject that was replayed and has not ended.
#[derive(Debug, Default)]
pub struct UnderWay {
    lives: HashMap<Subject, u32>,
}

impl UnderWay {
    /// Notes that this life of a subject has not ended.
    pub fn note(&mut self, subject: Subject, life: u32) {
        if life > 0 {
            let highest = self.lives.entry(subject).or_default();
            *highest = life.max(*highest);
        }
    }

    /// Whether a life after this one is under way.
    pub fn after(&self, subject: Subject, life: u32) -> bool {
        self.lives.get(&subject).is_some_and(|highest| *highest > life)
    }
}

/// What is appended for a dead letter.
#[derive(Debug, Clone, PartialEq)]
pub enum Replay {
    /// A task for `pending`, in its next life.
    Task(Box<Task>),
    /// An event for the source's input.
    Event {
        /// The event's bytes as they came.
        bytes: Bytes,
        /// Its headers as they came, with its next life.
        headers: Vec<(String, Bytes)>,
    },
}

/// Why a dead letter is not replayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotReplayed {
    /// The policy refuses its URL as before.
    #[error("still refused: {0}")]
    StillRefused(Failure),
    /// There is nothing to replay; the text says why and what to do instead.
    #[error("{0}")]
    NotReplayable(&'static str),
}

/// What becomes of a letter; `headers` are those of the message that holds it. One that is partly in the object store is
/// put together again before ([`letters::restore`](crate::letters::restore)).
pub fn replay(source: &Source, letter: DeadLetter, headers: &[(String, Bytes)]) -> Result<Replay, NotReplayed> {
    if letter.kept.is_some() {
        return Err(NotReplayed::NotReplayable(
            "its original is not in the object store as it was put there: restore the object that `longshore dlq show` names, or \
             feed the event again",
        ));
    }
    let life = letter.life.saturating_add(1);
    match letter.task {
        Some(task) => {
            let task = Task { carried: headers::carried(headers), ..task };
            next_life(source, task, life).map(|task| Replay::Task(Box::new(task)))
        }
        None => event(&letter, headers, life),
    }
}

fn next_life(source: &Source, task: Task, life: u32) -> Result<Task, NotReplayed> {
    let mut task =
        Task { life, attempts: 0, waits: 0, moves: 0, waiting_since: None, first_error: None, last_error: None, ..task };
    // A task that was refused has no path yet: it is judged by the policy of today.
    if task.path.is_empty() {
        task.path = source.judge(&task).map_err(NotReplayed::StillRefused)?;
    }
    Ok(task)
}

fn event(letter: &DeadLetter, headers: &[(String, Bytes)], life: u32) -> Result<Replay, NotReplayed> {
    let no = |why| Err(NotReplayed::NotReplayable(why));
    if headers.iter().any(|(name, _)| name == HEADER_TRUNCATED) {
        return no("only its beginning was kept: shorten the event and feed it again");
    }
    // Events' letters carry their headers, the life among them; those of records of our own topics carry none.
    if !headers.iter().any(|(name, _)| name == HEADER_LIFE) {
        return no("it is no event but a record between two stages that could not be read: feed its event again");
    }
    let Some(bytes) = original(letter) else {
        return no("its bytes were not kept: feed the event again");
    };
    let kept = headers.iter().filter(|(name, _)| name != HEADER_LIFE && name != HEADER_INPUT).cloned();
    let input = letter.input.iter().map(|input| (HEADER_INPUT.to_owned(), Bytes::from(input.clone())));
    let life = (HEADER_LIFE.to_owned(), Bytes::from(life.to_string()));
    Ok(Replay::Event { bytes: bytes.into(), headers: kept.chain(input).chain([life]).collect() })
}

/// The key of the event that a letter is about.
fn event_key(letter: &DeadLetter) -> Option<Uuid> {
    let kept = letter.kept.as_ref().and_then(|kept| kept.event_key);
    kept.or_else(|| original(letter).map(|bytes| ids::event_key(&bytes)))
}

/// The event's bytes as they came; nothing where they are not in the letter.
pub fn original(letter: &DeadLetter) -> Option<Vec<u8>> {
    STANDARD.decode(letter.original.as_deref()?).ok()
}

#[cfg(test)]
#[path = "replay_tests.rs"]
mod tests;
