//! The download stage's way out: outcomes gathered into appends, each acknowledged before its task counts as done.
//! What of a dead letter is too large for the log goes to the store before.

use tokio::sync::mpsc;

use crate::StageError;
use crate::letters::{Parcel, Post};

/// How many outcomes go into one round of appends.
const BATCH: usize = 1_000;

/// One outcome on its way out.
pub(super) struct Outgoing {
    /// Where it goes: an index into [`Sink::topics`].
    pub(super) topic: usize,
    pub(super) parcel: Parcel,
    /// What is done once it is durable; nothing for a copy that was sent ahead of its task's end.
    pub(super) job: u64,
}

/// Appends outcomes and reports the jobs whose outcome is durable.
pub(super) struct Sink {
    pub(super) post: Post,
    pub(super) topics: Vec<String>,
}

impl Sink {
    /// Runs until the sender of outcomes is gone.
    pub(super) async fn run(
        self,
        mut outcomes: mpsc::Receiver<Outgoing>,
        done: mpsc::Sender<Vec<u64>>,
    ) -> Result<(), StageError> {
        let mut round = Vec::with_capacity(BATCH);
        while outcomes.recv_many(&mut round, BATCH).await > 0 {
            let mut by_topic: Vec<Vec<Parcel>> = self.topics.iter().map(|_| Vec::new()).collect();
            let mut jobs = Vec::with_capacity(round.len());
            for outgoing in round.drain(..) {
                by_topic[outgoing.topic].push(outgoing.parcel);
                jobs.push(outgoing.job);
            }
            let appends = self.topics.iter().zip(by_topic);
            let appends = appends.map(|(topic, batch)| self.post.append("appending outcomes", topic, batch));
            futures::future::try_join_all(appends).await?;
            if done.send(jobs).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}
