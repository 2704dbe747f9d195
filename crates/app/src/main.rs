//! The `longshore` command.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use longshore::{cli::Cli, exit, run};

/// Of the C libraries too. With many threads it keeps half as much memory as the system's allocator; how, `.cargo/config.toml` says.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What is left to threads that wait for others once everything is done.
const LAST_GRACE: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let voice = cli.voice();
    voice.start();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            voice.fail(&format!("the runtime does not start: {error}"));
            return ExitCode::from(exit::FAILED);
        }
    };
    let ended = runtime.block_on(run(cli));
    // Threads that wait for an answer from outside hold nobody up: what had to be durable is.
    runtime.shutdown_timeout(LAST_GRACE);
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            voice.fail(&format!("{error:#}"));
            ExitCode::from(exit::code_of(&error))
        }
    }
}
