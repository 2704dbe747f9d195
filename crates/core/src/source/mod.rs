//! Sources: how an event becomes tasks.
//!
//! [`Source::plan`] is the one place that accepts or rejects: ingest makes tasks and dead letters of its answer, and
//! the events table makes its row of the same answer, so that the two can never disagree.
//!
//! A [`Mapping`] reads the event's bytes into a `Decoded`: ids, time, columns and the attachments as they stand
//! there. All that follows is the same for every kind of event: one attachment for each URL, its id, the policy's
//! verdict and its path.

mod cloudevents;
mod enrich;
mod entries;
mod expression;
mod headers;
mod jmes;
mod json;
mod mapping;
mod outline;
mod route;
mod s3;
mod urls;
mod xact;
mod xact_scan;
mod xact_shape;

use bytes::Bytes;
use url::Url;
use uuid::Uuid;

use crate::checksum::Promised;
use crate::file_type::{self, FileTypeVerdict, FileTypes};
use crate::format::{Columns, HEADER_REMAPPED, Task, VERSION};
use crate::ids;
use crate::inventory::Shape;
use crate::outcome::{Class, Failure, Reason};
use crate::path::{FILE_NAME, PathFields, PathTemplate, UrlParts};
use crate::policy::Policy;
use crate::policy::known::{Known, Rest};
use crate::policy::redact::identity;
use crate::time::{self, Micros};

pub use enrich::EnrichMapping;
pub use expression::MapError;
pub use jmes::JmesMapping;
pub use mapping::{Mapping, PRESETS};
use outline::Named;
pub use outline::{MAX_ATTACHMENTS, Outline};
pub use route::{Field, Route, When};
pub use s3::S3Mapping;
pub use urls::{media_id_of, url_of};

/// How much is kept of something in an event's list of attachments that is no URL, in bytes.
const ODD_BYTES: usize = 1_000;
/// The longest id, and the longest value of a column, that each task of an event carries along, in bytes. Without a
/// bound, a long id and a long list of attachments would make far more of an event than it is.
const CARRIED_BYTES: usize = 1_024;
/// The most that an event may say of an attachment, in bytes. As JSON this may be six times as much, and a record of the
/// log has room for that ([`RECORD_BYTES`](crate::letters::RECORD_BYTES)) beside what its attempts leave in it.
const TASK_BYTES: usize = 128 << 10;
/// The longest text that may be a time, in bytes.
const TIME_BYTES: usize = 64;

/// One kind of event with its policy.
#[derive(Debug, Clone)]
pub struct Source {
    /// The source's name; its topics and tables begin with it.
    pub name: String,
    /// How its events are read.
    pub mapping: Mapping,
    /// What of a URL names the attachment.
    pub identity: Identity,
    /// What may be fetched.
    pub policy: Policy,
    /// Which types of files may be stored.
    pub file_types: FileTypes,
    /// Where objects go.
    pub path: PathTemplate,
    /// Which events of its topic are its own; all of them where nothing is said.
    pub route: Option<Route>,
    /// What is read in the answer of the endpoint that enriches its events.
    pub enrich: Option<EnrichMapping>,
}

/// What of a URL names the attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Identity {
    /// All but a complete presigned signature: signed anew it is the same attachment.
    #[default]
    Unsigned,
    /// All of it.
    Exact,
}

impl Identity {
    /// The part of the URL that names the attachment.
    pub fn of(self, url: &str) -> std::borrow::Cow<'_, str> {
        match self {
            Identity::Unsigned => identity(url),
            Identity::Exact => url.into(),
        }
    }
}

/// An event as it arrived.
#[derive(Debug, Clone, Copy)]
pub struct RawEvent<'a> {
    /// The event's bytes.
    pub bytes: &'a [u8],
    /// The message's headers.
    pub headers: &'a [(String, Bytes)],
    /// The field that holds the URL, where it is not one of the usual ones.
    pub url_field: Option<&'a str>,
    /// The whole length in bytes, if only the beginning was kept.
    pub truncated: Option<u64>,
    /// When the log took it.
    pub ingested_at: Micros,
    /// The answer (JSON) of the endpoint that enriches this source's events, once it was asked.
    pub enrichment: Option<&'a [u8]>,
}

impl<'a> RawEvent<'a> {
    /// An event without headers.
    pub fn of(bytes: &'a [u8], ingested_at: Micros) -> Self {
        RawEvent { bytes, headers: &[], url_field: None, truncated: None, ingested_at, enrichment: None }
    }
}

