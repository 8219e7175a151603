//! Pure: how long to wait after a failure.

use std::time::Duration;

/// Waiting times that double with every failure in a row and start over after a healthy spell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Wait after the first failure.
    pub first: Duration,
    /// Longest wait.
    pub most: Duration,
    /// An attempt that ran at least this long was healthy: its failure counts as the first.
    pub healthy: Duration,
}

impl Backoff {
    /// For units that crash or do not start: 1 s doubling to 5 min, starting over after 10 min of health.
    pub const UNITS: Self = Self {
        first: Duration::from_secs(1),
        most: Duration::from_mins(5),
        healthy: Duration::from_mins(10),
    };

    /// For what the engine itself tries again, such as a store that does not answer: 1 s doubling to 30 s.
    pub const RETRIES: Self = Self {
        first: Duration::from_secs(1),
        most: Duration::from_secs(30),
        healthy: Duration::from_mins(1),
    };

    /// The wait after so many failures in a row; none after none.
    pub fn delay(&self, failures: u32) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
        let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.most)
    }

    /// After one more failure: the number of failures in a row, and the wait. `failures` counts those before it,
    /// `ran_for` is how long the failed attempt lasted.
    pub fn next(&self, failures: u32, ran_for: Duration) -> (u32, Duration) {
        let failures = if ran_for >= self.healthy { 1 } else { failures.saturating_add(1) };
        (failures, self.delay(failures))
    }

    /// Shortens a wait by up to a quarter, the same for the same `seed`, so that many units that failed together do not
    /// come back together.
    pub fn spread(wait: Duration, seed: u64) -> Duration {
        // Fibonacci hashing: neighbouring seeds end far apart. The upper half of the product is the well-mixed one.
        let mixed = u32::try_from(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32).unwrap_or(u32::MAX);
        let quarter = wait / 4;
        wait.saturating_sub(quarter.mul_f64(f64::from(mixed) / f64::from(u32::MAX)))
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::UNITS
    }
}

// Deliberate breakages; each makes a test below fail:
// no `.min(self.most)` · `saturating_mul(failures)` in place of the doubling · `>` in place of `>=` at `healthy` ·
// `failures` kept in place of 1 after health · `saturating_add` in `spread`.
#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_doubles_from_one_second_to_five_minutes() {
        let waits: Vec<u64> = (0..12).map(|failures| Backoff::UNITS.delay(failures).as_secs()).collect();
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    }

    #[test]
    fn ten_minutes_of_health_start_it_over() {
        let nearly = Duration::from_mins(10) - Duration::from_millis(1);
        assert_eq!(Backoff::UNITS.next(7, nearly), (8, Duration::from_secs(128)));
        assert_eq!(Backoff::UNITS.next(7, Duration::from_mins(10)), (1, Duration::from_secs(1)));
    }

    proptest! {
        #[test]
        fn it_is_monotonic_and_capped(failures: u32, ran_for_s in 0_u64..2_000) {
            let backoff = Backoff::UNITS;
            prop_assert!(backoff.delay(failures) <= backoff.delay(failures.saturating_add(1)));
            prop_assert!(backoff.delay(failures) <= backoff.most);
            let (counted, wait) = backoff.next(failures, Duration::from_secs(ran_for_s));
            prop_assert!(counted >= 1 && wait >= backoff.first && wait <= backoff.most);
        }

        #[test]
        fn spreading_only_shortens_and_never_by_more_than_a_quarter(failures in 1_u32..20, seed: u64) {
            let wait = Backoff::UNITS.delay(failures);
            let spread = Backoff::spread(wait, seed);
            prop_assert!(spread <= wait && spread >= wait / 4 * 3, "{spread:?} of {wait:?}");
            prop_assert_eq!(spread, Backoff::spread(wait, seed));
        }
    }
}
