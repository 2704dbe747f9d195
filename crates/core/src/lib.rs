//! The decisions of Longshore, and nothing else.
//!
//! Everything here is a function of its arguments: no file, no socket, no clock, no thread, no randomness.
//! The stages (crate `longshore-stages`) receive something from the outside world, ask this crate what to do,
//! do it, and tell this crate what came of it. A decision that needs a mock to be tested is in the wrong room.

pub mod breaker;
pub mod call;
pub mod checksum;
pub mod file_type;
pub mod format;
pub mod headers;
pub mod health;
pub mod hosts;
pub mod ids;
pub mod inventory;
pub mod letters;
pub mod outcome;
pub mod path;
pub mod policy;
pub mod reconcile;
pub mod replay;
pub mod retry;
pub mod row;
pub mod secret;
pub mod source;
pub mod time;
pub mod tracker;
