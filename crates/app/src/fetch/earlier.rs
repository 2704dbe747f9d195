//! What earlier runs left in the log: it need not be fed again.

use std::collections::HashSet;

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
            t if t == topics.dead_letters() => letter(value),
            t if t == topics.events() && urls => Some(source::media_id_of(value, field).unwrap_or_else(|| ids::event_key(value))),
            t if t == topics.events() => Some(ids::event_key(value)),
            t if t == topics.results() => format::decode::<Stored>(value).ok().map(|stored| stored.media_id),
            _ => format::decode::<Task>(value).ok().map(|task| task.media_id),
        };
        self.ids.extend(id);
    }
}

/// What a dead letter is known by.
fn letter(value: &[u8]) -> Option<Uuid> {
    Subject::of(&format::decode::<DeadLetter>(value).ok()?).map(Subject::id)
}
