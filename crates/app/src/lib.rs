//! The command line of Longshore: what the user types, the wiring of the stages, and what is shown.

pub mod cli;
pub mod exit;
pub mod place;
pub mod settings;

mod check_url;
pub mod demo;
mod dlq;
mod fetch;
mod input;
mod inventory;
mod pipeline;
mod reconcile;
mod render;
mod status;
mod walk;

use anyhow::Result;
use cli::{Cli, Command};

/// Runs a command; returns the exit code.
pub async fn run(cli: Cli) -> Result<u8> {
    match cli.command {
        Command::Fetch(args) => fetch::run(args).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Status(args) => status::run(args).await,
        Command::Inventory(args) => inventory::run(args).await,
        Command::Reconcile(args) => reconcile::run(args).await,
        Command::CheckUrl(args) => check_url::run(args),
        Command::Dlq(args) => dlq::run(args.command).await,
    }
}
