//! Pure: the lease a worker holds for its units, and what it means at a given moment.
//!
//! This is the dead man's switch: a worker that dies or freezes stops renewing the file, and each agent ends its bot at
//! the deadline, before anyone else may start it again.

use serde::{Deserialize, Serialize};
use the0_model::Generation;

/// How often an agent looks at the file at least, in milliseconds.
pub const LOOK_MS: u64 = 200;

/// What the worker writes on every renewal, replacing the file atomically.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseFile {
    /// Until when units may run, in milliseconds of `CLOCK_BOOTTIME`.
    pub deadline_boottime_ms: u64,
    /// Time between SIGTERM at the deadline and SIGKILL, in milliseconds.
    pub stop_grace_ms: u64,
    /// The grant behind the lease; shown to people when it ends.
    pub generation: Generation,
}

/// What a lease allows at a given moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The unit may run.
    Held,
    /// The unit must be ending.
    Ended,
    /// The unit must be gone.
    Overdue,
}

impl LeaseFile {
    /// What the lease allows at `now_ms` of `CLOCK_BOOTTIME`.
    pub const fn standing(&self, now_ms: u64) -> Standing {
        if now_ms < self.deadline_boottime_ms {
            Standing::Held
        } else if now_ms < self.kill_at_ms() {
            Standing::Ended
        } else {
            Standing::Overdue
        }
    }

    /// The moment at which nothing of the unit may be left, in milliseconds of `CLOCK_BOOTTIME`.
    pub const fn kill_at_ms(&self) -> u64 {
        self.deadline_boottime_ms.saturating_add(self.stop_grace_ms)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_form_of_the_file_is_fixed() {
        let lease = LeaseFile {
            deadline_boottime_ms: 1_000,
            stop_grace_ms: 500,
            generation: Generation { term: 2, step: 7 },
        };
        let text = r#"{"deadline_boottime_ms":1000,"stop_grace_ms":500,"generation":{"term":2,"step":7}}"#;
        assert_eq!(serde_json::to_string(&lease).unwrap(), text);
        assert_eq!(serde_json::from_str::<LeaseFile>(text).unwrap(), lease);
    }

    proptest! {
        #[test]
        fn a_unit_may_run_before_the_deadline_and_at_no_other_time(deadline: u64, grace: u64, now: u64) {
            let lease = LeaseFile { deadline_boottime_ms: deadline, stop_grace_ms: grace, generation: Generation::default() };
            prop_assert_eq!(lease.standing(now) == Standing::Held, now < deadline);
            if lease.standing(now) == Standing::Overdue {
                prop_assert!(now >= deadline && (now - deadline >= grace || deadline.checked_add(grace).is_none()));
            }
        }
    }
}
