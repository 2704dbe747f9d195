//! One pass over the tables and the log, upstream to downstream.

use std::time::Duration;

use anyhow::Result;
use futures::StreamExt;
use longshore_core::format::{self, DeadLetter, Stored, Task};
use longshore_core::letters::Kept;
use longshore_core::reconcile::{Claim, Evidence, Fault, Kind, Places};
use longshore_core::row::Cell;
use longshore_lake::table::{ExactTable, to_cells};
use longshore_stages::ports::{LogView, PartitionState, Received};
use longshore_stages::topics::Topics;
use uuid::Uuid;

use crate::place::{Lane, Place};
use crate::recorded;
use crate::render::harmless;
use crate::walk::{Moment, Step, Walk};

/// What a pass found.
#[derive(Default)]
pub(super) struct Pass {
    /// Sorted.
    pub(super) faults: Vec<Fault>,
    /// What the results in flight will claim, and what dead letters do.
    pub(super) claims: Vec<Claim>,
    /// The objects that dead letters refer to.
    pub(super) originals: Vec<Original>,
    /// Records that somebody must still read, attachments or not.
    pub(super) in_flight: u64,
    pub(super) counts: Counts,
}

impl Pass {
    fn add(&mut self, other: Pass) {
        self.faults.extend(other.faults);
        self.claims.extend(other.claims);
        self.originals.extend(other.originals);
        self.in_flight += other.in_flight;
        self.counts.events += other.counts.events;
        self.counts.accepted += other.counts.accepted;
        self.counts.stored += other.counts.stored;
        self.counts.failed += other.counts.failed;
        self.counts.dead_letters += other.counts.dead_letters;
    }
}

/// An object that a dead letter refers to.
pub(super) struct Original {
    /// The letter: topic, partition and offset.
    pub(super) letter: String,
    pub(super) kept: Kept,
}

/// How much was looked at.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) events: usize,
    pub(super) accepted: usize,
    pub(super) stored: usize,
    pub(super) failed: usize,
    pub(super) dead_letters: u64,
}

/// One look at everything, source by source.
pub(super) async fn look(place: &Place, since: Option<i32>) -> Result<Pass> {
    let mut whole = Pass::default();
    for lane in &place.lanes {
        whole.add(look_at(place, lane, since).await?);
    }
    whole.faults.sort();
    whole.faults.dedup();
    Ok(whole)
}

async fn look_at(place: &Place, lane: &Lane, since: Option<i32>) -> Result<Pass> {
    let view = place.log_view()?;
    let mut looker = Looker::new(view.as_ref(), lane);
    looker.events_table(place.open_tables(lane).await?.events.as_ref(), since).await?;
    looker.log().await?;
    // Opened anew: a table may have come into being since.
    let tables = place.open_tables(lane).await?;
    looker.stored_table(tables.attachments.as_ref()).await?;
    looker.failed_table(tables.failed.as_ref()).await?;
    Ok(looker.conclude())
}

struct Looker<'a> {
    view: &'a dyn LogView,
    topics: Topics,
    lane: &'a Lane,
    evidence: Evidence,
    pass: Pass,
}

/// What a record says, once it is decoded.
enum Said {
    InFlight(Vec<Uuid>),
    Accepted(Vec<Uuid>),
    Letter(Uuid, u32),
    LetterInFlight(Uuid, u32),
    Nothing,
    Unreadable,
}

impl<'a> Looker<'a> {
    fn new(view: &'a dyn LogView, lane: &'a Lane) -> Self {
        Looker { view, topics: lane.topics.clone(), lane, evidence: Evidence::default(), pass: Pass::default() }
    }

    async fn events_table(&mut self, table: Option<&ExactTable>, since: Option<i32>) -> Result<()> {
        self.evidence.partial = since.is_some();
        for_each_row(table, &["event_key", "media_ids", "event_date"], |row| {
            let [key, media_ids, day] = row else { return };
            self.pass.counts.events += 1;
            let table = || self.lane.shape.events_table().name;
            self.note_id(key, table, |evidence| &mut evidence.events);
            if matches!((since, day), (Some(since), Cell::Date(day)) if *day < since) {
                return;
            }
            let Cell::TextList(ids) = media_ids else { return };
            for id in ids {
                self.note_id(&Cell::Text(id.clone()), table, |evidence| &mut evidence.accepted);
            }
        })
        .await
    }

