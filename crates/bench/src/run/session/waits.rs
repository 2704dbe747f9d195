//! What a run waits for: rows, records, a group that has settled.
//!
//! *Owns*: for how long, and what it means when nothing comes. A worker that ends meanwhile ends the wait.

use std::time::{Duration, Instant};

use super::{LOOK, Session, check};
use crate::failure::Failure;
use crate::look::Counter;
use crate::suite::Role;

/// How often brokers are asked about groups.
const SHARED: Duration = Duration::from_millis(200);
/// How long nothing may come until it is asked whether all stages are done; what is missing then counts as lost.
const SETTLED: Duration = Duration::from_secs(2);
/// How often in a row nobody must have had anything to do.
const LOOKS: u32 = 2;
/// The longest wait in which nothing new comes.
const PATIENCE: Duration = Duration::from_secs(60);

impl Session<'_> {
    /// Waits until every message that was acknowledged has a row. When all stages have done what there is and some rows do
    /// not come, it is the ledger's turn to say so.
    pub(in crate::run) async fn rows(&mut self) -> Result<(), Failure> {
        let (mut rows, mut since, mut idle) = (self.follow.counter().rows(), Instant::now(), 0);
        while !self.follow.accounts(|accounts| accounts.is_complete()) {
            tokio::time::sleep(LOOK).await;
            check(&mut self.workers, &self.follow)?;
            let now = self.follow.counter().rows();
            if now > rows {
                (rows, since, idle) = (now, Instant::now(), 0);
            }
            let quiet = since.elapsed();
            if quiet > SETTLED * (idle + 1) {
                idle = if self.is_idle().await { idle + 1 } else { 0 };
                tokio::time::sleep(SHARED).await;
            }
            if idle >= LOOKS {
                let held = self.held().await?;
                self.complain(format!("all stages were done, with {rows} rows; the topics hold {held}"));
                return Ok(());
            }
            if quiet > PATIENCE {
                // What is missing is the ledger's to say.
                self.complain(format!("no row came for {} s, after {rows}", PATIENCE.as_secs()));
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether no stage has anything to do; when that cannot be told, no.
    async fn is_idle(&self) -> bool {
        match self.look() {
            Ok(look) => look.lag().await.is_ok_and(|lag| lag.values().all(|behind| *behind == 0)),
            Err(_) => false,
        }
    }

    /// How many records each topic has, in words.
    async fn held(&self) -> Result<String, Failure> {
        let (look, topics) = (self.look()?, &self.world.topics);
        let mut held = Vec::new();
        for topic in [topics.raw(), topics.pending(), topics.results(), topics.dead_letters()] {
            held.push(format!("{topic} {}", look.counter(topic.clone()).count().await?));
        }
        Ok(held.join(", "))
    }

    /// Waits until a topic has so many records of the stage that writes it. When the stage has done what there is and some do
    /// not come, their rows will not come either: it is the ledger's turn to say so.
    pub(in crate::run) async fn records(&mut self, counter: &Counter, count: u64, of: Role) -> Result<(), Failure> {
        let (mut last, mut since, mut idle) = (0, Instant::now(), 0);
        loop {
            let now = counter.count().await?;
            if now >= count {
                return Ok(());
            }
            if now > last {
                (last, since, idle) = (now, Instant::now(), 0);
            }
            let quiet = since.elapsed();
            if quiet > SETTLED * (idle + 1) {
                idle = if self.has_done(of).await { idle + 1 } else { 0 };
            }
            if idle >= LOOKS || quiet > PATIENCE {
                self.complain(format!("{} put out {now} of {count} messages, and no more", of.name()));
                return Ok(());
            }
            check(&mut self.workers, &self.follow)?;
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Whether this stage has nothing to do; when that cannot be told, no.
    async fn has_done(&self, role: Role) -> bool {
        match self.look() {
            Ok(look) => look.lag().await.is_ok_and(|lag| lag.get(role.name()) == Some(&0)),
            Err(_) => false,
        }
    }

    /// Waits until this is so.
    pub(in crate::run) async fn wait(
        &mut self,
        what: &str,
        is_so: impl Fn(&Session<'_>) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        let since = Instant::now();
        while !is_so(self)? {
            if since.elapsed() > PATIENCE {
                return Err(Failure::Late(format!("waited {} s for {what}", PATIENCE.as_secs())));
            }
            check(&mut self.workers, &self.follow)?;
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Waits until this many workers share the partitions of tasks.
    pub(in crate::run) async fn settled(&mut self, count: u32) -> Result<(), Failure> {
        let (look, group, since) = (self.look()?, self.world.topics.download_group(), Instant::now());
        loop {
            let shares = look.shares(&group).await?;
            if shares.len() == count as usize && shares.iter().all(|share| *share > 0) {
                return Ok(());
            }
            if since.elapsed() > PATIENCE {
                return Err(Failure::Late(format!(
                    "{count} download workers did not come to share their partitions; they have {shares:?}"
                )));
            }
            check(&mut self.workers, &self.follow)?;
            tokio::time::sleep(SHARED).await;
        }
    }
}
