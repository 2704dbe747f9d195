//! Waiting for what may pass by itself, within bounds, and said on standard error.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use longshore_stages::ports::{LogError, TableError};

/// The longest wait between two tries.
const LONGEST: Duration = Duration::from_secs(10);
/// The longest that anything is waited for.
const PATIENCE: Duration = Duration::from_secs(300);

/// Whether an error may pass by itself.
pub(super) trait Passing: std::error::Error + Send + Sync + 'static {
    fn may_pass(&self) -> bool;
}

impl Passing for LogError {
    fn may_pass(&self) -> bool {
        matches!(self, LogError::Unavailable(_))
    }
}

impl Passing for TableError {
    fn may_pass(&self) -> bool {
        matches!(self, TableError::Unavailable(_))
    }
}

/// Calls until it succeeds, as long as the error may pass and patience lasts.
pub(super) async fn patiently<T, E, F>(what: &str, mut call: impl FnMut() -> F) -> Result<T>
where
    E: Passing,
    F: Future<Output = Result<T, E>>,
{
    let (begun, mut wait) = (Instant::now(), Duration::from_millis(50));
    loop {
        match call().await {
            Ok(value) => return Ok(value),
            Err(error) if !error.may_pass() => return Err(error.into()),
            Err(error) if begun.elapsed() > PATIENCE => {
                return Err(anyhow!(error).context(format!("{what} failed for {} s", PATIENCE.as_secs())));
            }
            Err(error) => {
                if wait >= Duration::from_millis(400) {
                    eprintln!("waiting: {what} failed, trying again: {error}");
                }
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LONGEST);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_tried_again_and_what_may_not_is_said() {
        let mut tries = 0;
        let done = patiently("append", || {
            tries += 1;
            let now = tries;
            async move { if now < 4 { Err(TableError::Unavailable("busy".into())) } else { Ok(now) } }
        });
        assert_eq!(done.await.expect("done"), 4);
        let fatal: Result<()> = patiently("append", || async { Err(LogError::Fatal("no room".into())) }).await;
        assert_eq!(fatal.expect_err("fatal").to_string(), "no room");
    }
}