/// Whose an event is.
#[derive(Debug, Clone, PartialEq)]
pub enum Planned {
    /// Ours.
    Event(Event),
    /// Another source's on the same topic.
    Elsewhere,
}

impl Planned {
    /// The event, if it is ours.
    pub fn event(self) -> Option<Event> {
        match self {
            Planned::Event(event) => Some(event),
            Planned::Elsewhere => None,
        }
    }
}

/// An event that could be decoded.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Event {
    /// Groups what belongs together; the key of its messages.
    pub trace_id: String,
    /// The event's own id, if it has one.
    pub event_id: Option<String>,
    /// The event's type, if it has one.
    pub event_type: Option<String>,
    /// The event's time, verbatim.
    pub event_time: Option<String>,
    /// Further columns of its row.
    pub columns: Columns,
    /// The ids of its attachments, each once.
    pub media_ids: Vec<Uuid>,
    /// Its attachments, each once; none where the event was read for its row ([`Source::plan_row`]).
    pub attachments: Vec<Attachment>,
    /// Whether something else stands where the list of attachments is expected, and was taken for none.
    pub without_list: bool,
}

impl Event {
    /// The key of its row in the events table, for the event as it came. What is found in the same bytes may change with
    /// the answer that enriches them, or with the mapping: then it is another row.
    pub fn key(&self, raw: &RawEvent<'_>) -> Uuid {
        let remapped = raw.headers.iter().any(|(name, _)| name == HEADER_REMAPPED);
        match raw.enrichment.is_some() || remapped {
            false => ids::event_key(raw.bytes),
            true => ids::enriched_event_key(raw.bytes, self.media_ids.clone()),
        }
    }
}

/// One attachment of an event, and whether it may be fetched.
#[derive(Debug, Clone, PartialEq)]
pub struct Attachment {
    /// The task; for a refused attachment its path is empty.
    pub task: Task,
    /// Why our policy refuses it.
    pub refused: Option<Failure>,
}

/// What an event is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Its tasks alone.
    Tasks,
    /// Its tasks and its row.
    Row,
}

/// What a mapping reads in an event.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Decoded {
    /// Nothing where the attachment's id is the event's id too (preset `urls`).
    pub(crate) trace_id: Option<String>,
    pub(crate) event_id: Option<String>,
    pub(crate) event_type: Option<String>,
    pub(crate) event_time: Option<String>,
    /// Further columns of the event's row.
    pub(crate) columns: Columns,
    /// What each task carries along: columns of its row, and what its path needs.
    pub(crate) task_columns: Columns,
    pub(crate) items: Vec<Item>,
    pub(crate) without_list: bool,
}

/// One entry in an event's list of attachments.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Item {
    /// A URL with what the event says about it.
    Url(Link),
    /// Something else, as JSON text, and what is wrong with it: one failed row.
    Odd { json: String, why: &'static str },
}

/// A URL in an event.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Link {
    pub(crate) url: String,
    pub(crate) file_name: Option<String>,
    pub(crate) checksum: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    /// Columns of this attachment, beside those of its event.
    pub(crate) columns: Columns,
}

impl Source {
    /// Decodes an event and judges each of its attachments. An error is a poison event.
    ///
    /// An answer that enriches the event ([`RawEvent::enrichment`]) takes the place of the event's own attachments.
    pub fn plan(&self, raw: &RawEvent<'_>) -> Result<Planned, Failure> {
        self.planned(raw, &Known::default(), |outline, event| {
            event.attachments = outline.collect();
            event.media_ids = event.attachments.iter().map(|attachment| attachment.task.media_id).collect();
        })
    }

    /// The same for who makes its row: attachments are named but not judged, which costs far less memory.
    pub fn plan_row(&self, raw: &RawEvent<'_>) -> Result<Planned, Failure> {
        self.planned(raw, &Known::default(), |outline, event| {
            event.media_ids = std::iter::from_fn(|| outline.next_named()).map(|named| named.media_id).collect();
        })
    }

