//! What was found, in the order of time, and where each attachment stands.

use std::collections::{BTreeMap, HashSet};

use longshore_core::time::Micros;
use serde_json::{Map, Value};
use uuid::Uuid;

/// The most findings, and the most attachments, that are kept; those beyond are counted.
pub(super) const MOST: usize = 10_000;

/// Where something was found, in the order of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Stage {
    /// In the input topic.
    Event,
    /// In the events table.
    EventRow,
    /// In the topic of tasks that may be downloaded.
    Pending,
    /// In a retry tier.
    Retry,
    /// In the topic of results.
    Result,
    /// In `attachments`.
    Stored,
    /// In the topic of dead letters.
    DeadLetter,
    /// In `attachments_failed`.
    Failed,
}

impl Stage {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Stage::Event => "event",
            Stage::EventRow => "event row",
            Stage::Pending => "pending",
            Stage::Retry => "retry",
            Stage::Result => "result",
            Stage::Stored => "stored row",
            Stage::DeadLetter => "dead letter",
            Stage::Failed => "failed row",
        }
    }
}

/// One finding.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) at: Micros,
    pub(super) source: String,
    pub(super) stage: Stage,
    /// The attachment; nothing for an event.
    pub(super) media_id: Option<Uuid>,
    /// Topic, partition and offset, or the table.
    pub(super) place: String,
    /// One line for people.
    pub(super) says: String,
    /// The details for programs.
    pub(super) facts: Map<String, Value>,
}

/// Where an attachment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// In an event, and nowhere after it.
    Unaccounted,
    /// A dead letter, a failed row, or both.
    Failed,
    /// Some stage still has to do with it.
    InFlight,
    /// In `attachments`: nothing else counts any more.
    Stored,
}

impl Standing {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Standing::Unaccounted => "unaccounted",
            Standing::Failed => "failed",
            Standing::InFlight => "in_flight",
            Standing::Stored => "stored",
        }
    }

    fn of(stage: Stage) -> Self {
        match stage {
            Stage::Stored => Standing::Stored,
            Stage::Pending | Stage::Retry | Stage::Result => Standing::InFlight,
            Stage::DeadLetter | Stage::Failed => Standing::Failed,
            Stage::Event | Stage::EventRow => Standing::Unaccounted,
        }
    }
}

/// What is known of an attachment.
#[derive(Debug)]
pub(super) struct Attachment {
    pub(super) standing: Standing,
    pub(super) trace_id: String,
    /// Without its secrets.
    pub(super) url: Option<String>,
}

/// Everything that was found.
#[derive(Debug, Default)]
pub(super) struct Story {
    pub(super) steps: Vec<Step>,
    /// By source and id.
    pub(super) attachments: BTreeMap<(String, Uuid), Attachment>,
    /// Findings beyond [`MOST`].
    pub(super) left_out: usize,
    seen: HashSet<(Stage, String)>,
}

impl Story {
    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.left_out == 0
    }

    /// Adds a finding, once: what is read twice stands at the same place with the same words.
    pub(super) fn add(&mut self, step: Step) {
        if self.steps.len() >= MOST {
            self.left_out += 1;
            return;
        }
        let id = step.media_id.map(|id| id.to_string()).unwrap_or_default();
        if self.seen.insert((step.stage, format!("{} {id} {}", step.place, step.says))) {
            self.steps.push(step);
        }
    }

    /// An attachment was met, at a stage or in an event that is still to be read by ingest.
    pub(super) fn meet(&mut self, source: &str, media_id: Uuid, met: Attachment) {
        if self.attachments.len() >= MOST {
            return;
        }
        let known = self.attachments.entry((source.to_owned(), media_id)).or_insert(Attachment {
            standing: met.standing,
            trace_id: met.trace_id,
            url: None,
        });
        known.standing = known.standing.max(met.standing);
        known.url = known.url.take().or(met.url);
    }

    /// Adds a finding about an attachment.
    pub(super) fn add_of(&mut self, step: Step, trace_id: &str, url: Option<String>) {
        if let Some(id) = step.media_id {
            let met = Attachment { standing: Standing::of(step.stage), trace_id: trace_id.to_owned(), url };
            self.meet(&step.source.clone(), id, met);
        }
        self.add(step);
    }

    /// Brings the findings into the order of time.
    pub(super) fn arrange(&mut self) {
        self.steps.sort_by(|a, b| (a.at, a.stage, &a.place).cmp(&(b.at, b.stage, &b.place)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(at: Micros, stage: Stage, id: u128) -> Step {
        let (media_id, facts) = (Some(Uuid::from_u128(id)), Map::new());
        Step { at, source: "s".into(), stage, media_id, place: "p".into(), says: at.to_string(), facts }
    }

    #[test]
    fn the_story_is_told_in_the_order_of_time_and_each_finding_once() {
        let mut story = Story::default();
        for (at, stage) in [(3, Stage::Pending), (1, Stage::Failed), (1, Stage::DeadLetter), (3, Stage::Pending)] {
            story.add_of(step(at, stage, 1), "t", None);
        }
        story.arrange();
        let told: Vec<Stage> = story.steps.iter().map(|step| step.stage).collect();
        assert_eq!(told, [Stage::DeadLetter, Stage::Failed, Stage::Pending]);
        assert_eq!(story.attachments[&("s".into(), Uuid::from_u128(1))].standing, Standing::InFlight, "it was replayed");
        story.add_of(step(4, Stage::Stored, 1), "t", Some("u".into()));
        let attachment = &story.attachments[&("s".into(), Uuid::from_u128(1))];
        assert_eq!((attachment.standing, attachment.url.as_deref()), (Standing::Stored, Some("u")), "stored wins");
    }

    #[test]
    fn memory_is_bounded_and_what_is_left_out_is_counted() {
        let mut story = Story::default();
        for id in 0..MOST as u128 + 5 {
            story.add_of(step(0, Stage::Pending, id), "t", None);
        }
        assert_eq!((story.steps.len(), story.attachments.len(), story.left_out), (MOST, MOST, 5));
    }
}
