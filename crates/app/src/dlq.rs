//! The command dlq.
use anyhow::Result;
pub(crate) async fn run(_args: crate::cli::DlqCommand) -> Result<u8> {
    anyhow::bail!("not yet")
}