    async fn stored_table(&mut self, table: Option<&ExactTable>) -> Result<()> {
        for_each_row(table, &["media_id"], |row| {
            self.pass.counts.stored += 1;
            self.note_id(&row[0], || self.lane.shape.attachments_table().name, |evidence| &mut evidence.stored);
        })
        .await
    }

    async fn failed_table(&mut self, table: Option<&ExactTable>) -> Result<()> {
        for_each_row(table, &["media_id", "life"], |row| {
            self.pass.counts.failed += 1;
            let life = match &row[1] {
                Cell::Int64(life) => u32::try_from(*life).ok(),
                _ => None,
            };
            match (id_of(&row[0]), life) {
                (Some(id), Some(life)) => self.evidence.failed.push((id, life)),
                _ => self.damaged_row(&row[0], self.lane.shape.failed_table().name),
            }
        })
        .await
    }

    fn note_id(&mut self, cell: &Cell, table: impl Fn() -> String, list: impl Fn(&mut Evidence) -> &mut Vec<Uuid>) {
        match id_of(cell) {
            Some(id) => list(&mut self.evidence).push(id),
            None => self.damaged_row(cell, table()),
        }
    }

    fn damaged_row(&mut self, id: &Cell, table: String) {
        let id = match id {
            Cell::Text(text) => harmless(&text.chars().take(64).collect::<String>()),
            _ => "nothing".to_owned(),
        };
        self.pass.faults.push(Fault::at(Kind::DamagedRow, format!("{table}, where the id is {id}")));
    }

    /// The unfinished ranges in the order of the work; positions as of the beginning.
    async fn log(&mut self) -> Result<()> {
        let start = Moment::of(self.view).await?;
        let topics = self.topics.clone();
        let tiers: Vec<String> = tiers(&start, &topics).map(|delay| topics.tier(delay)).collect();
        self.topic(&start, &topics.events()).await?;
        for topic in tiers.iter().chain([&topics.pending()]).chain(&tiers) {
            self.topic(&start, topic).await?;
        }
        self.topic(&start, &topics.results()).await?;
        self.topic(&start, &topics.dead_letters()).await
    }

    async fn topic(&mut self, start: &Moment, topic: &str) -> Result<()> {
        // Up to where the topic ends now: what upstream had at the beginning may have come here since.
        let now = Moment::of(self.view).await?;
        for state in now.topic(topic) {
            self.partition(start, state).await?;
        }
        Ok(())
    }

    async fn partition(&mut self, start: &Moment, state: &PartitionState) -> Result<()> {
        let topic: &str = &state.partition.topic;
        let committed: Vec<u64> = self.topics.consumption(topic).iter().map(|group| start.committed(group, state)).collect();
        let unfinished = committed.iter().copied().min().unwrap_or(state.end);
        let keeps_all = *topic == *self.topics.dead_letters();
        let from = if keeps_all { 0 } else { unfinished };
        if keeps_all {
            self.pass.counts.dead_letters += state.end;
            (0..state.begin).for_each(|offset| self.hole(state, offset, MISSING));
        }
        self.pass.in_flight += state.end.saturating_sub(unfinished);
        let mut walk = Walk::new(self.view, &state.partition, from..state.end);
        while let Some(step) = walk.next().await? {
            match step {
                Step::Hole(offset, said) => self.hole(state, offset, &said),
                Step::Records(records) => records.iter().for_each(|record| self.record(state, record, &committed)),
            }
        }
        Ok(())
    }

    fn hole(&mut self, state: &PartitionState, offset: u64, said: &str) {
        let kind = if said.contains(MISSING) { Kind::MissingRecord } else { Kind::DamagedRecord };
        self.pass.faults.push(Fault::at(kind, format!("{}@{offset}", state.partition)));
    }

