//! What the stages do when a port does not do what it was asked: wait and try again, or stop with the reason.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::ports::{Consumer, Delivery, Epoch, Log, LogError, Partition, StoreError, TableError};
use crate::told;

/// Why a stage stopped. The message names the thing, the cause and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StageError(pub String);

impl From<LogError> for StageError {
    fn from(error: LogError) -> Self {
        StageError(error.to_string())
    }
}

/// Whether an error may pass by itself.
pub(crate) trait Passing: std::fmt::Display {
    fn may_pass(&self) -> bool;
}

impl Passing for LogError {
    fn may_pass(&self) -> bool {
        matches!(self, LogError::Unavailable(_))
    }
}

impl Passing for StoreError {
    fn may_pass(&self) -> bool {
        matches!(self, StoreError::Unavailable(_))
    }
}

impl Passing for TableError {
    fn may_pass(&self) -> bool {
        matches!(self, TableError::Unavailable(_))
    }
}

/// The first wait between two tries; it doubles with each.
const SHORTEST: Duration = Duration::from_millis(50);
/// The longest wait between two tries.
const LONGEST: Duration = Duration::from_secs(10);

/// The waits between tries.
#[derive(Debug)]
struct Waits(Duration);

impl Default for Waits {
    fn default() -> Self {
        Waits(SHORTEST)
    }
}

impl Waits {
    /// How long to wait after this error; longer each time.
    fn after(&mut self, what: &str, error: &dyn std::fmt::Display) -> Duration {
        let wait = self.0;
        self.0 = (wait * 2).min(LONGEST);
        tracing::warn!(%error, wait_ms = wait.as_millis() as u64, "{what} failed, trying again");
        wait
    }
}

/// How long a stage tries: for ever, until it is told to end; from then on for a grace.
#[derive(Debug, Clone)]
pub(crate) struct Patience {
    drain: CancellationToken,
    grace: Duration,
    end: Arc<OnceLock<Instant>>,
}

impl Patience {
    pub(crate) fn new(drain: CancellationToken, grace: Duration) -> Self {
        Patience { drain, grace, end: Arc::default() }
    }

    /// Returns when the stage was told to end and the grace is over.
    async fn ends(&self) {
        self.drain.cancelled().await;
        tokio::time::sleep_until(*self.end.get_or_init(|| Instant::now() + self.grace)).await;
    }

    /// Calls until it succeeds; waits between tries, longer each time, as long as the error may pass.
    pub(crate) async fn until_done<T, E, F>(&self, what: &str, mut call: impl FnMut() -> F) -> Result<T, StageError>
    where
        E: Passing,
        F: Future<Output = Result<T, E>>,
    {
        let (mut waits, mut last) = (Waits::default(), String::from("no answer"));
        let tries = async {
            loop {
                match call().await {
                    Ok(value) => return Ok(value),
                    Err(error) if error.may_pass() => {
                        last = error.to_string();
                        tokio::time::sleep(waits.after(what, &error)).await;
                    }
                    Err(error) => return Err(StageError(error.to_string())),
                }
            }
        };
        tokio::select! {
            biased;
            done = tries => done,
            () = self.ends() => Err(StageError(format!("{what}: not done before the end ({last}); the next start goes on with it"))),
        }
    }

    /// Waits before a call that failed is made again. The error, where that may not be.
    async fn wait<E: Passing>(&self, waits: &mut Waits, what: &str, error: E) -> Result<(), E> {
        if !error.may_pass() {
            return Err(error);
        }
        tokio::select! {
            biased;
            () = self.ends() => Err(error),
            () = tokio::time::sleep(waits.after(what, &error)) => Ok(()),
        }
    }

    /// Joins a group, as soon as the log lets us. The consumer waits out what may pass, as we do.
    pub(crate) async fn join(&self, log: &dyn Log, group: &str, topics: &[&str]) -> Result<Box<dyn Consumer>, StageError> {
        let joined = self.until_done("joining a consumer group", || async move { log.subscribe(group, topics).await });
        let (consumer, patience) = (joined.await?, self.clone());
        Ok(Box::new(Steady { consumer, group: group.to_owned(), patience, waits: Waits::default(), not_before: None }))
    }
}

/// A consumer whose calls are made again as long as their error may pass; once the stage was told to end, within the
/// grace only.
struct Steady {
    consumer: Box<dyn Consumer>,
    group: String,
    patience: Patience,
    /// The waits of `next`, which is dropped and called anew time and again.
    waits: Waits,
    not_before: Option<Instant>,
}

#[async_trait]
impl Consumer for Steady {
    async fn next(&mut self) -> Result<Delivery, LogError> {
        loop {
            if let Some(until) = self.not_before {
                tokio::time::sleep_until(until).await;
            }
            match self.consumer.next().await {
                Err(error) if error.may_pass() => {
                    self.not_before = Some(Instant::now() + self.waits.after("reading the log", &error));
                }
                done => {
                    (self.waits, self.not_before) = (Waits::default(), None);
                    done.iter().for_each(|delivery| told::delivery(&self.group, delivery));
                    return done;
                }
            }
        }
    }

    async fn commit(&mut self, partition: &Partition, epoch: Epoch, watermark: u64) -> Result<(), LogError> {
        let mut waits = Waits::default();
        while let Err(error) = self.consumer.commit(partition, epoch, watermark).await {
            self.patience.wait(&mut waits, "committing a position", error).await?;
        }
        Ok(())
    }

