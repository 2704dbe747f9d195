//! The one door for time and chance, so that a simulated run repeats from its seed.

use std::time::{SystemTime, UNIX_EPOCH};

use longshore_core::time::Micros;

/// Wall-clock time and randomness. Waiting goes through `tokio::time`, which a simulation pauses.
pub trait Clock: Send + Sync {
    /// Microseconds since 1970-01-01T00:00:00Z.
    fn now(&self) -> Micros;
    /// 64 random bits.
    fn random(&self) -> u64;
}

/// The machine's clock and its random numbers.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Micros {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }

    fn random(&self) -> u64 {
        uuid::Uuid::new_v4().as_u64_pair().1
    }
}
