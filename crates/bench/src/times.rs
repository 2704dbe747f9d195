//! Many times in little memory: an HDR histogram, and what the report shows of it.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::model::Distribution;

/// What is told apart: three significant digits.
const DIGITS: u8 = 3;
/// The longest time that is told apart, in microseconds: a day. What is longer counts as this.
const LONGEST_US: u64 = 86_400 * 1_000_000;
/// Microseconds in a second.
const SECOND: f64 = 1_000_000.0;

/// The shares of the values whose times are told: every twentieth, then nearer and nearer to the highest.
const SHARES: [f64; 31] = [
    0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.975, 0.99,
    0.995, 0.9975, 0.999, 0.9995, 0.9999, 0.99995, 0.99999, 0.999999, 1.0,
];

/// Times that were measured. Its memory (about 300 KB) does not follow their number.
#[derive(Debug, Clone)]
pub struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        Times(Histogram::new_with_bounds(1, LONGEST_US, DIGITS).expect("the bounds above are those of a histogram"))
    }
}

impl Times {
    /// Adds a time in microseconds. One below zero, by clocks that disagree, counts as none at all.
    pub fn add_us(&mut self, us: i64) {
        self.0.saturating_record(u64::try_from(us).unwrap_or(0));
    }

    /// Adds a time.
    pub fn add(&mut self, time: Duration) {
        self.add_us(i64::try_from(time.as_micros()).unwrap_or(i64::MAX));
    }

    /// How many were added.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The seconds that this share (0 to 1) of the times is at most; nothing where there are none.
    pub fn at(&self, share: f64) -> Option<f64> {
        (self.count() > 0).then(|| self.seconds(share))
    }

    /// The highest, in seconds; nothing where there are none.
    pub fn max_s(&self) -> Option<f64> {
        (self.count() > 0).then(|| self.0.max() as f64 / SECOND)
    }

    /// What the report holds of them; nothing where there are none.
    pub fn distribution(&self) -> Option<Distribution> {
        let quantiles = || SHARES.iter().map(|share| (*share, self.seconds(*share))).collect();
        (self.count() > 0).then(|| Distribution {
            count: self.count(),
            mean_s: self.0.mean() / SECOND,
            max_s: self.0.max() as f64 / SECOND,
            quantiles: quantiles(),
        })
    }

    fn seconds(&self, share: f64) -> f64 {
        // A bucket's upper end may lie above the highest value.
        self.0.value_at_quantile(share).min(self.0.max()) as f64 / SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_values_to_three_digits() {
        let mut times = Times::default();
        (1..=10_000).for_each(|n| times.add(Duration::from_micros(n * 100)));
        let told = times.distribution().expect("values");
        assert_eq!(told.count, 10_000);
        for (share, expected) in [(0.5, 0.5), (0.75, 0.75), (0.9, 0.9), (0.95, 0.95), (0.99, 0.99), (0.999, 0.999), (1.0, 1.0)] {
            let found = told.at(share).expect("the share is told");
            assert!((found - expected).abs() <= expected * 0.001, "{share}: {found}");
        }
        assert!((told.at(0.9999).expect("told") - 0.9999).abs() < 0.001 && (told.max_s - 1.0).abs() < 0.001);
        assert!((told.mean_s - 0.5).abs() < 0.001, "{}", told.mean_s);
        assert!(told.quantiles.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
        assert_eq!(times.at(0.5), told.at(0.5));
    }

    #[test]
    fn what_cannot_be_is_the_nearest_that_can() {
        let mut times = Times::default();
        assert_eq!((times.distribution(), times.at(0.5), times.max_s()), (None, None, None));
        times.add_us(-5);
        assert_eq!(times.max_s(), Some(0.0));
        times.add_us(i64::MAX);
        assert!(times.max_s().is_some_and(|max| (max - 86_400.0).abs() < 100.0), "{:?}", times.max_s());
        assert_eq!(times.count(), 2);
    }
}
