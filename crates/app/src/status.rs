//! The command status.
use anyhow::Result;
pub(crate) async fn run(_args: crate::cli::StatusArgs) -> Result<u8> {
    anyhow::bail!("not yet")
}
