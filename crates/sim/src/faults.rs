//! What goes wrong, and when.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::{Dice, locked};

/// How a call goes wrong. Its caller sees the same error either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing was done.
    Before,
    /// All was done, and the acknowledgement is lost.
    After,
}

/// The faults of a world. A call is named by who is asked and what for: `log append urls.downloads.pending`,
/// `log next|commit|release urls.download`, `store begin|write|publish`, `table attachments append|known|maintain`.
#[derive(Debug)]
pub struct Faults {
    dice: Dice,
    /// Calls out of a thousand that go wrong by chance.
    per_mille: AtomicU64,
    planned: Mutex<Vec<(String, Fault)>>,
    struck: Mutex<HashMap<String, u64>>,
}

impl Faults {
    /// No faults yet.
    pub fn new(seed: u64) -> Self {
        Faults { dice: Dice::new(seed), per_mille: AtomicU64::new(0), planned: Mutex::default(), struck: Mutex::default() }
    }

    /// Makes the next call of this name go wrong.
    pub fn once(&self, call: &str, fault: Fault) {
        locked(&self.planned).push((call.to_owned(), fault));
    }

    /// Takes back one planned fault of this name; false if there is none.
    pub fn cancel_one(&self, call: &str) -> bool {
        self.planned(call).is_some()
    }

    /// Makes so many calls out of a thousand go wrong from now on.
    pub fn often(&self, per_mille: u64) {
        self.per_mille.store(per_mille, Relaxed);
    }

    /// How often calls of this name went wrong.
    pub fn struck(&self, call: &str) -> u64 {
        locked(&self.struck).get(call).copied().unwrap_or(0)
    }

    /// Whether this call goes wrong.
    pub(crate) fn strike(&self, call: &str) -> Option<Fault> {
        let fault = self.planned(call).or_else(|| self.by_chance())?;
        *locked(&self.struck).entry(call.to_owned()).or_default() += 1;
        Some(fault)
    }

    fn planned(&self, call: &str) -> Option<Fault> {
        let mut planned = locked(&self.planned);
        let at = planned.iter().position(|(name, _)| name == call)?;
        Some(planned.remove(at).1)
    }

    fn by_chance(&self) -> Option<Fault> {
        let per_mille = self.per_mille.load(Relaxed);
        if per_mille == 0 || self.dice.roll(1_000) >= per_mille {
            return None;
        }
        Some(if self.dice.roll(2) == 0 { Fault::Before } else { Fault::After })
    }
}
