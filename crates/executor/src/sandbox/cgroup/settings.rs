//! Pure: limits as the kernel wants them written, and counters as it writes them.

use the0_model::Limits;

/// Controllers we use. `cpuacct` only counts, and only in version 1.
pub(super) const CONTROLLERS: [&str; 4] = ["cpu", "cpuacct", "memory", "pids"];
/// Length of the periods in which CPU time is shared out, in microseconds.
const PERIOD_MICROS: u64 = 100_000;

/// One file to write.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) controller: &'static str,
    pub(super) file: &'static str,
    pub(super) value: String,
    /// Whether a kernel may refuse it: no swap, no accounting of it.
    pub(super) optional: bool,
}

pub(super) fn settings_v1(limits: &Limits) -> Vec<Setting> {
    vec![
        setting("memory", "memory.limit_in_bytes", limits.memory_bytes),
        // Memory and swap together; after the one above, which it may not be below.
        optional("memory", "memory.memsw.limit_in_bytes", limits.memory_bytes),
        setting("pids", "pids.max", pids(limits)),
        setting("cpu", "cpu.cfs_period_us", PERIOD_MICROS),
        setting("cpu", "cpu.cfs_quota_us", quota_micros(limits)),
    ]
}

pub(super) fn settings_v2(limits: &Limits) -> Vec<Setting> {
    vec![
        setting("memory", "memory.max", limits.memory_bytes),
        optional("memory", "memory.swap.max", 0),
        setting("pids", "pids.max", pids(limits)),
        setting("cpu", "cpu.max", format!("{} {PERIOD_MICROS}", quota_micros(limits))),
    ]
}

/// The number after a word at the beginning of a line.
pub(super) fn number_after(text: &str, word: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let mut parts = line.split_ascii_whitespace();
        if parts.next() == Some(word) { parts.next()?.parse().ok() } else { None }
    })
}

/// Bubblewrap itself is one more.
fn pids(limits: &Limits) -> u64 {
    u64::from(limits.pids) + 1
}

fn quota_micros(limits: &Limits) -> u64 {
    // The kernel refuses less than a millisecond.
    (u64::from(limits.cpu_millis) * PERIOD_MICROS / 1000).max(1000)
}

fn setting(controller: &'static str, file: &'static str, value: impl std::fmt::Display) -> Setting {
    Setting { controller, file, value: value.to_string(), optional: false }
}

fn optional(controller: &'static str, file: &'static str, value: u64) -> Setting {
    Setting { optional: true, ..setting(controller, file, value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_written_as_each_version_wants_them() {
        let limits = Limits { memory_bytes: 64 << 20, cpu_millis: 250, pids: 32, ..Limits::default() };
        let shown = |settings: Vec<Setting>| -> Vec<String> {
            settings.into_iter().map(|setting| format!("{}={}", setting.file, setting.value)).collect()
        };
        assert_eq!(
            shown(settings_v1(&limits)),
            [
                "memory.limit_in_bytes=67108864",
                "memory.memsw.limit_in_bytes=67108864",
                "pids.max=33",
                "cpu.cfs_period_us=100000",
                "cpu.cfs_quota_us=25000",
            ]
        );
        assert_eq!(
            shown(settings_v2(&limits)),
            ["memory.max=67108864", "memory.swap.max=0", "pids.max=33", "cpu.max=25000 100000"]
        );
    }

    #[test]
    fn counters_are_found_by_their_whole_name() {
        let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(number_after(text, "oom_kill"), Some(3));
        assert_eq!(number_after(text, "oom"), None);
    }
}
