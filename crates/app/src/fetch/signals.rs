//! Ctrl-C and SIGTERM: once drains, twice stops at once, whatever the program is doing.

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit;
use crate::voice::Voice;

/// What the user asked for by signals.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    drain: CancellationToken,
}

impl Stop {
    /// Listens to SIGINT and SIGTERM from now on; what the second one does is said.
    pub(crate) fn on_signals(voice: Voice) -> Result<Self> {
        let stop = Stop::default();
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen to SIGINT")?;
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen to SIGTERM")?;
        let heard = stop.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    received = interrupt.recv() => if received.is_none() { return },
                    received = terminate.recv() => if received.is_none() { return },
                }
                if heard.drain.is_cancelled() {
                    // The same as a kill, which every part is made for.
                    voice.warn("stopped at once; nothing is lost, what was under way is done again by the next run");
                    std::process::exit(i32::from(exit::FAILED));
                }
                heard.drain.cancel();
            }
        });
        Ok(stop)
    }

    /// Cancelled by the first signal.
    pub(crate) fn draining(&self) -> CancellationToken {
        self.drain.clone()
    }
}
