//! The command reconcile.
use anyhow::Result;
pub(crate) async fn run(_args: crate::cli::ReconcileArgs) -> Result<u8> {
    anyhow::bail!("not yet")
}
