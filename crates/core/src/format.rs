//! What travels between the stages: tasks, results and dead letters, as JSON with a version `v`.
//! Unknown fields are ignored, so that a newer writer and an older reader get along.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::headers;
use crate::letters::Kept;
use crate::outcome::{Class, Failure, Reason};
use crate::source::cut;
use crate::time::Micros;

use crate::headers::{HEADER_ATTEMPTS, HEADER_CLIMB};
pub use crate::headers::{HEADER_INPUT, HEADER_LIFE, HEADER_REMAPPED, HEADER_TRUNCATED, HEADER_URL_FIELD};

/// The version that this build writes.
pub const VERSION: u8 = 1;

/// The longest sentence about a failure that is carried along, in bytes.
const MESSAGE_BYTES: usize = 2_000;

/// Further columns of a row, by name: what a mapping reads in an event beside what every source has.
pub type Columns = BTreeMap<Cow<'static, str>, String>;

/// A failure as it is carried along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorNote {
    /// The outcome class.
    pub class: Class,
    /// The cause.
    pub reason: Reason,
    /// One sentence for people, without secrets.
    pub message: String,
    /// The HTTP status, if there was an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// When it happened.
    pub at: Micros,
}

impl ErrorNote {
    /// A failure as it was noted at this time.
    pub fn of(failure: &Failure, at: Micros) -> Self {
        let (class, reason, http_status) = (failure.class, failure.reason, failure.http_status);
        ErrorNote { class, reason, message: cut(failure.message.clone(), MESSAGE_BYTES), http_status, at }
    }
}

/// One attachment to download.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Task {
    /// The format's version.
    pub v: u8,
    /// The source's name.
    pub source: String,
    /// The event's id.
    pub trace_id: String,
    /// The attachment's id.
    pub media_id: Uuid,
    /// The URL as the event gave it, signature and all.
    pub url: String,
    /// The object path that it shall have.
    pub path: String,
    /// The event's time, verbatim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_time: Option<String>,
    /// When the log took the event.
    pub ingested_at: Micros,
    /// Further columns of its row, and what its path needs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: Columns,
    /// Headers of its request, as the event gave them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// What its bytes must hash to, as the event gave it: `sha256:<hex>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    /// The file's name, where the event gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
    /// Attempts spent so far.
    #[serde(default)]
    pub attempts: u32,
    /// Waits so far that spent no attempt.
    #[serde(default)]
    pub waits: u32,
    /// How often it was moved behind other tasks.
    #[serde(default)]
    pub moves: u32,
    /// When it first waited or was moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_since: Option<Micros>,
    /// The first failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_error: Option<ErrorNote>,
    /// The latest failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<ErrorNote>,
    /// How often it was replayed; travels in [`HEADER_LIFE`].
    #[serde(skip)]
    pub life: u32,
    /// Headers of the event's message that go on with it ([`carried`](crate::headers::carried)); they travel as headers.
    #[serde(skip)]
    pub carried: Vec<(String, Bytes)>,
}

/// A stored attachment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// The format's version.
    pub v: u8,
    /// The source's name.
    pub source: String,
    /// The event's id.
    pub trace_id: String,
    /// The attachment's id.
    pub media_id: Uuid,
    /// The URL as the event gave it.
    pub url: String,
    /// The object's path in the store, really used.
    pub blob_path: String,
    /// The file type in upper case, or `UNKNOWN`.
    pub file_type: String,
    /// `Content-Type` as the origin declared it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The object's size.
    pub bytes_downloaded: u64,
    /// The SHA-256 of the object's bytes, lower-case hex.
    pub sha256: String,
    /// `ETag` as the origin sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// Attempts spent, this one included.
    pub attempts: u32,
    /// The event's time, verbatim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_time: Option<String>,
    /// When the log took the event.
    pub ingested_at: Micros,
    /// When the download ended.
    pub downloaded_at: Micros,
    /// Further columns of its row.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: Columns,
}

/// A task or an event that ended without an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The format's version.
    pub v: u8,
    /// The source's name.
    pub source: String,
    /// The outcome class.
    pub status: Class,
    /// The error that ended it.
    pub error: ErrorNote,
    /// The first error, if there were several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_error: Option<ErrorNote>,
    /// How often it was replayed before this end.
    #[serde(default)]
    pub life: u32,
    /// The task; nothing for a poison event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// The event's bytes in Base64 (RFC 4648 §4); for a poison event only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<String>,
    /// Where the rest of the letter is, which is too large for the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
    /// Where the event was read: `file:line`, or topic, partition and offset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// When it ended.
    pub failed_at: Micros,
}

