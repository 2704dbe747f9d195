//! Dead letters that are too large for the log: what of them goes to the object store, and how they are put together
//! again.
//!
//! *Owns*: the bounds on what is appended, where the object is, and what stays in the log of a letter whose rest is there:
//! enough to list it, to make its row and to know its subject. *Does not own*: when the object is written (before the
//! letter is appended), who reads it back.
//!
//! ```text
//! an event's bytes, too large ─▶ object: the bytes as they came            letter: all else, and where they are
//! anything else, too large    ─▶ object: the whole letter with its headers letter: cut to what fits, and where it is
//! ```
//! The object's path is made of its content, so that the same letter made twice has one object.

use std::borrow::Cow;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::format::{self, Columns, DeadLetter, HEADER_LIFE, HEADER_TRUNCATED, Task, VERSION};
use crate::headers::carried;
use crate::ids;
use crate::policy::redact::redact_url;
use crate::replay;
use crate::source::cut;

/// The most bytes of a record that a stage appends: its key, its value and its headers. Brokers take about 1 MiB.
pub const RECORD_BYTES: usize = 1_000_000;
/// The largest dead letter that stays in the log whole, value and headers, in bytes.
pub const LETTER_BYTES: usize = 512 << 10;
/// Where the objects are, below the store's root.
pub const DIRECTORY: &str = ".dead-letters";

/// The most bytes of headers that a letter keeps beside the bytes of its event.
const HEADER_BYTES: usize = 64 << 10;
/// The longest key that a letter has. An event's producer may have chosen a longer one; nobody looks for letters by it.
const KEY_BYTES: usize = 1 << 10;
/// What stays of a URL in a letter that was cut, in bytes.
const CUT_URL: usize = 64 << 10;
/// What stays of any other text.
const CUT_TEXT: usize = 1 << 10;
/// What stays of all columns together.
const CUT_COLUMNS: usize = 64 << 10;

/// A header of a message.
type Header = (String, Bytes);

/// What lies in the object store of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The event's bytes as they came.
    Original,
    /// The whole letter, with the headers of its message.
    Letter,
}

/// Where the rest of a dead letter is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// What lies there.
    pub part: Part,
    /// The object's path in the store.
    pub path: String,
    /// The object's size.
    pub bytes: u64,
    /// The SHA-256 of the object's bytes, lower-case hex.
    pub sha256: String,
    /// The key of the event that the letter is about; nothing where it is about an attachment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_key: Option<Uuid>,
}

/// A dead letter as it goes out.
#[derive(Debug, Clone, PartialEq)]
pub struct Posted {
    /// The message's key.
    pub key: Option<Bytes>,
    /// The message's value.
    pub value: Vec<u8>,
    /// The message's headers.
    pub headers: Vec<Header>,
    /// What has to be in the object store before the message is appended.
    pub apart: Option<Apart>,
}

/// The part of a letter that goes to the object store, and the letter that tells where.
#[derive(Debug, Clone, PartialEq)]
pub struct Apart {
    /// The object's bytes.
    pub object: Bytes,
    /// Their SHA-256.
    pub sha256: [u8; 32],
    letter: Box<DeadLetter>,
}

impl Apart {
    /// The path that the object shall have.
    pub fn path(&self) -> &str {
        self.letter.kept.as_ref().map_or("", |kept| &kept.path)
    }

    /// The message's value where the object really is at this path: other bytes may have stood where it should be.
    pub fn value_at(&self, path: &str) -> Vec<u8> {
        let mut letter = (*self.letter).clone();
        if let Some(kept) = &mut letter.kept {
            path.clone_into(&mut kept.path);
        }
        format::encode(&letter)
    }
}

/// Makes the message of a dead letter, and of one that is too large the object that it refers to.
pub fn post(key: Option<Bytes>, letter: DeadLetter, headers: Vec<Header>) -> Posted {
    let key = key.filter(|key| key.len() <= KEY_BYTES);
    let (value, beside) = (format::encode(&letter), size(&headers));
    if value.len() + beside <= LETTER_BYTES {
        return Posted { key, value, headers, apart: None };
    }
    match replay::original(&letter) {
        Some(bytes) if beside <= HEADER_BYTES => post_original(key, letter, headers, bytes),
        original => post_whole(key, letter, headers, original),
    }
}

