//! What is looked for: an id of any kind, or a URL.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use longshore_core::policy::redact::redact_url;
use longshore_core::source::{Mapping, Source};
use uuid::Uuid;

use super::MOST;

/// What is looked for, and what has been learnt about it: an event's id leads to its `trace_id`.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    id: Option<String>,
    url: Option<String>,
    /// Events whose attachments are all meant.
    traces: BTreeSet<String>,
    /// Attachments that are meant by themselves.
    media: BTreeSet<Uuid>,
}

/// An event's ids as the log or its row has them.
#[derive(Debug, Default)]
pub(super) struct EventIds {
    pub(super) trace_id: String,
    pub(super) event_id: Option<String>,
    pub(super) event_key: Option<Uuid>,
    pub(super) media_ids: Vec<Uuid>,
}

/// How many attachments of an event are meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meant {
    All,
    These(Vec<Uuid>),
    None,
}

impl Wanted {
    pub(super) fn of(id: Option<&str>, url: Option<&str>) -> Result<Self> {
        let (id, url) = (id.map(str::trim), url.map(str::trim));
        if id.is_some_and(str::is_empty) || url.is_some_and(str::is_empty) {
            bail!("the id is empty");
        }
        if let Some(id) = id.filter(|id| id.contains("://")) {
            bail!("'{}' is a URL: write --url before it", redact_url(id));
        }
        Ok(Wanted {
            id: id.map(str::to_owned),
            url: url.map(str::to_owned),
            traces: id.map(str::to_owned).into_iter().collect(),
            media: id.and_then(|id| Uuid::try_parse(id).ok()).into_iter().collect(),
        })
    }

    /// What was asked for, without secrets.
    pub(super) fn shown(&self) -> String {
        self.url.as_deref().map(redact_url).or_else(|| self.id.clone()).unwrap_or_default()
    }

    /// Whether an attachment is meant.
    pub(super) fn has(&self, source: &Source, trace_id: &str, media_id: Uuid) -> bool {
        self.traces.contains(trace_id) || self.media.contains(&media_id) || self.url_gives(source, trace_id, media_id)
    }

    fn url_gives(&self, source: &Source, trace_id: &str, media_id: Uuid) -> bool {
        self.url.as_deref().is_some_and(|url| id_of(source, trace_id, url) == media_id)
    }

    /// Whether an event is meant; what its ids tell is remembered.
    pub(super) fn learn(&mut self, source: &Source, event: &EventIds) -> Meant {
        if self.names(event) {
            if self.traces.len() < MOST {
                self.traces.insert(event.trace_id.clone());
            }
            return Meant::All;
        }
        let mine = |id: &&Uuid| self.media.contains(id) || self.url_gives(source, &event.trace_id, **id);
        let these: Vec<Uuid> = event.media_ids.iter().filter(mine).copied().collect();
        if self.media.len() < MOST {
            self.media.extend(&these);
        }
        if these.is_empty() { Meant::None } else { Meant::These(these) }
    }

    /// Whether this id of an event is what was asked for.
    pub(super) fn is(&self, key: Uuid) -> bool {
        self.id.as_deref().is_some_and(|id| Uuid::try_parse(id).is_ok_and(|id| id == key))
    }

    /// Whether bytes that nobody can decode hold the id, with no letter or digit beside it.
    pub(super) fn is_mentioned(&self, bytes: &[u8]) -> bool {
        let Some(id) = self.id.as_ref().map(String::as_bytes) else { return false };
        let apart = |byte: Option<&u8>| byte.is_none_or(|byte| !byte.is_ascii_alphanumeric());
        let ends = |at: usize| apart(at.checked_sub(1).and_then(|at| bytes.get(at))) && apart(bytes.get(at + id.len()));
        bytes.windows(id.len()).enumerate().any(|(at, window)| window == id && ends(at))
    }

    fn names(&self, event: &EventIds) -> bool {
        let Some(id) = &self.id else { return false };
        let by_key = || event.event_key.is_some_and(|key| self.is(key));
        self.traces.contains(&event.trace_id) || event.event_id.as_ref() == Some(id) || by_key()
    }

    /// For each column with Bloom filters the values that are meant; nothing known yet means reading everything.
    pub(super) fn searches(&self, source: &Source) -> Vec<(&'static str, Vec<String>)> {
        let mut media: BTreeSet<Uuid> = self.media.clone();
        if let (Some(url), Mapping::Urls) = (&self.url, &source.mapping) {
            media.insert(source.media_id(None, url));
        }
        let traces: Vec<String> = self.traces.iter().cloned().collect();
        let media: Vec<String> = media.iter().map(Uuid::to_string).collect();
        [("trace_id", traces), ("media_id", media)].into_iter().filter(|(_, texts)| !texts.is_empty()).collect()
    }
}

/// The id that a URL has in an event; in the preset `urls` the event has no say in it.
fn id_of(source: &Source, trace_id: &str, url: &str) -> Uuid {
    let trace_id = (!matches!(source.mapping, Mapping::Urls)).then_some(trace_id);
    source.media_id(trace_id, url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Definition;

    fn source(preset: &str) -> Source {
        let definition = Definition { preset: preset.to_owned(), ..Definition::default() };
        definition.source().expect("a preset")
    }

    #[test]
    fn an_event_is_known_by_each_of_its_ids() {
        let key = Uuid::from_u128(7);
        let event = || EventIds {
            trace_id: "t".into(),
            event_id: Some("e".into()),
            event_key: Some(key),
            media_ids: vec![Uuid::from_u128(1), Uuid::from_u128(2)],
        };
        for id in ["t", " e ", &key.to_string()] {
            let mut wanted = Wanted::of(Some(id), None).expect(id);
            assert_eq!(wanted.learn(&source("xact"), &event()), Meant::All, "{id}");
            assert!(wanted.has(&source("xact"), "t", Uuid::from_u128(9)), "{id}: all of its attachments are meant");
        }
        let mut media = Wanted::of(Some(&Uuid::from_u128(2).to_string()), None).expect("an id");
        assert_eq!(media.learn(&source("xact"), &event()), Meant::These(vec![Uuid::from_u128(2)]));
        assert!(!media.has(&source("xact"), "t", Uuid::from_u128(1)), "its sibling is not");
        let mut other = Wanted::of(Some("other"), None).expect("an id");
        assert_eq!(other.learn(&source("xact"), &event()), Meant::None);
    }

    #[test]
    fn a_url_is_the_same_attachment_however_it_is_signed() {
        let signed = "https://h.example/a.pdf?AWSAccessKeyId=K&Expires=1&Signature=abc";
        let wanted = Wanted::of(None, Some(signed)).expect("a URL");
        assert!(!wanted.shown().contains("abc"));
        for preset in ["urls", "xact"] {
            let source = source(preset);
            let id = id_of(&source, "t", "https://h.example/a.pdf");
            assert!(wanted.has(&source, "t", id), "{preset}");
            assert_eq!(wanted.has(&source, "u", id), preset == "urls", "{preset}: the event has a say in it or not");
        }
    }

    #[test]
    fn what_is_no_id_is_refused() {
        assert!(Wanted::of(Some(" "), None).is_err());
        let error = Wanted::of(Some("https://u:pass@h/"), None).expect_err("a URL").to_string();
        assert!(error.contains("--url") && !error.contains("pass"), "{error}");
    }
}
