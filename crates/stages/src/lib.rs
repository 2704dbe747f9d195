//! The stages of Longshore and the ports through which they reach the outside world.
//!
//! A stage is a loop: receive → ask `longshore-core` → act through a port → tell `longshore-core`.
//! The ports are traits; their adapters live in `longshore-log`, `longshore-origin` and `longshore-lake`.

pub mod ports;
