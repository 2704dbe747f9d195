//! A process that ends with the one that started it, whatever ends that one.
//!
//! *Owns*: the tie. *Does not own*: what runs at its end.
//!
//! ```text
//! harness ─▶ longshore bench tied --parent PID -- PROGRAM ARGS… ─▶ the kernel is told ─▶ exec: the same process is PROGRAM
//! ```
//! The kernel kills the process when its parent dies (`prctl(PR_SET_PDEATHSIG)`, prctl(2)); it keeps to that across exec. A
//! parent that died before it was told is noticed by the parent's id. The kernel means the *thread* that started the process,
//! so it must be one that lives as long as the harness.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Becomes the program, tied to this parent. Returns only when that fails.
///
/// # Errors
/// When the parent is no more, or the program cannot be run.
pub fn become_tied(parent: u32, words: &[OsString]) -> io::Error {
    if let Err(error) = tie(parent) {
        return error;
    }
    match words.split_first() {
        Some((program, args)) => Command::new(program).args(args).exec(),
        None => io::Error::other("no program is named"),
    }
}

#[cfg(target_os = "linux")]
fn tie(parent: u32) -> io::Result<()> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let now = getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
    if now == Some(parent) { Ok(()) } else { Err(io::Error::other("the process that started this one is no more")) }
}

/// Elsewhere a process ends with its parent as long as that one can end it.
#[cfg(not(target_os = "linux"))]
fn tie(_parent: u32) -> io::Result<()> {
    Ok(())
}

/// A command that runs `program` with `args`, tied to this process by way of `binary`, which knows `bench tied`.
pub fn command(binary: &Path, program: &Path, args: &[OsString]) -> Command {
    let mut command = Command::new(binary);
    command.args(["bench", "tied", "--parent", &std::process::id().to_string(), "--"]).arg(program).args(args);
    // Ctrl-C is for the harness, which ends the others in order.
    command.process_group(0);
    command
}
