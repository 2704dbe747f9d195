//! Looks through one source: its log upstream to downstream, then its tables (`rows`).

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use longshore_core::format::{self, DeadLetter, ErrorNote, HEADER_INPUT, HEADER_LIFE, Stored, Task};
use longshore_core::ids;
use longshore_core::policy::redact::redact_url;
use longshore_core::source::{Planned, RawEvent};
use longshore_core::time;
use longshore_stages::ports::{LogView, PartitionState, Received, Store};
use longshore_stages::topics::spell_delay;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::story::{Attachment, Stage, Standing, Step, Story};
use super::wanted::{EventIds, Meant, Wanted};
use crate::originals;
use crate::place::{Lane, Place};
use crate::recorded;
use crate::render::{exact_time, note};
use crate::walk::{Moment, Step as Walked, Walk};

/// What an event waits for that has become tasks already.
const RECORD: &str = "its row";
/// One source, and the story so far.
pub(super) struct Looker<'a> {
    pub(super) place: &'a Place,
    pub(super) view: &'a dyn LogView,
    /// What is too large for the log.
    pub(super) store: Option<&'a dyn Store>,
    pub(super) lane: &'a Lane,
    pub(super) wanted: &'a mut Wanted,
    pub(super) story: &'a mut Story,
}

/// A record with what its partition says about it.
struct At<'a> {
    state: &'a PartitionState,
    record: &'a Received,
    /// Where each of the topic's groups stood at the beginning.
    committed: &'a [u64],
}

