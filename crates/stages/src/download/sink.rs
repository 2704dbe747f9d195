//! The download stage's way out: outcomes gathered into appends, each acknowledged before its task counts as done.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::StageError;
use crate::patience::Patience;
use crate::ports::{Log, Message};

/// How many outcomes go into one round of appends.
const BATCH: usize = 1_000;

/// One outcome on its way out.
pub(super) struct Outgoing {
    /// Where it goes: an index into [`Sink::topics`].
    pub(super) topic: usize,
    pub(super) message: Message,
    /// What is done once it is durable; nothing for a copy that was sent ahead of its task's end.
    pub(super) job: u64,
}

/// Appends outcomes and reports the jobs whose outcome is durable.
pub(super) struct Sink {
    pub(super) log: Arc<dyn Log>,
    pub(super) topics: Vec<String>,
    pub(super) patience: Patience,
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
            let mut by_topic: Vec<Vec<Message>> = self.topics.iter().map(|_| Vec::new()).collect();
            let mut jobs = Vec::with_capacity(round.len());
            for outgoing in round.drain(..) {
                by_topic[outgoing.topic].push(outgoing.message);
                jobs.push(outgoing.job);
            }
            let appends = self.topics.iter().zip(by_topic).filter(|(_, batch)| !batch.is_empty());
            let appends = appends.map(|(topic, batch)| self.append(topic, batch));
            futures::future::try_join_all(appends).await?;
            if done.send(jobs).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    async fn append(&self, topic: &str, batch: Vec<Message>) -> Result<(), StageError> {
        self.patience.until_done("appending outcomes", || self.log.append(topic, batch.clone())).await
    }
}