impl DeadLetter {
    /// The dead letter of a task that has just failed, from the errors noted in it.
    pub fn of_task(task: Task, error: ErrorNote) -> Self {
        // A task that has waited as long as it may is one whose attempts failed.
        let status = if error.class == Class::Throttled { Class::Transient } else { error.class };
        DeadLetter {
            v: VERSION,
            source: task.source.clone(),
            status,
            first_error: task.first_error.clone(),
            life: task.life,
            failed_at: error.at,
            error,
            task: Some(task),
            original: None,
            kept: None,
            input: None,
        }
    }
}

impl DeadLetter {
    /// The dead letter of an event that could not be enriched, with its bytes and where it was read. It names no
    /// attachment, so it makes no row.
    pub fn of_event(source: &str, error: ErrorNote, original: Option<&[u8]>, input: String) -> Self {
        let status = if error.class == Class::Throttled { Class::Transient } else { error.class };
        DeadLetter { status, ..DeadLetter::of_poison(source, error, original, input) }
    }

    /// The dead letter of something that cannot be decoded, with its bytes and where it was read.
    pub fn of_poison(source: &str, error: ErrorNote, original: Option<&[u8]>, input: String) -> Self {
        DeadLetter {
            v: VERSION,
            source: source.to_owned(),
            status: Class::Poison,
            first_error: None,
            life: 0,
            task: None,
            original: original.map(|bytes| STANDARD.encode(bytes)),
            kept: None,
            input: Some(input),
            failed_at: error.at,
            error,
        }
    }
}

/// An event on its way up the retry ladder of enriching. Its bytes stay as they are, so it travels in headers; only our
/// own topics' are read, an input's are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Climb {
    /// Attempts spent so far.
    #[serde(skip)]
    pub attempts: u32,
    /// Waits so far that spent no attempt.
    #[serde(default)]
    pub waits: u32,
    /// When it first waited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_since: Option<Micros>,
    /// The first failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_error: Option<ErrorNote>,
}

impl Climb {
    /// What a task has of it.
    pub fn of(task: &Task) -> Self {
        let (attempts, waits, waiting_since) = (task.attempts, task.waits, task.waiting_since);
        Climb { attempts, waits, waiting_since, first_error: task.first_error.clone() }
    }

    /// A task that stands for the event where core's ladder is asked.
    pub fn task(self) -> Task {
        let Climb { attempts, waits, waiting_since, first_error } = self;
        Task { attempts, waits, waiting_since, first_error, ..Task::default() }
    }

    /// Reads the headers of a message; what cannot be read counts as absent.
    pub fn read(headers: &[(String, Bytes)]) -> Self {
        let value = |name| headers::value(headers, name);
        let climb: Climb = value(HEADER_CLIMB).and_then(|json| serde_json::from_slice(json).ok()).unwrap_or_default();
        let attempts = value(HEADER_ATTEMPTS).and_then(|v| std::str::from_utf8(v).ok()).and_then(|v| v.parse().ok());
        Climb { attempts: attempts.unwrap_or(0), ..climb }
    }

    /// Adds the headers, in the place of earlier ones.
    pub fn write(&self, headers: &mut Vec<(String, Bytes)>) {
        Self::remove(headers);
        headers.push((HEADER_ATTEMPTS.to_owned(), Bytes::from(self.attempts.to_string())));
        headers.push((HEADER_CLIMB.to_owned(), Bytes::from(encode(self))));
    }

    /// Takes the headers out.
    pub fn remove(headers: &mut Vec<(String, Bytes)>) {
        headers.retain(|(name, _)| name != HEADER_ATTEMPTS && name != HEADER_CLIMB);
    }
}

/// An event with the answer that enriches it, as it travels between enriching and ingestion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enriched<'a> {
    /// The event's bytes, to the letter.
    pub event: Cow<'a, [u8]>,
    /// The answer: JSON.
    pub answer: &'a [u8],
}

/// The same on the wire. An event that is not UTF-8 stands there in Base64 (RFC 4648 §4).
#[derive(Serialize, Deserialize)]
struct EnrichedWire<'a> {
    v: u8,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    event: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    event_base64: Option<Cow<'a, str>>,
    #[serde(borrow)]
    enrichment: &'a RawValue,
}

