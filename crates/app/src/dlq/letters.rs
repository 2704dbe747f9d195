//! Dead letters as they lie in their topic, and which of them are meant.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use longshore_core::format::{self, DeadLetter, Task};
use longshore_core::outcome::{Class, Reason};
use longshore_core::policy::HostPattern;
use longshore_core::replay::Subject;
use longshore_core::time::Micros;
use longshore_stages::ports::{Received, Store};
use serde::de::{Deserialize, IntoDeserializer, value};
use url::Url;
use uuid::Uuid;

use super::args::LetterArgs;
use crate::originals;

/// A dead letter as it lies in its topic.
pub(crate) struct Entry {
    pub(crate) offset: u64,
    pub(crate) appended_at: Micros,
    pub(crate) headers: Vec<(String, Bytes)>,
    /// Nothing when it cannot be read.
    pub(crate) letter: Option<DeadLetter>,
}

impl Entry {
    pub(crate) fn of(record: &Received) -> Self {
        let value = record.message.value.as_deref();
        let letter = value.and_then(|bytes| format::decode(bytes).ok());
        let headers = record.message.headers.clone();
        Entry { offset: record.offset, appended_at: record.appended_at, headers, letter }
    }

    /// The same with what lies in the store of it, as far as it is there.
    pub(crate) async fn whole(self, store: Option<&dyn Store>) -> Result<Self> {
        let Some(letter) = self.letter else { return Ok(self) };
        let (letter, headers) = originals::whole(store, letter, self.headers).await?;
        Ok(Entry { letter: Some(letter), headers, ..self })
    }

    /// Whether a part of it is in the store, and was not read back.
    pub(crate) fn is_apart(&self) -> bool {
        self.letter.as_ref().is_some_and(|letter| letter.kept.is_some())
    }

    pub(crate) fn failed_at(&self) -> Micros {
        self.letter.as_ref().map_or(self.appended_at, |letter| letter.failed_at)
    }

    pub(crate) fn task(&self) -> Option<&Task> {
        self.letter.as_ref()?.task.as_ref()
    }

    pub(crate) fn url(&self) -> Option<Url> {
        Url::parse(self.task()?.url.trim()).ok()
    }

    pub(crate) fn host(&self) -> Option<String> {
        self.url()?.host_str().map(str::to_owned)
    }

    pub(crate) fn subject(&self) -> Option<Subject> {
        Subject::of(self.letter.as_ref()?)
    }
}

/// A filter, read once.
pub(crate) struct Filter {
    host: Option<HostPattern>,
    class: Option<Class>,
    reason: Option<Reason>,
    since: Micros,
    until: Micros,
}

impl Filter {
    pub(crate) fn of(args: &LetterArgs, now: Micros) -> Result<Self> {
        let host = args.host.as_deref().map(|host| host.parse().with_context(|| format!("--host {host}"))).transpose()?;
        let class = args.class.as_deref().map(parse_class).transpose().context("--class")?;
        let reason = args.reason.as_deref().map(parse_reason).transpose()?;
        let ago = |age: Duration| now.saturating_sub(i64::try_from(age.as_micros()).unwrap_or(i64::MAX));
        let (since, until) = (args.newer.map_or(Micros::MIN, ago), args.older.map_or(Micros::MAX, ago));
        Ok(Filter { host, class, reason, since, until })
    }

    pub(crate) fn keeps(&self, entry: &Entry) -> bool {
        let says = |so: &dyn Fn(&DeadLetter) -> bool| entry.letter.as_ref().is_some_and(so);
        let of_class = self.class.is_none_or(|class| says(&|letter| letter.status == class));
        let of_reason = self.reason.is_none_or(|reason| says(&|letter| letter.error.reason == reason));
        let matches =
            |pattern: &HostPattern| entry.url().is_some_and(|url| url.host().is_some_and(|host| pattern.matches(&host)));
        let of_host = self.host.as_ref().is_none_or(matches);
        of_class && of_reason && of_host && (self.since..=self.until).contains(&entry.failed_at())
    }
}

/// Reads the name of a class that dead letters have.
pub(crate) fn parse_class(text: &str) -> Result<Class> {
    let classes = [Class::Transient, Class::Permanent, Class::Rejected, Class::Poison];
    let found = classes.into_iter().find(|class| class.as_str() == text);
    found.with_context(|| format!("'{text}': there is no such class; take transient, permanent, rejected or poison"))
}

fn parse_reason(text: &str) -> Result<Reason> {
    let read: Result<Reason, value::Error> = Reason::deserialize(text.into_deserializer());
    match read {
        Ok(reason) => Ok(reason),
        Err(_) => bail!("--reason {text}: there is no such reason; `longshore dlq ls --by reason` shows those that there are"),
    }
}

/// Something asked for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) text: String,
    pub(crate) found: bool,
    id: Id,
}

#[derive(Debug, Clone, Copy)]
enum Id {
    Offset(u64),
    Media(Uuid),
}

impl Wanted {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let offset = text.parse().ok().map(Id::Offset);
        let id = offset.or_else(|| Uuid::try_parse(text).ok().map(Id::Media));
        let id = id.with_context(|| format!("'{text}' is neither an offset (17) nor a media id (a UUID)"))?;
        Ok(Wanted { text: text.to_owned(), id, found: false })
    }

    pub(crate) fn means(&self, entry: &Entry) -> bool {
        match self.id {
            Id::Offset(offset) => entry.offset == offset,
            Id::Media(id) => entry.task().is_some_and(|task| task.media_id == id),
        }
    }

    /// Whether it names one letter and not an attachment.
    pub(crate) fn is_offset(&self) -> bool {
        matches!(self.id, Id::Offset(_))
    }
}