fn post_original(key: Option<Bytes>, letter: DeadLetter, headers: Vec<Header>, bytes: Vec<u8>) -> Posted {
    let event_key = Some(ids::event_key(&bytes));
    let letter = DeadLetter { original: None, ..letter };
    sent(key, letter, headers, Part::Original, bytes, event_key)
}

fn post_whole(key: Option<Bytes>, letter: DeadLetter, headers: Vec<Header>, original: Option<Vec<u8>>) -> Posted {
    let texts = headers.iter().map(|(name, value)| (name.clone(), STANDARD.encode(value))).collect();
    let object = format::encode(&Whole { v: VERSION, headers: texts, letter: letter.clone() });
    let told = |name: &str| name == HEADER_LIFE || name == HEADER_TRUNCATED;
    let own = headers.iter().filter(|(name, value)| told(name) && value.len() <= CUT_TEXT).cloned();
    let left = carried(&headers).into_iter().chain(own).collect();
    sent(key, cut_down(letter), left, Part::Letter, object, original.map(|bytes| ids::event_key(&bytes)))
}

fn sent(
    key: Option<Bytes>,
    letter: DeadLetter,
    headers: Vec<Header>,
    part: Part,
    object: Vec<u8>,
    event_key: Option<Uuid>,
) -> Posted {
    let sha256: [u8; 32] = Sha256::digest(&object).into();
    let hex = hex(&sha256);
    let path = format!("{DIRECTORY}/{}/{hex}", letter.source);
    let kept = Kept { part, path, bytes: object.len() as u64, sha256: hex, event_key };
    let letter = DeadLetter { kept: Some(kept), ..letter };
    let value = format::encode(&letter);
    Posted { key, value, headers, apart: Some(Apart { object: object.into(), sha256, letter: Box::new(letter) }) }
}

fn size(headers: &[Header]) -> usize {
    headers.iter().map(|(name, value)| name.len() + value.len()).sum()
}

/// A letter with what its row, its listing and its subject need, each text within bounds.
fn cut_down(letter: DeadLetter) -> DeadLetter {
    let input = letter.input.map(|input| cut(input, CUT_TEXT));
    DeadLetter { original: None, input, task: letter.task.map(cut_task), ..letter }
}

fn cut_task(task: Task) -> Task {
    // Redacted before it is cut: half a URL does not show what of it is secret.
    let url = if task.url.len() > CUT_URL { cut(redact_url(&task.url), CUT_URL) } else { task.url };
    let mut room = CUT_COLUMNS;
    let fits = |(name, value): &(Cow<'static, str>, String)| {
        let left = room.checked_sub(name.len() + value.len());
        room = left.unwrap_or(room);
        left.is_some()
    };
    let columns: Columns = task.columns.into_iter().filter(fits).collect();
    let file_name = task.file_name.map(|name| cut(name, CUT_TEXT));
    Task { url, columns, file_name, headers: Vec::new(), checksum: None, ..task }
}

/// A whole letter as an object.
#[derive(Serialize, Deserialize)]
struct Whole {
    v: u8,
    /// The values in Base64 (RFC 4648 §4).
    headers: Vec<(String, String)>,
    letter: DeadLetter,
}

/// Why a letter cannot be put together again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the object is not what was put there")]
pub struct Changed;

/// Puts a letter together again; `object` is what stands at the path that it names.
pub fn restore(letter: DeadLetter, headers: Vec<Header>, object: &[u8]) -> Result<(DeadLetter, Vec<Header>), Changed> {
    let Some(kept) = &letter.kept else { return Ok((letter, headers)) };
    if object.len() as u64 != kept.bytes || hex(&Sha256::digest(object)) != kept.sha256 {
        return Err(Changed);
    }
    match kept.part {
        Part::Original => Ok((DeadLetter { original: Some(STANDARD.encode(object)), kept: None, ..letter }, headers)),
        Part::Letter => {
            let whole: Whole = format::decode(object).map_err(|_| Changed)?;
            let header = |(name, text): (String, String)| Some((name, Bytes::from(STANDARD.decode(text).ok()?)));
            let headers = whole.headers.into_iter().map(header).collect::<Option<Vec<_>>>().ok_or(Changed)?;
            Ok((whole.letter, headers))
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
#[path = "letters_tests.rs"]
mod tests;
