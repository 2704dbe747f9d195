//! The hidden commands: the suite's own processes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use longshore_bench::{generator, origin, tie};
use serde::de::DeserializeOwned;

use crate::exit;

#[derive(Debug, Clone, Args)]
pub(super) struct TiedArgs {
    /// Who must live
    #[arg(long, value_name = "PID")]
    parent: u32,
    /// What to become
    #[arg(value_name = "COMMAND", last = true, required = true)]
    words: Vec<OsString>,
}

#[derive(Debug, Clone, Args)]
pub(super) struct OriginArgs {
    /// Its plan, JSON [default: a free port of 127.0.0.1]
    #[arg(value_name = "FILE")]
    plan: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub(super) struct GenerateArgs {
    /// Its plan, JSON
    #[arg(value_name = "FILE")]
    plan: PathBuf,
}

pub(super) fn tied(args: &TiedArgs) -> Result<u8> {
    let error = tie::become_tied(args.parent, &args.words);
    let program = args.words.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
    Err(error).with_context(|| format!("cannot run {program}"))
}

pub(super) async fn origin(args: OriginArgs) -> Result<u8> {
    let plan = args.plan.as_deref().map(read).transpose()?.unwrap_or_default();
    origin::serve(plan).await?;
    Ok(exit::DONE)
}

pub(super) async fn generate(args: GenerateArgs) -> Result<u8> {
    generator::generate(read(&args.plan)?).await?;
    Ok(exit::DONE)
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is no plan", path.display()))
}
