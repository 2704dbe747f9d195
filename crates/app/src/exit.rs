//! Exit codes, the same for every command.

/// Done.
pub const DONE: u8 = 0;
/// Failed; the reason is on standard error.
pub const FAILED: u8 = 1;
/// Wrong usage of the command line.
pub const USAGE: u8 = 2;
/// Finished, but some attachments failed, or a check found something.
pub const FOUND: u8 = 3;
