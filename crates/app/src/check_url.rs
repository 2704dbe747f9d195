//! The command check-url.
use anyhow::Result;
pub(crate) fn run(_args: crate::cli::CheckUrlArgs) -> Result<u8> {
    anyhow::bail!("not yet")
}