impl<'a> Enriched<'a> {
    /// The bytes that are appended; an error if the answer is not JSON.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        let enrichment: &RawValue = from_json(self.answer)?;
        let event = std::str::from_utf8(&self.event).ok().map(Cow::Borrowed);
        let event_base64 = event.is_none().then(|| Cow::Owned(STANDARD.encode(&self.event)));
        Ok(encode(&EnrichedWire { v: VERSION, event, event_base64, enrichment }))
    }

    /// Reads what [`Enriched::encode`] made.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let wire: EnrichedWire<'a> = from_json(bytes).map_err(|error| error_of(bytes, error))?;
        let event = match (wire.event, wire.event_base64) {
            (Some(Cow::Borrowed(text)), None) => Cow::Borrowed(text.as_bytes()),
            (Some(Cow::Owned(text)), None) => Cow::Owned(text.into_bytes()),
            (None, Some(text)) => {
                Cow::Owned(STANDARD.decode(&*text).map_err(|error| FormatError::Undecodable(error.to_string()))?)
            }
            _ => return Err(FormatError::Undecodable("one of `event` and `event_base64` is expected".to_owned())),
        };
        Ok(Enriched { event, answer: wire.enrichment.get().as_bytes() })
    }
}

fn from_json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, FormatError> {
    serde_json::from_slice(bytes).map_err(|error| FormatError::Undecodable(error.to_string()))
}

/// Why a value of one of our own topics cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Not JSON of the expected shape.
    #[error("not a record of Longshore: {0}")]
    Undecodable(String),
    /// Written by a newer Longshore.
    #[error("written in format version {0}; this Longshore reads up to {VERSION}: update it")]
    Newer(u64),
}

/// The bytes that are appended to a topic.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    // As long as most tasks and results are: one allocation in place of four.
    let mut bytes = Vec::with_capacity(768);
    serde_json::to_writer(&mut bytes, value).expect("plain data with text keys always serialises");
    bytes
}

