//! The stages of Longshore and the ports through which they reach the outside world.
//!
//! A stage is a loop: receive → ask `longshore-core` → act through a port → tell `longshore-core`.
//! The ports are traits; their adapters live in `longshore-log`, `longshore-origin` and `longshore-lake`.
//!
//! ```text
//! events ──▶ ingest ──▶ pending ──▶ download ──▶ results ──▶ record ──▶ tables
//!               │        ▲   ▲         │ │                    ▲
//!               │        │   └─ retry ◀┘ └───▶ dlq ───────────┤
//!               └────────│──────────────────▶  ▲              │
//!                        └── replay ───────────┘    events ───┘
//! ```

pub mod download;
pub mod enrich;
pub mod ingest;
pub mod letters;
pub mod message;
pub mod ports;
pub mod progress;
pub mod record;
pub mod refresh;
pub mod retry;
pub mod topics;

mod patience;
#[cfg(test)]
mod shelf;
mod told;

pub use patience::StageError;
