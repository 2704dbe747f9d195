//! The command line of Longshore: what the user types, the wiring of the stages, and what is shown.

pub mod cli;
pub mod config;
pub mod exit;
pub mod place;
pub mod settings;

pub mod bench;
mod chain;
pub mod check_url;
pub mod chosen;
mod client;
pub mod demo;
pub mod dlq;
pub mod fetch;
mod free_text;
mod input;
mod inventory;
mod lag;
pub mod map;
mod open_log;
mod originals;
mod pipeline;
mod reconcile;
mod recorded;
mod render;
pub mod run;
pub mod send;
mod service;
pub mod sight;
mod slow;
mod status;
pub mod topics;
pub mod trace;
pub mod voice;
mod walk;

use anyhow::Result;
use cli::{Cli, Command};

/// The environment variable that says how much is told on standard error.
pub const TRACING_VARIABLE: &str = "LONGSHORE_TRACING";
/// The environment variable that says in which form: the twin of `run --log-format`.
pub const TRACING_FORMAT_VARIABLE: &str = "LONGSHORE_TRACING_FORMAT";

/// Runs a command; returns the exit code.
pub async fn run(cli: Cli) -> Result<u8> {
    match cli.command {
        Command::Fetch(args) => fetch::run(*args).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Run(args) => run::run(args).await,
        Command::Send(args) => send::run(args).await,
        Command::Status(args) => status::run(args).await,
        Command::Lag(args) => lag::run(args).await,
        Command::Inventory(args) => inventory::run(args).await,
        Command::Reconcile(args) => reconcile::run(args).await,
        Command::CheckUrl(args) => check_url::run(args),
        Command::Map(args) => map::run(args),
        Command::Topics(args) => topics::run(args).await,
        Command::Trace(args) => trace::run(args).await,
        Command::Dlq(args) => dlq::run(args.command).await,
        Command::Bench(args) => bench::run(*args).await,
        Command::Config(args) => config::command::run(args),
        Command::Completions(args) => config::command::completions(&args),
    }
}
