//! The dead letters of a source, and what has become of their attachments and events since.
//!
//! The topic is read two times up to its end as of the beginning: once for the latest life of each, once for those letters
//! themselves that are asked for. Memory: about 80 bytes for each failed attachment or event, and one read of the log.

use std::ops::Range;

use anyhow::Result;
use longshore_core::inventory;
use longshore_core::replay::{Latest, Subject};
use longshore_lake::table::ExactTable;
use longshore_stages::ports::{LogView, PartitionState, Table};

use super::letters::Entry;
use crate::pipeline::OpenLane;
use crate::place::{Lane, Tables};
use crate::walk::{Moment, Step, Walk};

/// The open tables of a running pipeline.
pub(crate) fn tables_of(open: &OpenLane) -> Tables {
    open.tables().unwrap_or(Tables { attachments: None, failed: None, events: None })
}

/// What has become of a letter's attachment or event since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has neither been stored nor failed again.
    Open,
    /// It failed again, in a later life.
    Superseded,
    /// The attachment is stored, or the event could be read.
    Settled,
    /// Nobody can tell what the letter is about.
    Unreadable,
}

/// A survey of the dead letters of a source.
pub(crate) struct Survey<'a> {
    walks: Vec<Walk<'a>>,
    latest: Latest,
    tables: &'a Tables,
}

impl<'a> Survey<'a> {
    /// Of all letters in `states`, the partitions of the topic as of one moment (see [`Survey::states`]).
    pub(crate) async fn of(view: &'a dyn LogView, states: &'a [PartitionState], tables: &'a Tables) -> Result<Survey<'a>> {
        Self::part(view, states, tables, 0..u64::MAX).await
    }

    /// The same of the letters at these offsets. Those before them count for which letter is the latest; those after
    /// them only where their life is higher (see [`Latest`]).
    pub(crate) async fn part(
        view: &'a dyn LogView,
        states: &'a [PartitionState],
        tables: &'a Tables,
        part: Range<u64>,
    ) -> Result<Survey<'a>> {
        let mut latest = Latest::until(part.end);
        for state in states {
            let mut walk = Walk::new(view, &state.partition, state.begin..state.end);
            while let Some(step) = walk.next().await? {
                let Step::Records(records) = step else { continue };
                for entry in records.iter().map(Entry::of) {
                    if let (Some(subject), Some(letter)) = (entry.subject(), &entry.letter) {
                        latest.note(subject, letter.life, entry.offset);
                    }
                }
            }
        }
        // The last is walked first.
        let within = |s: &PartitionState| s.begin.max(part.start)..s.end.min(part.end);
        let walks = states.iter().rev().map(|s| Walk::new(view, &s.partition, within(s))).collect();
        Ok(Survey { walks, latest, tables })
    }

    /// The partitions of a source's dead letters as of now; there is one.
    pub(crate) async fn states(view: &dyn LogView, lane: &Lane) -> Result<Vec<PartitionState>> {
        let moment = Moment::of(view).await?;
        Ok(moment.topic(&lane.topics.dead_letters()).cloned().collect())
    }

    /// The next letters with their standing; nothing at the end. A damaged place is named on standard error.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<(Entry, Standing)>>> {
        while let Some(walk) = self.walks.last_mut() {
            match walk.next().await? {
                Some(Step::Records(records)) => {
                    return Ok(Some(self.judge(records.iter().map(Entry::of).collect()).await?));
                }
                Some(Step::Hole(offset, said)) => eprintln!("warning: dead letter {offset} is left out: {said}"),
                None => drop(self.walks.pop()),
            }
        }
        Ok(None)
    }

    async fn judge(&self, entries: Vec<Entry>) -> Result<Vec<(Entry, Standing)>> {
        let subjects: Vec<_> = entries.iter().map(Entry::subject).collect();
        let settled = settled(self.tables, &subjects).await?;
        let standing = |(entry, (subject, settled)): (&Entry, (&Option<Subject>, bool))| match subject {
            None => Standing::Unreadable,
            Some(_) if settled => Standing::Settled,
            Some(subject) if self.latest.is(*subject, entry.offset) => Standing::Open,
            Some(_) => Standing::Superseded,
        };
        let standings: Vec<_> = entries.iter().zip(subjects.iter().zip(settled)).map(standing).collect();
        Ok(entries.into_iter().zip(standings).collect())
    }
}

/// Which of these have ended well: attachments that are stored, events that could be read.
async fn settled(tables: &Tables, subjects: &[Option<Subject>]) -> Result<Vec<bool>> {
    let mut settled = vec![false; subjects.len()];
    let attachment = |s: &Option<Subject>| matches!(s, Some(Subject::Attachment(_)));
    let event = |s: &Option<Subject>| matches!(s, Some(Subject::Event(_)));
    ask(tables.attachments.as_ref(), subjects, attachment, &mut settled).await?;
    ask(tables.events.as_ref(), subjects, event, &mut settled).await?;
    Ok(settled)
}

async fn ask(
    table: Option<&ExactTable>,
    subjects: &[Option<Subject>],
    of: impl Fn(&Option<Subject>) -> bool,
    settled: &mut [bool],
) -> Result<()> {
    let Some(table) = table else { return Ok(()) };
    let meant: Vec<usize> = (0..subjects.len()).filter(|at| of(&subjects[*at])).collect();
    let keys: Vec<_> = meant.iter().filter_map(|at| subjects[*at]).map(|subject| inventory::key(subject.id())).collect();
    for (at, known) in meant.into_iter().zip(table.known(&keys).await?) {
        settled[at] = known;
    }
    Ok(())
}
