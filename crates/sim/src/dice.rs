//! Chance and time.

use std::sync::Mutex;

use longshore_core::time::Micros;
use longshore_stages::ports::Clock;
use tokio::time::Instant;

use crate::locked;

/// 2026-01-01T00:00:00Z.
const BEGINNING: Micros = 1_767_225_600_000_000;

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Debug)]
pub struct Dice(Mutex<u64>);

impl Dice {
    /// Dice that roll the same from the same seed.
    pub fn new(seed: u64) -> Self {
        Dice(Mutex::new(seed))
    }

    /// 64 random bits.
    pub fn bits(&self) -> u64 {
        let mut state = locked(&self.0);
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `sides`.
    pub fn roll(&self, sides: u64) -> u64 {
        self.bits() % sides.max(1)
    }
}

/// The seeds to try: that of `SIM_SEED`, else `count` of them.
pub fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("SIM_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => (0..count).collect(),
    }
}

/// Wall-clock time that follows tokio's.
#[derive(Debug)]
pub struct SimClock {
    began: Instant,
    dice: Dice,
}

impl SimClock {
    /// A clock that begins now, at the beginning of 2026.
    pub fn new(seed: u64) -> Self {
        SimClock { began: Instant::now(), dice: Dice::new(seed) }
    }
}

impl Clock for SimClock {
    fn now(&self) -> Micros {
        BEGINNING + Micros::try_from(self.began.elapsed().as_micros()).expect("a short world")
    }

    fn random(&self) -> u64 {
        self.dice.bits()
    }
}