/// The bytes of a task: the same as [`encode`] makes. Ingest makes them for each attachment, and nearly all of their texts
/// need no escape, which is seen many bytes at a time.
pub fn encode_task(task: &Task) -> Vec<u8> {
    let mut json = Json(Vec::with_capacity(768));
    json.number("{\"v\":", task.v);
    json.text(",\"source\":", &task.source);
    json.text(",\"trace_id\":", &task.trace_id);
    json.text(",\"media_id\":", task.media_id.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
    json.text(",\"url\":", &task.url);
    json.text(",\"path\":", &task.path);
    task.event_time.iter().for_each(|time| json.text(",\"event_time\":", time));
    json.number(",\"ingested_at\":", task.ingested_at);
    for (n, (name, value)) in task.columns.iter().enumerate() {
        json.text(if n == 0 { ",\"columns\":{" } else { "," }, name);
        json.text(":", value);
    }
    json.raw(if task.columns.is_empty() { "" } else { "}" });
    if !task.headers.is_empty() {
        json.any(",\"headers\":", &task.headers);
    }
    task.checksum.iter().for_each(|checksum| json.text(",\"checksum\":", checksum));
    task.file_name.iter().for_each(|name| json.text(",\"file_name\":", name));
    json.number(",\"attempts\":", task.attempts);
    json.number(",\"waits\":", task.waits);
    json.number(",\"moves\":", task.moves);
    task.waiting_since.iter().for_each(|since| json.number(",\"waiting_since\":", *since));
    task.first_error.iter().for_each(|error| json.any(",\"first_error\":", error));
    task.last_error.iter().for_each(|error| json.any(",\"last_error\":", error));
    json.raw("}");
    json.0
}

/// JSON in the making.
struct Json(Vec<u8>);

impl Json {
    fn raw(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    fn number(&mut self, before: &str, number: impl Into<i64>) {
        self.any(before, &number.into());
    }

    fn any<T: Serialize + ?Sized>(&mut self, before: &str, value: &T) {
        self.raw(before);
        serde_json::to_writer(&mut self.0, value).expect("plain data with text keys always serialises");
    }

    fn text(&mut self, before: &str, text: &str) {
        // Without a way out half-way the compiler looks at many bytes at once.
        let escaped = text.bytes().fold(false, |so_far, b| so_far | (b < 0x20) | (b == b'"') | (b == b'\\'));
        if escaped {
            return self.any(before, text);
        }
        self.raw(before);
        self.raw("\"");
        self.raw(text);
        self.raw("\"");
    }
}

/// Reads what [`encode`] wrote.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FormatError> {
    serde_json::from_slice(bytes).map_err(|error| error_of(bytes, FormatError::Undecodable(error.to_string())))
}

/// The error of bytes that cannot be read: their version, if that is the cause.
fn error_of(bytes: &[u8], error: FormatError) -> FormatError {
    #[derive(Deserialize)]
    struct Envelope {
        v: u64,
    }
    match serde_json::from_slice::<Envelope>(bytes) {
        Ok(Envelope { v }) if v > u64::from(VERSION) => FormatError::Newer(v),
        _ => error,
    }
}

/// The life carried in a header's value; 0 where there is none.
pub fn life_of(header: Option<&[u8]>) -> u32 {
    header.and_then(|v| std::str::from_utf8(v).ok()).and_then(|v| v.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_survives_the_wire_and_unknown_fields_are_ignored() {
        let task = Task { v: VERSION, url: "https://h/a?b".into(), attempts: 2, event_time: Some("x".into()), ..Task::default() };
        assert_eq!(decode::<Task>(&encode(&task)), Ok(task.clone()));
        let mut json: serde_json::Value = serde_json::from_slice(&encode(&task)).expect("json");
        json["later"] = serde_json::json!({"a": 1});
        assert_eq!(decode::<Task>(json.to_string().as_bytes()), Ok(task));
    }

    #[test]
    fn a_task_is_encoded_as_serde_would() {
        let odd = "a \"b\" \\ \n \u{0}\u{7f} é\u{2028}";
        let error = ErrorNote::of(&Failure::new(Class::Transient, Reason::Lookup, odd), -7);
        let full = Task {
            v: VERSION,
            source: "s".into(),
            trace_id: odd.into(),
            media_id: Uuid::from_u128(7),
            url: "https://h/a?b".into(),
            path: odd.into(),
            event_time: Some("t".into()),
            ingested_at: Micros::MAX,
            columns: [("a".into(), odd.into()), (odd.into(), String::new()), ("z".into(), "plain".into())].into(),
            headers: vec![("a".into(), odd.into()), ("b".into(), "c".into())],
            checksum: Some("sha256:1".into()),
            file_name: Some(odd.into()),
            attempts: u32::MAX,
            waits: 2,
            moves: 3,
            waiting_since: Some(-1),
            first_error: Some(error.clone()),
            last_error: Some(error),
            life: 9,
            carried: vec![("x".into(), Bytes::new())],
        };
        for task in [full, Task::default()] {
            assert_eq!(String::from_utf8(encode_task(&task)), String::from_utf8(encode(&task)));
        }
    }

    #[test]
    fn the_life_travels_in_the_header_only() {
        let task = Task { life: 3, ..Task::default() };
        assert_eq!(decode::<Task>(&encode(&task)).map(|t| t.life), Ok(0));
        assert_eq!((life_of(Some(b"3")), life_of(Some(b"x")), life_of(None)), (3, 0, 0));
    }

    #[test]
    fn a_climb_travels_in_headers_and_leaves_the_others_alone() {
        let failure = Failure::new(Class::Transient, Reason::Lookup, "no");
        let climb = Climb { attempts: 2, waits: 1, waiting_since: Some(7), first_error: Some(ErrorNote::of(&failure, 5)) };
        let mut headers = vec![("own".to_owned(), Bytes::from_static(b"x"))];
        Climb::default().write(&mut headers);
        climb.write(&mut headers);
        assert_eq!((headers.len(), Climb::read(&headers)), (3, climb.clone()));
        assert_eq!(Climb::of(&climb.clone().task()), climb);
        Climb::remove(&mut headers);
        assert_eq!((headers.len(), Climb::read(&headers)), (1, Climb::default()));
        let odd =
            [(HEADER_ATTEMPTS.to_owned(), Bytes::from_static(b"-1")), (HEADER_CLIMB.to_owned(), Bytes::from_static(b"\xFF"))];
        assert_eq!(Climb::read(&odd), Climb::default());
    }

    #[test]
    fn an_enriched_event_comes_back_to_the_letter() {
        let answer = br#"{"url": "https://h/a", "n": 12345678901234567890}"#;
        for event in [&b"{\"id\": \"a\"}"[..], b"plain", b"", b"\xFF\x00", "\u{e4}\n\t\u{0}".as_bytes()] {
            let wire = Enriched { event: event.into(), answer }.encode().expect("JSON");
            assert_eq!(Enriched::decode(&wire), Ok(Enriched { event: event.into(), answer }));
        }
        assert!(matches!(Enriched { event: b"x"[..].into(), answer: b"<html>" }.encode(), Err(FormatError::Undecodable(_))));
        assert_eq!(Enriched::decode(br#"{"v":9,"other":1}"#), Err(FormatError::Newer(9)));
        for wrong in
            [&b""[..], b"{}", br#"{"v":1,"enrichment":{}}"#, br#"{"v":1,"event":"a","event_base64":"YQ==","enrichment":{}}"#]
        {
            assert!(matches!(Enriched::decode(wrong), Err(FormatError::Undecodable(_))));
        }
    }

    #[test]
    fn a_newer_version_is_told_apart_from_rubbish() {
        assert_eq!(decode::<Task>(br#"{"v":2,"other":"shape"}"#), Err(FormatError::Newer(2)));
        assert!(matches!(decode::<Task>(b"{\"v\":1"), Err(FormatError::Undecodable(_))));
    }
}