    /// The same for who makes tasks only: one after the other, and the event's own columns may be left out. Nothing
    /// where the event is another source's. `known` are origins that this source's policy has allowed.
    pub fn outline<'a>(&'a self, raw: &RawEvent<'_>, known: &'a Known) -> Result<Option<Outline<'a>>, Failure> {
        self.read(raw, Purpose::Tasks, known)
    }

    fn planned(
        &self,
        raw: &RawEvent<'_>,
        known: &Known,
        fill: impl FnOnce(&mut Outline<'_>, &mut Event),
    ) -> Result<Planned, Failure> {
        let Some(mut outline) = self.read(raw, Purpose::Row, known)? else { return Ok(Planned::Elsewhere) };
        let mut event = Event::default();
        fill(&mut outline, &mut event);
        let Decoded { trace_id, event_id, event_type, event_time, columns, without_list, .. } = outline.into_event();
        let of_attachment = || event.media_ids.first().map(Uuid::to_string).unwrap_or_default();
        let trace_id = trace_id.unwrap_or_else(of_attachment);
        Ok(Planned::Event(Event { trace_id, event_id, event_type, event_time, columns, without_list, ..event }))
    }

    fn read<'a>(&'a self, raw: &RawEvent<'_>, purpose: Purpose, known: &'a Known) -> Result<Option<Outline<'a>>, Failure> {
        // What carries our answer is ours, whatever the sources of the input agree on by now.
        if raw.enrichment.is_none() && !self.takes(raw)? {
            return Ok(None);
        }
        if let Some(length) = raw.truncated {
            return Err(poison(format!("the event is {length} bytes long, longer than is accepted")));
        }
        let mut decoded = self.mapping.decode(raw, purpose)?;
        if let (Some(mapping), Some(answer)) = (&self.enrich, raw.enrichment) {
            mapping.apply(answer, &mut decoded)?;
        }
        Ok(Some(Outline::new(self, decoded, raw.ingested_at, known)))
    }

    /// Whether the event is this source's; without a route each one is. An error is a poison event.
    pub fn takes(&self, raw: &RawEvent<'_>) -> Result<bool, Failure> {
        self.route.as_ref().map_or(Ok(true), |route| route.takes(raw))
    }

    /// The further columns of this source's tables.
    pub fn shape(&self) -> Shape {
        let mut shape = self.mapping.shape(&self.name);
        for name in self.enrich.iter().flat_map(EnrichMapping::columns) {
            for columns in [&mut shape.attachments, &mut shape.failed, &mut shape.events] {
                if !columns.iter().any(|column| column == name) {
                    columns.push(name.to_owned());
                }
            }
        }
        shape
    }

    /// The columns that a task carries, where its event has them.
    pub fn task_columns(&self) -> Vec<&str> {
        // `filename` is made for the path only.
        let of_event = self.mapping.path_columns().into_iter().filter(|name| *name != FILE_NAME);
        of_event.chain(self.enrich.iter().flat_map(EnrichMapping::columns)).collect()
    }

    /// The version of the mapping; rows of the events table carry it.
    pub fn mapping_version(&self) -> String {
        let version = self.mapping.version();
        self.enrich.as_ref().map_or(version.clone(), |enrich| format!("{version}+{}", enrich.version()))
    }

    /// The id of an attachment.
    pub fn media_id(&self, trace_id: Option<&str>, url: &str) -> Uuid {
        let identity = self.identity.of(url);
        match (&self.mapping, trace_id) {
            (Mapping::Xact, trace_id) => ids::media_id(&ids::XACT_MEDIA_NAMESPACE, trace_id.unwrap_or_default(), &identity),
            (_, Some(trace_id)) => ids::media_id(&ids::source_namespace(&self.name), trace_id, &identity),
            (_, None) => ids::v5(&Uuid::NAMESPACE_URL, &[identity.as_bytes()]),
        }
    }

    /// The attachment with this link; `columns` are those of its event.
    fn attachment(&self, named: Named, mut columns: Columns, event: &Decoded, ingested_at: Micros, known: &Known) -> Attachment {
        let Named { media_id, link, odd } = named;
        columns.extend(link.columns);
        let mut task = Task {
            v: VERSION,
            source: self.name.clone(),
            trace_id: event.trace_id.clone().unwrap_or_else(|| media_id.to_string()),
            media_id,
            url: link.url,
            event_time: event.event_time.clone(),
            ingested_at,
            columns,
            headers: link.headers,
            checksum: link.checksum,
            file_name: link.file_name,
            ..Task::default()
        };
        let refused = match odd.map_or_else(|| self.judge_by(&task, known), Err) {
            Ok(path) => {
                task.path = path;
                None
            }
            Err(failure) => Some(failure),
        };
        Attachment { task, refused }
    }

    /// The object path of a task whose URL is allowed, or why it is not. Asked at ingestion, and again when a dead
    /// letter is replayed.
    pub fn judge(&self, task: &Task) -> Result<String, Failure> {
        self.judge_by(task, &Known::default())
    }

    fn judge_by(&self, task: &Task, known: &Known) -> Result<String, Failure> {
        let parsed;
        let rest = match known.rest(&task.url) {
            Some(rest) => rest,
            None => {
                parsed = self.policy.check_url(&task.url)?.url;
                known.note(&task.url);
                Rest { path: parsed.path(), query: parsed.query() }
            }
        };
        headers::check(&task.headers)?;
        check_size(task)?;
        task.checksum.as_deref().map(Promised::parse).transpose()?;
        if self.file_types.allowed.is_some() {
            self.file_types.check_extension(extension(rest, task).as_deref())?;
        }
        self.object_path(rest, task)
    }

    /// Where the object goes. What the template does not name is not worked out.
    fn object_path(&self, rest: Rest<'_>, task: &Task) -> Result<String, Failure> {
        let uses = |fields: &[&str]| fields.iter().any(|field| self.path.uses(field));
        let named_by_url = !matches!(self.mapping, Mapping::Xact) && task.file_name.is_none();
        let unusable = || Failure::new(Class::Rejected, Reason::InvalidUrl, "the URL names no host");
        let url = match uses(&["host", "path", "name", "ext"]) || (named_by_url && uses(&[FILE_NAME])) {
            true => UrlParts::of(&self.identity.of(&task.url)).ok_or_else(unusable)?,
            false => UrlParts::default(),
        };
        let file_name = uses(&[FILE_NAME]).then(|| match self.mapping {
            Mapping::Xact => xact::file_name(&task.url, rest.path, &task.columns),
            _ => task.file_name.clone().unwrap_or_else(|| url.name.clone()),
        });
        let event_date = if uses(&["event_date"]) { event_date(task) } else { String::new() };
        Ok(self.path.render(&PathFields {
            url,
            media_id: task.media_id,
            trace_id: &task.trace_id,
            event_date: &event_date,
            file_name: file_name.as_deref(),
            columns: &task.columns,
        }))
    }

    /// Judges what a task's body really is, by its declared type and its first bytes.
    pub fn judge_body(&self, task: &Task, content_type: Option<&str>, first_bytes: &[u8]) -> Result<FileTypeVerdict, Failure> {
        let parsed = Url::parse(task.url.trim()).ok();
        let extension = parsed.and_then(|url| extension(Rest { path: url.path(), query: url.query() }, task));
        let declared = file_type::declared_type(content_type);
        self.file_types.check(extension.as_deref(), declared, first_bytes)
    }
}

