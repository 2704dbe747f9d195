//! The command demo.
use anyhow::Result;
pub(crate) async fn run(_args: crate::cli::DemoArgs) -> Result<u8> {
    anyhow::bail!("not yet")
}
