//! What earlier runs left in the log: it need not be fed again.

use std::collections::{BTreeSet, HashSet};

use anyhow::Result;
use longshore_core::format::{self, DeadLetter, HEADER_URL_FIELD, Stored, Task};
use longshore_core::ids;
use longshore_core::replay::Subject;
use longshore_core::source::{self, Mapping};
use longshore_stages::ports::{LogView, Received};
use longshore_stages::topics::Topics;
use uuid::Uuid;

use crate::pipeline::OpenLane;
use crate::walk::{Moment, Step, Walk};

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Earlier {
    /// Attachments of the preset `urls`, and events: those that cannot be decoded, and all of other presets.
    pub(crate) ids: HashSet<Uuid>,
    /// Attachments of dead letters, each with the hashes of the exact URLs that failed: 24 bytes each. Another URL of
    /// such an attachment is signed anew, and worth a try.
    failed: BTreeSet<(Uuid, u64)>,
}

/// What is known of an attachment that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailedBefore {
    /// No dead letter names it.
    No,
    /// It failed, with this very URL among others.
    WithThisUrl,
    /// It failed, but not with this URL.
    WithAnother,
}

impl Earlier {
    /// Looks at what is unfinished in the log, and at all dead letters.
    pub(crate) async fn of(view: &dyn LogView, open: &OpenLane) -> Result<Self> {
        let (mut earlier, topics) = (Earlier::default(), &open.lane.topics);
        let urls = matches!(open.lane.source.mapping, Mapping::Urls);
        let moment = Moment::of(view).await?;
        for state in &moment.partitions {
            let topic: &str = &state.partition.topic;
            let committed = topics.consumption(topic).iter().map(|group| moment.committed(group, state)).min();
            let Some(committed) = committed else { continue };
            let from = if *topic == *topics.dead_letters() { state.begin } else { committed };
            let mut walk = Walk::new(view, &state.partition, from..state.end);
            while let Some(step) = walk.next().await? {
                if let Step::Records(records) = step {
                    records.iter().for_each(|record| earlier.note(topics, urls, topic, record));
                }
            }
        }
        Ok(earlier)
    }

    fn note(&mut self, topics: &Topics, urls: bool, topic: &str, record: &Received) {
        let Some(value) = &record.message.value else { return };
        let field = record.message.header(HEADER_URL_FIELD).and_then(|field| std::str::from_utf8(field).ok());
        let id = match topic {
            t if t == topics.dead_letters() => self.letter(value, urls),
            t if t == topics.events() && urls => Some(source::media_id_of(value, field).unwrap_or_else(|| ids::event_key(value))),
            t if t == topics.events() => Some(ids::event_key(value)),
            t if t == topics.results() => format::decode::<Stored>(value).ok().map(|stored| stored.media_id),
            _ => format::decode::<Task>(value).ok().map(|task| task.media_id),
        };
        self.ids.extend(id);
    }

    /// What a dead letter is known by, whatever URL it is about.
    fn letter(&mut self, value: &[u8], urls: bool) -> Option<Uuid> {
        let letter = format::decode::<DeadLetter>(value).ok()?;
        match &letter.task {
            Some(task) if urls => {
                self.failed.insert((task.media_id, ids::url_hash(&task.url)));
                None
            }
            _ => Subject::of(&letter).map(Subject::id),
        }
    }

    /// What is known of an attachment with this URL among those that failed.
    pub(crate) fn failed(&self, media_id: Uuid, url: &str) -> FailedBefore {
        let of_attachment = (media_id, u64::MIN)..=(media_id, u64::MAX);
        match self.failed.range(of_attachment).next() {
            None => FailedBefore::No,
            Some(_) if self.failed.contains(&(media_id, ids::url_hash(url))) => FailedBefore::WithThisUrl,
            Some(_) => FailedBefore::WithAnother,
        }
    }
}

#[cfg(test)]
mod tests {
    use longshore_core::format::{ErrorNote, Task};
    use longshore_core::outcome::{Class, Failure, Reason};
    use longshore_stages::ports::Message;

    use super::*;

    #[test]
    fn a_failed_attachment_is_known_with_the_urls_that_failed() {
        let (topics, mut earlier, id) = (Topics::of("urls"), Earlier::default(), Uuid::from_u128(7));
        let error = ErrorNote::of(&Failure::new(Class::Permanent, Reason::Expired, "expired"), 0);
        for url in ["https://h/a?sig=1", "https://h/a?sig=2"] {
            let letter = DeadLetter::of_task(Task { media_id: id, url: url.into(), ..Task::default() }, error.clone());
            let message = Message { value: Some(format::encode(&letter).into()), ..Message::default() };
            earlier.note(&topics, true, &topics.dead_letters(), &Received { offset: 0, appended_at: 0, message });
        }
        assert_eq!(earlier.failed(id, "https://h/a?sig=2"), FailedBefore::WithThisUrl);
        assert_eq!(earlier.failed(id, "https://h/a?sig=3"), FailedBefore::WithAnother);
        assert_eq!(earlier.failed(Uuid::from_u128(8), "https://h/a?sig=1"), FailedBefore::No);
        assert!(!earlier.ids.contains(&id));
    }
}
