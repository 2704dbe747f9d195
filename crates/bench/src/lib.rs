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
//! The harness: [`suite`] says what there is, [`mod@run`] does it, each run in a [`world`] of its own with [`process`]es of the
//! real binary, which [`sampler`] and [`look`] watch.
//! What follows from the figures: [`verdict`] judges them, [`analysis`] says what limits, [`mod@report`] writes the files,
//! [`mod@compare`] holds two reports beside each other.

pub mod actor;
pub mod analysis;
pub mod broker;
pub mod compare;
pub mod content;
pub mod error;
pub mod failure;
pub mod figures;
pub mod follow;
pub mod generator;
pub mod ledger;
pub mod look;
pub mod model;
pub mod origin;
pub mod proc;
pub mod process;
pub mod reader;
pub mod report;
pub mod run;
pub mod sampler;
pub mod suite;
pub mod tie;
pub mod times;
pub mod verdict;
pub mod world;

mod lifeline;

pub use error::Error;
