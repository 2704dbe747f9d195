//! The benchmark suite: what Longshore must be able to do, measured for real, and the reports about it.
//!
//! *Owns*: the list of benchmarks, the processes that a run starts (workers, generator, origin, broker), what is
//! measured, verdicts and reports. *Does not own*: the stages, which run in processes of the real binary.
//!
//! ```text
//! suite ─▶ run: world, workers, generator, origin, reader ─▶ Report (JSON) ─▶ judge ─▶ Markdown, HTML, compare
//! ```
//! The actors of a run: [`origin`] serves the files of [`content`], [`generator`] sends the messages of a plan,
//! [`reader`] follows the tables from outside, and [`ledger`] compares what was asked for with what is there.

pub mod content;
pub mod error;
pub mod generator;
pub mod ledger;
pub mod model;
pub mod origin;
pub mod reader;
pub mod times;

mod lifeline;

pub use error::Error;
