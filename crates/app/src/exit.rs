//! Exit codes, the same for every command.

/// Done.
pub const DONE: u8 = 0;
/// Failed; the reason is on standard error.
pub const FAILED: u8 = 1;
/// Wrong usage of the command line.
pub const USAGE: u8 = 2;

/// Wrong configuration (EX_CONFIG of sysexits.h).
pub const CONFIG: u8 = 78;

/// Marks an error as one of usage: put it around what went wrong with a flag or an argument.
#[derive(Debug, Clone, Copy)]
pub struct Usage;

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("wrong usage")
    }
}

/// Marks an error as one of configuration: put it around what loading one said.
#[derive(Debug, Clone, Copy)]
pub struct Configuration;

impl std::fmt::Display for Configuration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("wrong configuration")
    }
}

/// The exit code of a command that ended with this error.
pub fn code_of(error: &anyhow::Error) -> u8 {
    if error.downcast_ref::<Usage>().is_some() {
        USAGE
    } else if error.downcast_ref::<Configuration>().is_some() {
        CONFIG
    } else {
        FAILED
    }
}
/// Finished, but some attachments failed, or a check found something.
pub const FOUND: u8 = 3;
