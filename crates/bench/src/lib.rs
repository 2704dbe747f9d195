//! The benchmark suite: what Longshore must be able to do, measured for real, and the reports about it.
//!
//! *Owns*: the list of benchmarks, the processes that a run starts (workers, generator, origin, broker), what is
//! measured, verdicts and reports. *Does not own*: the stages, which run in processes of the real binary.
//!
//! ```text
//! suite ─▶ run: world, workers, generator, origin, reader ─▶ Report (JSON) ─▶ judge ─▶ Markdown, HTML, compare
//! ```

pub mod analysis;
pub mod compare;
pub mod figures;
pub mod model;
pub mod report;
pub mod verdict;
