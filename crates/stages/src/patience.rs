//! What the stages do when a port does not do what it was asked: wait and try again, or stop with the reason.

use std::time::Duration;

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

/// Joins a group, as soon as the log lets us.
pub(crate) async fn join(log: &dyn Log, group: &str, topics: &[&str]) -> Result<Box<dyn Consumer>, StageError> {
    until_done("joining a consumer group", || async move { log.subscribe(group, topics).await }).await
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

/// Calls until it succeeds; waits between tries, longer each time, as long as the error may pass.
pub(crate) async fn until_done<T, E, F>(what: &str, mut call: impl FnMut() -> F) -> Result<T, StageError>
where
    E: Passing,
    F: Future<Output = Result<T, E>>,
{
    let mut wait = Duration::from_millis(50);
    loop {
        match call().await {
            Ok(value) => return Ok(value),
            Err(error) if error.may_pass() => {
                tracing::warn!(%error, wait_ms = wait.as_millis() as u64, "{what} failed, trying again");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LONGEST);
            }
            Err(error) => return Err(StageError(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_tried_again_and_what_may_not_is_said() {
        let mut tries = 0;
        let done: Result<u32, StageError> = until_done("append", || {
            tries += 1;
            let now = tries;
            async move { if now < 4 { Err(LogError::Unavailable("busy".into())) } else { Ok(now) } }
        })
        .await;
        assert_eq!(done, Ok(4));
        let fatal: Result<(), StageError> = until_done("append", || async { Err(LogError::Fatal("no room".into())) }).await;
        assert_eq!(fatal, Err(StageError("no room".into())));
    }
}
