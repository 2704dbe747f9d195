//! The lake: where files and rows end up.
//!
//! `store` holds the files (object stores and local disks), `table` the exact inventory (Delta tables), and `durable`
//! is the local disk under both: what it acknowledged survives a loss of power.

pub mod durable;
pub mod store;
pub mod table;