impl At<'_> {
    fn place(&self) -> String {
        format!("{}@{}", self.state.partition, self.record.offset)
    }

    fn topic(&self) -> &str {
        &self.state.partition.topic
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.record.message.header(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Whether every group is done with it.
    fn is_done(&self) -> bool {
        !self.committed.is_empty() && self.committed.iter().all(|committed| self.record.offset < *committed)
    }

    /// As JSON, unless it is not what the topic holds: then a stage makes a dead letter of it.
    fn decode<T: serde::de::DeserializeOwned>(&self) -> Option<T> {
        format::decode(self.record.message.value.as_deref()?).ok()
    }

    fn facts(&self) -> Map<String, Value> {
        object(json!({
            "topic": self.topic(),
            "partition": self.state.partition.index,
            "offset": self.record.offset,
            "appended_at": exact_time(self.record.appended_at),
        }))
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

impl Looker<'_> {
    pub(super) async fn look(mut self) -> Result<()> {
        let start = Moment::of(self.view).await?;
        let topics = self.lane.topics.clone();
        let mut tiers: Vec<String> = start.partitions.iter().map(|state| state.partition.topic.to_string()).collect();
        tiers.retain(|topic| topics.tier_delay(topic).is_some());
        tiers.dedup();
        self.topic(&start, &topics.raw()).await?;
        if topics.events() != topics.raw() {
            self.enriching(&start).await?;
            self.topic(&start, &topics.events()).await?;
        }
        self.event_rows(&self.place.open_tables(self.lane).await?).await?;
        // A task may go from a tier to pending, or from pending to a tier, while we look.
        for topic in tiers.iter().chain([&topics.pending()]).chain(&tiers) {
            self.topic(&start, topic).await?;
        }
        self.topic(&start, &topics.results()).await?;
        self.topic(&start, &topics.dead_letters()).await?;
        let tables = self.place.open_tables(self.lane).await?;
        self.stored_rows(tables.attachments.as_ref()).await?;
        self.failed_rows(tables.failed.as_ref()).await
    }

    /// Events on their way to be enriched: an event may go from a tier to the due ones, or back, while we look.
    async fn enriching(&mut self, start: &Moment) -> Result<()> {
        let topics = self.lane.topics.clone();
        let mut tiers: Vec<String> = start.partitions.iter().map(|state| state.partition.topic.to_string()).collect();
        tiers.retain(|topic| topics.enrich_tier_delay(topic).is_some());
        tiers.dedup();
        for topic in tiers.iter().chain([&topics.enrich_due()]).chain(&tiers) {
            self.topic(start, topic).await?;
        }
        Ok(())
    }

    async fn topic(&mut self, start: &Moment, topic: &str) -> Result<()> {
        let now = Moment::of(self.view).await?;
        let groups = self.lane.topics.consumption(topic);
        for state in now.topic(topic) {
            let committed: Vec<u64> = groups.iter().map(|group| start.committed(group, state)).collect();
            let unfinished = committed.iter().copied().min().unwrap_or(state.begin);
            let from = if *topic == *self.lane.topics.dead_letters() { state.begin } else { unfinished };
            let mut walk = Walk::new(self.view, &state.partition, from..state.end);
            while let Some(step) = walk.next().await? {
                match step {
                    Walked::Records(records) => {
                        for record in &records {
                            let whole = self.whole(topic, record).await?;
                            self.record(&At { state, record: whole.as_ref().unwrap_or(record), committed: &committed });
                        }
                    }
                    Walked::Hole(offset, said) => eprintln!("warning: {}@{offset} is left out: {said}", state.partition),
                }
            }
        }
        Ok(())
    }

    /// The record of a dead letter of which a part is in the store, with that part.
    async fn whole(&self, topic: &str, record: &Received) -> Result<Option<Received>> {
        let is_letter = *topic == *self.lane.topics.dead_letters();
        if is_letter { originals::whole_record(self.store, record).await } else { Ok(None) }
    }

    fn record(&mut self, at: &At<'_>) {
        let topics = &self.lane.topics;
        match at.topic() {
            t if *t == topics.raw() || *t == topics.events() || *t == topics.enrich_due() => self.event(at),
            t if topics.enrich_tier_delay(t).is_some() => self.event(at),
            t if *t == topics.results() => self.result(at),
            t if *t == topics.dead_letters() => self.dead_letter(at),
            _ => self.task(at),
        }
    }

    fn event(&mut self, at: &At<'_>) {
        // An event that cannot be decoded has no ids; ingest makes a dead letter of it.
        let Some((key, event)) = recorded::event_of(self.lane, at.topic(), at.record) else { return };
        let ids = EventIds {
            trace_id: event.trace_id.clone(),
            event_id: event.event_id,
            event_key: Some(key),
            media_ids: event.attachments.iter().map(|attachment| attachment.task.media_id).collect(),
        };
        let meant = match self.wanted.learn(&self.lane.source, &ids) {
            Meant::None => return,
            Meant::All => ids.media_ids.clone(),
            Meant::These(some) => some,
        };
        let waits = self.waits_of_event(at);
        let ingested = waits.iter().all(|stage| *stage == RECORD);
        let standing = if ingested { Standing::Unaccounted } else { Standing::InFlight };
        for attachment in event.attachments.iter().filter(|attachment| meant.contains(&attachment.task.media_id)) {
            let url = Some(redact_url(&attachment.task.url));
            self.meet(attachment.task.media_id, standing, &ids.trace_id, url);
        }
        let input = at.header(HEADER_INPUT).map(|input| format!(", read at {input}")).unwrap_or_default();
        let waits_for = if waits.is_empty() { String::new() } else { format!("; waits for {}", waits.join(" and ")) };
        let count = attachments(ids.media_ids.len());
        let mut facts = at.facts();
        facts.extend(object(json!({
            "trace_id": ids.trace_id,
            "event_id": ids.event_id,
            "event_key": ids.event_key.map(|key| key.to_string()),
            "attachments": ids.media_ids.len(),
            "input": at.header(HEADER_INPUT),
            "waits_for": waits,
        })));
        let says = format!("event {} with {count}{input}{waits_for}", ids.trace_id);
        self.add(at.record.appended_at, Stage::Event, None, at.place(), says, facts);
    }

    /// Which stages have not committed the event yet, where there are two.
    fn waits_of_event(&self, at: &At<'_>) -> Vec<&'static str> {
        if *at.topic() != *self.lane.topics.events() {
            return if at.is_done() { Vec::new() } else { vec!["enriching"] };
        }
        let names = ["ingest", RECORD];
        names
            .into_iter()
            .zip(at.committed)
            .filter(|(_, committed)| at.record.offset >= **committed)
            .map(|(name, _)| name)
            .collect()
    }

    fn task(&mut self, at: &At<'_>) {
        let Some(task) = at.decode::<Task>() else { return };
        if !self.wanted.has(&self.lane.source, &task.trace_id, task.media_id) {
            return;
        }
        let life = format::life_of(at.record.message.header(HEADER_LIFE));
        let delay = self.lane.topics.tier_delay(at.topic());
        let mut facts = at.facts();
        facts.extend(task_facts(&task, life));
        let told = told_so_far(&task, life);
        let (stage, says) = match delay {
            None => (Stage::Pending, format!("may be downloaded now{told}")),
            Some(delay) => {
                let due = at.record.appended_at.saturating_add(i64::try_from(delay.as_micros()).unwrap_or(i64::MAX));
                facts.insert("due_at".to_owned(), exact_time(due).into());
                (Stage::Retry, format!("waits in the tier of {} until {}{told}", spell_delay(delay), time::format(due)))
            }
        };
        let step = self.step(at.record.appended_at, stage, Some(task.media_id), at.place(), says, facts);
        self.story.add_of(step, &task.trace_id, Some(redact_url(&task.url)));
    }

    fn result(&mut self, at: &At<'_>) {
        let Some(stored) = at.decode::<Stored>() else { return };
        if !self.wanted.has(&self.lane.source, &stored.trace_id, stored.media_id) {
            return;
        }
        let mut facts = at.facts();
        facts.extend(object(json!({
            "blob_path": stored.blob_path,
            "bytes_downloaded": stored.bytes_downloaded,
            "sha256": stored.sha256,
            "attempts": stored.attempts,
        })));
        let says = format!("downloaded in attempt {}, {} bytes; waits for its row", stored.attempts, stored.bytes_downloaded);
        let step = self.step(stored.downloaded_at, Stage::Result, Some(stored.media_id), at.place(), says, facts);
        self.story.add_of(step, &stored.trace_id, Some(redact_url(&stored.url)));
    }

    fn dead_letter(&mut self, at: &At<'_>) {
        let Some(letter) = at.decode::<DeadLetter>() else { return };
        let Some(task) = &letter.task else { return self.letter_of_event(at, &letter) };
        if !self.wanted.has(&self.lane.source, &task.trace_id, task.media_id) {
            return;
        }
        let mut facts = at.facts();
        facts.extend(task_facts(task, letter.life));
        facts.extend(object(json!({
            "status": letter.status,
            "error": note(&letter.error),
            "first_error": letter.first_error.as_ref().map(note),
            "input": letter.input,
            "recorded": at.is_done(),
        })));
        let waits = if at.is_done() { "" } else { "; waits for its row" };
        let says = format!("{}: {}{}{waits}", letter.status, error_line(&letter.error), lived(task.attempts, letter.life));
        let step = self.step(letter.failed_at, Stage::DeadLetter, Some(task.media_id), at.place(), says, facts);
        self.story.add_of(step, &task.trace_id, Some(redact_url(&task.url)));
    }

    /// The letter of an event that got no attachments: it could not be enriched, or not be decoded. Its ids are in its
    /// bytes.
    fn letter_of_event(&mut self, at: &At<'_>, letter: &DeadLetter) {
        let bytes = letter.original.as_ref().and_then(|text| STANDARD.decode(text).ok());
        let meant = match bytes {
            Some(bytes) => self.means_event(at, &bytes),
            // Its bytes are gone; its key is left.
            None => letter.kept.as_ref().and_then(|kept| kept.event_key).is_some_and(|key| self.wanted.is(key)),
        };
        if !meant {
            return;
        }
        let mut facts = at.facts();
        facts.extend(object(json!({ "status": letter.status, "error": note(&letter.error), "input": letter.input })));
        let says = format!("{}: the event itself: {}", letter.status, error_line(&letter.error));
        self.add(letter.failed_at, Stage::DeadLetter, None, at.place(), says, facts);
    }

    fn means_event(&mut self, at: &At<'_>, bytes: &[u8]) -> bool {
        let raw = RawEvent { headers: &at.record.message.headers, ..RawEvent::of(bytes, at.record.appended_at) };
        match self.lane.source.plan(&raw) {
            Ok(Planned::Event(event)) => {
                let ids = EventIds {
                    trace_id: event.trace_id,
                    event_id: event.event_id,
                    event_key: Some(ids::event_key(bytes)),
                    media_ids: event.attachments.iter().map(|attachment| attachment.task.media_id).collect(),
                };
                self.wanted.learn(&self.lane.source, &ids) != Meant::None
            }
            Ok(Planned::Elsewhere) | Err(_) => self.wanted.is_mentioned(bytes),
        }
    }

    pub(super) fn meet(&mut self, media_id: Uuid, standing: Standing, trace_id: &str, url: Option<String>) {
        let met = Attachment { standing, trace_id: trace_id.to_owned(), url };
        self.story.meet(self.lane.name(), media_id, met);
    }

    pub(super) fn add(
        &mut self,
        at: i64,
        stage: Stage,
        media_id: Option<Uuid>,
        place: String,
        says: String,
        facts: Map<String, Value>,
    ) {
        let step = self.step(at, stage, media_id, place, says, facts);
        self.story.add(step);
    }

    pub(super) fn step(
        &self,
        at: i64,
        stage: Stage,
        media_id: Option<Uuid>,
        place: String,
        says: String,
        facts: Map<String, Value>,
    ) -> Step {
        Step { at, source: self.lane.name().to_owned(), stage, media_id, place, says, facts }
    }
}

pub(super) fn attachments(count: usize) -> String {
    if count == 1 { "1 attachment".to_owned() } else { format!("{count} attachments") }
}

fn task_facts(task: &Task, life: u32) -> Map<String, Value> {
    object(json!({
        "path": task.path,
        "attempts": task.attempts,
        "waits": task.waits,
        "moves": task.moves,
        "life": life,
        "first_error": task.first_error.as_ref().map(note),
        "last_error": task.last_error.as_ref().map(note),
    }))
}

fn error_line(error: &ErrorNote) -> String {
    format!("{}: {}", error.reason, error.message)
}

/// Attempts and the latest error of a task under way.
fn told_so_far(task: &Task, life: u32) -> String {
    let last = task.last_error.as_ref().map(|error| format!("; the last error: {}", error_line(error)));
    format!("{}{}", lived(task.attempts, life), last.unwrap_or_default())
}

fn lived(attempts: u32, life: u32) -> String {
    let attempts = if attempts == 1 { "1 attempt".to_owned() } else { format!("{attempts} attempts") };
    let life = if life == 0 { String::new() } else { format!(", replayed (life {life})") };
    format!("; {attempts} so far{life}")
}
