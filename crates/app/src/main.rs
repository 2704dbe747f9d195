//! The `longshore` command.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use longshore::{TRACING_VARIABLE, cli::Cli, exit, run};
use tracing_subscriber::EnvFilter;

/// With many threads it keeps half as much memory as the system's allocator; how, `.cargo/config.toml` says.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_env(TRACING_VARIABLE).unwrap_or_else(|_| {
        EnvFilter::new("error,longshore=warn,longshore_stages=warn,longshore_log=warn,longshore_lake=warn,longshore_origin=warn")
    });
    let colour = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colour).with_writer(std::io::stderr).init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the runtime does not start: {error}");
            return ExitCode::from(exit::FAILED);
        }
    };
    match runtime.block_on(run(cli)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(exit::code_of(&error))
        }
    }
}