    async fn commit_all(&mut self, positions: &[(Partition, Epoch, u64)]) -> Result<(), LogError> {
        let mut waits = Waits::default();
        while let Err(error) = self.consumer.commit_all(positions).await {
            self.patience.wait(&mut waits, "committing positions", error).await?;
        }
        Ok(())
    }

    fn pause(&mut self, partition: &Partition) {
        self.consumer.pause(partition);
    }

    fn resume(&mut self, partition: &Partition) {
        self.consumer.resume(partition);
    }

    async fn release(&mut self, partition: &Partition, epoch: Epoch) -> Result<(), LogError> {
        let mut waits = Waits::default();
        while let Err(error) = self.consumer.release(partition, epoch).await {
            self.patience.wait(&mut waits, "giving up a partition", error).await?;
        }
        Ok(())
    }

    async fn close(self: Box<Self>) -> Result<(), LogError> {
        self.consumer.close().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(25);

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_tried_again_and_what_may_not_is_said() {
        let patience = Patience::new(CancellationToken::new(), GRACE);
        let mut tries = 0;
        let done: Result<u32, StageError> = patience
            .until_done("append", || {
                tries += 1;
                let now = tries;
                async move { if now < 4 { Err(LogError::Unavailable("busy".into())) } else { Ok(now) } }
            })
            .await;
        assert_eq!(done, Ok(4));
        let fatal: Result<(), StageError> =
            patience.until_done("append", || async { Err(LogError::Fatal("no room".into())) }).await;
        assert_eq!(fatal, Err(StageError("no room".into())));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stage_that_is_told_to_end_gives_up_after_the_grace_and_not_before() {
        let drain = CancellationToken::new();
        let patience = Patience::new(drain.clone(), GRACE);
        drain.cancel();
        let begun = Instant::now();
        let busy: Result<(), StageError> =
            patience.until_done("committing rows", || async { Err(LogError::Unavailable("the disk is away".into())) }).await;
        assert_eq!(begun.elapsed(), GRACE);
        let told = busy.expect_err("given up").0;
        assert!(told.contains("committing rows") && told.contains("the disk is away"), "{told}");
        let hung: Result<(), StageError> = patience.until_done("append", std::future::pending::<Result<(), LogError>>).await;
        assert!(hung.is_err(), "a call that hangs ends too, and the grace does not begin again");
        assert_eq!(begun.elapsed(), GRACE);
        assert_eq!(patience.until_done("append", || async { Ok::<_, LogError>(7) }).await, Ok(7), "what is ready is done");
    }

    /// A log that is away, and counts who asks.
    struct Away(u32);

    #[async_trait]
    impl Consumer for Away {
        async fn next(&mut self) -> Result<Delivery, LogError> {
            self.0 += 1;
            Err(LogError::Unavailable(format!("asked {} times", self.0)))
        }

        async fn commit(&mut self, _: &Partition, _: Epoch, watermark: u64) -> Result<(), LogError> {
            self.0 += 1;
            match (watermark, self.0) {
                (0, _) => Err(LogError::Fatal("no such position".into())),
                (_, 1..4) => Err(LogError::Unavailable("busy".into())),
                (7, _) => Err(LogError::Unavailable("still away".into())),
                _ => Ok(()),
            }
        }

        fn pause(&mut self, _: &Partition) {}

        fn resume(&mut self, _: &Partition) {}

        async fn release(&mut self, partition: &Partition, epoch: Epoch) -> Result<(), LogError> {
            self.commit(partition, epoch, 1).await
        }

        async fn close(self: Box<Self>) -> Result<(), LogError> {
            Ok(())
        }
    }

    fn steady(drain: &CancellationToken) -> Steady {
        let patience = Patience::new(drain.clone(), GRACE);
        Steady { consumer: Box::new(Away(0)), group: "g".into(), patience, waits: Waits::default(), not_before: None }
    }

    #[tokio::test(start_paused = true)]
    async fn a_commit_waits_until_the_log_is_back_and_within_the_grace_once_told_to_end() {
        let (drain, partition, epoch) = (CancellationToken::new(), Partition { topic: "t".into(), index: 0 }, Epoch(1));
        assert_eq!(steady(&drain).commit(&partition, epoch, 1).await, Ok(()));
        assert_eq!(steady(&drain).release(&partition, epoch).await, Ok(()));
        assert!(matches!(steady(&drain).commit(&partition, epoch, 0).await, Err(LogError::Fatal(_))));
        drain.cancel();
        let begun = Instant::now();
        assert_eq!(steady(&drain).commit(&partition, epoch, 7).await, Err(LogError::Unavailable("still away".into())));
        assert_eq!(begun.elapsed(), GRACE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_that_is_away_is_not_asked_again_at_once_by_who_was_interrupted() {
        let (drain, begun) = (CancellationToken::new(), Instant::now());
        let mut consumer = steady(&drain);
        while begun.elapsed() < GRACE {
            let interrupted = tokio::time::timeout(Duration::from_millis(1), consumer.next()).await;
            assert!(interrupted.is_err());
        }
        let asked = format!("{:?}", consumer.consumer.next().await);
        assert!(asked.contains("asked 10 times") || asked.contains("asked 11 times"), "{asked}");
    }
}
