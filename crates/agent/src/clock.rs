//! The agent's only clocks.

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// Time since boot in milliseconds, time asleep included (`CLOCK_BOOTTIME`): the clock of leases.
pub fn boottime_ms() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let (seconds, nanos) = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
    seconds.unwrap_or_default() * 1000 + nanos.unwrap_or_default() / 1_000_000
}

/// The time of day, for records people read.
#[expect(
    clippy::disallowed_methods,
    reason = "the agent does not link the engine; this is its one wall clock"
)]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}
