//! What the stages do when a port does not do what it was asked: wait and try again, or stop with the reason.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::ports::{Consumer, Log, LogError, StoreError, TableError};

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

/// The longest wait between two tries.
const LONGEST: Duration = Duration::from_secs(10);

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
        let (mut wait, mut last) = (Duration::from_millis(50), String::from("no answer"));
        let tries = async {
            loop {
                match call().await {
                    Ok(value) => return Ok(value),
                    Err(error) if error.may_pass() => {
                        tracing::warn!(%error, wait_ms = wait.as_millis() as u64, "{what} failed, trying again");
                        last = error.to_string();
                        tokio::time::sleep(wait).await;
                        wait = (wait * 2).min(LONGEST);
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

    /// Joins a group, as soon as the log lets us.
    pub(crate) async fn join(&self, log: &dyn Log, group: &str, topics: &[&str]) -> Result<Box<dyn Consumer>, StageError> {
        self.until_done("joining a consumer group", || async move { log.subscribe(group, topics).await }).await
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
}