/// The extension of what a task is about: in the URL, else of the name that the event gives.
fn extension(rest: Rest<'_>, task: &Task) -> Option<String> {
    let in_url = file_type::extension_of(rest.path, rest.query);
    in_url.or_else(|| file_type::extension_of(task.file_name.as_deref()?, None))
}

/// The day under which the task's row will be filed.
fn event_date(task: &Task) -> String {
    let day = time::partition_day(task.event_time.as_deref().and_then(time::parse_event_time), task.ingested_at);
    time::format(i64::from(day) * time::DAY)[..10].to_owned()
}

/// What an entry in the list of attachments is known by, and why it is none.
fn named(item: Item) -> (Link, Option<Failure>) {
    match item {
        Item::Url(mut link) => {
            if link.url.trim().len() < link.url.len() {
                link.url = link.url.trim().to_owned();
            }
            (link, None)
        }
        Item::Odd { json, why } => {
            let odd = Failure::new(Class::Rejected, Reason::InvalidUrl, why);
            (Link { url: cut(json, ODD_BYTES), ..Link::default() }, Some(odd))
        }
    }
}

/// A time as it may be carried along, verbatim; what is too long to be one is none.
fn bounded_time(text: Option<&str>) -> Option<String> {
    text.map(str::trim).filter(|text| (1..=TIME_BYTES).contains(&text.len())).map(str::to_owned)
}

/// The text, cut to at most so many bytes.
pub(crate) fn cut(mut text: String, bytes: usize) -> String {
    let end = (0..=bytes.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    text.truncate(end);
    text
}

/// Refuses an attachment of which the event says more than fits into one record, wherever its task goes.
fn check_size(task: &Task) -> Result<(), Failure> {
    let columns = task.columns.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    let texts = [&task.file_name, &task.checksum, &task.event_time].into_iter().flatten().map(String::len).sum::<usize>();
    match columns + texts + task.url.len() {
        0..=TASK_BYTES => Ok(()),
        bytes => Err(Failure::new(
            Class::Rejected,
            Reason::TooLarge,
            format!(
                "the event says {bytes} bytes of the attachment (URL, file name, columns); at most {TASK_BYTES} are accepted"
            ),
        )),
    }
}

pub(crate) fn poison(message: impl Into<String>) -> Failure {
    Failure::new(Class::Poison, Reason::Undecodable, message)
}
