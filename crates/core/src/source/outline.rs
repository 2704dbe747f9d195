//! An event whose attachments are made one by one.
//!
//! A task carries what its event says (ids, columns): all tasks of one event at once can be far more than the event is.
//! Who needs them all asks [`Source::plan`]; who passes them on takes them from here, one at a time.

use std::collections::HashSet;

use uuid::Uuid;

use super::{Attachment, Decoded, Item, Link, Source, poison};
use crate::outcome::Failure;
use crate::policy::known::Known;
use crate::time::Micros;

/// The most entries in an event's list of attachments. An event with more is poison: what an event costs is bounded.
pub const MAX_ATTACHMENTS: usize = 20_000;

/// Refuses an event with more attachments than are accepted.
pub(super) fn check_count(count: usize) -> Result<(), Failure> {
    if count <= MAX_ATTACHMENTS {
        return Ok(());
    }
    Err(poison(format!("the event names {count} attachments; at most {MAX_ATTACHMENTS} are accepted")))
}

/// An attachment that has its id, and what is wrong where it is no URL.
pub(super) struct Named {
    pub(super) media_id: Uuid,
    pub(super) link: Link,
    pub(super) odd: Option<Failure>,
}

/// An event with its attachments still to be made: an iterator over them, each once.
#[derive(Debug)]
pub struct Outline<'a> {
    source: &'a Source,
    items: std::vec::IntoIter<Item>,
    event: Decoded,
    seen: HashSet<Uuid>,
    ingested_at: Micros,
    known: &'a Known,
}

impl<'a> Outline<'a> {
    pub(super) fn new(source: &'a Source, mut event: Decoded, ingested_at: Micros, known: &'a Known) -> Self {
        let items = std::mem::take(&mut event.items).into_iter();
        Outline { source, items, event, seen: HashSet::new(), ingested_at, known }
    }

    /// Whether something else stands where the list of attachments is expected, and was taken for none.
    pub fn without_list(&self) -> bool {
        self.event.without_list
    }

    /// The next attachment that the event has not named before.
    pub(super) fn next_named(&mut self) -> Option<Named> {
        loop {
            let (link, odd) = super::named(self.items.next()?);
            let media_id = self.source.media_id(self.event.trace_id.as_deref(), &link.url);
            let only = self.seen.is_empty() && self.is_last();
            if only || self.seen.insert(media_id) {
                return Some(Named { media_id, link, odd });
            }
        }
    }

    /// Whether no entry follows the one that was taken last.
    fn is_last(&self) -> bool {
        self.items.as_slice().is_empty()
    }

    pub(super) fn into_event(self) -> Decoded {
        self.event
    }
}

impl Iterator for Outline<'_> {
    type Item = Attachment;

    fn next(&mut self) -> Option<Attachment> {
        let named = self.next_named()?;
        let columns = match self.is_last() {
            true => std::mem::take(&mut self.event.task_columns),
            false => self.event.task_columns.clone(),
        };
        Some(self.source.attachment(named, columns, &self.event, self.ingested_at, self.known))
    }
}

#[cfg(test)]
#[path = "outline_tests.rs"]
mod tests;
