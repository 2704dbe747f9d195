//! The command inventory.
use anyhow::Result;
pub(crate) async fn run(_args: crate::cli::InventoryArgs) -> Result<u8> {
    anyhow::bail!("not yet")
}