    fn record(&mut self, state: &PartitionState, record: &Received, committed: &[u64]) {
        let topic = &state.partition.topic;
        if **topic == *self.topics.dead_letters() {
            self.original(state, record);
        }
        let evidence = match self.said(topic, record, committed) {
            Said::InFlight(ids) => return self.evidence.in_flight.extend(ids),
            Said::Accepted(ids) => return self.evidence.accepted.extend(ids),
            Said::Letter(id, life) => return self.evidence.letters.push((id, life)),
            Said::LetterInFlight(id, life) => return self.evidence.letters_in_flight.push((id, life)),
            Said::Nothing => return,
            Said::Unreadable => format!("{}@{}", state.partition, record.offset),
        };
        self.pass.faults.push(Fault::at(Kind::DamagedRecord, evidence));
    }

    /// Notes the object that a dead letter refers to, if it does.
    fn original(&mut self, state: &PartitionState, record: &Received) {
        let letter = record.message.value.as_deref().and_then(|value| format::decode::<DeadLetter>(value).ok());
        let Some(kept) = letter.and_then(|letter| letter.kept) else { return };
        self.pass.claims.push(Claim::of(&kept.path, &kept.sha256));
        self.pass.originals.push(Original { letter: format!("{}@{}", state.partition, record.offset), kept });
    }

    /// What cannot be decoded is no fault where the stages make a dead letter of it; a dead letter has no further place.
    fn said(&mut self, topic: &str, record: &Received, committed: &[u64]) -> Said {
        let Some(value) = record.message.value.as_deref() else { return Said::Nothing };
        let consumed = committed.first().is_some_and(|first| record.offset < *first);
        match topic {
            t if *t == self.topics.events() && consumed => Said::Accepted(self.event_ids(topic, record)),
            t if *t == self.topics.events() => Said::InFlight(self.event_ids(topic, record)),
            t if *t == self.topics.results() => format::decode::<Stored>(value).map_or(Said::Nothing, |stored| {
                self.pass.claims.push(Claim::of(&stored.blob_path, &stored.sha256));
                Said::InFlight(vec![stored.media_id])
            }),
            t if *t == self.topics.dead_letters() => match format::decode::<DeadLetter>(value) {
                Err(_) => Said::Unreadable,
                Ok(DeadLetter { task: None, .. }) => Said::Nothing,
                Ok(DeadLetter { task: Some(task), life, .. }) if consumed => Said::Letter(task.media_id, life),
                Ok(DeadLetter { task: Some(task), life, .. }) => Said::LetterInFlight(task.media_id, life),
            },
            _ => format::decode::<Task>(value).map_or(Said::Nothing, |task| Said::InFlight(vec![task.media_id])),
        }
    }

    /// The attachments of an event; none for a poison event.
    fn event_ids(&self, topic: &str, record: &Received) -> Vec<Uuid> {
        // Which ids an event has does not depend on the policy.
        let attachments = recorded::event_of(self.lane, topic, record).map(|(_, event)| event.attachments).unwrap_or_default();
        attachments.iter().map(|attachment| attachment.task.media_id).collect()
    }

    fn conclude(mut self) -> Pass {
        let places = Places {
            attachments: self.lane.shape.attachments_table().name,
            failed: self.lane.shape.failed_table().name,
            events: self.lane.shape.events_table().name,
            dead_letters: self.topics.dead_letters(),
        };
        self.pass.counts.accepted = self.evidence.accepted.len();
        self.pass.faults.extend(self.evidence.faults(&places));
        self.pass
    }
}

/// How the log says that an offset is not there.
const MISSING: &str = "the record is missing";

fn tiers(moment: &Moment, topics: &Topics) -> impl Iterator<Item = Duration> {
    let mut delays: Vec<Duration> = moment.partitions.iter().filter_map(|s| topics.tier_delay(&s.partition.topic)).collect();
    delays.sort_unstable();
    delays.dedup();
    delays.into_iter()
}

fn id_of(cell: &Cell) -> Option<Uuid> {
    match cell {
        Cell::Text(text) => Uuid::try_parse(text).ok(),
        _ => None,
    }
}

async fn for_each_row(table: Option<&ExactTable>, columns: &[&str], mut visit: impl FnMut(&[Cell])) -> Result<()> {
    let Some(table) = table else { return Ok(()) };
    let mut batches = table.scan(columns).await?;
    while let Some(batch) = batches.next().await {
        to_cells(&batch?)?.iter().for_each(|row| visit(row));
    }
    Ok(())
}
