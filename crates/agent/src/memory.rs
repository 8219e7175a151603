//! What the kernel's own counters say of a unit's memory: was anything killed at the limit, and how much was used.
//!
//! Both versions of cgroups, both as a container sees its own (mounted at the root) and as a process on a host does
//! (the whole tree, with the path in `/proc/self/cgroup`).

use std::{
    fs,
    path::{Path, PathBuf},
};

use nix::sys::resource::{UsageWho, getrusage};

/// A cgroup whose limit is this much above the unit's is still the unit's: executors leave the agent some room.
const HEADROOM_BYTES: u64 = 64 * 1024 * 1024;

/// Reads the counters of the unit's own cgroup.
#[derive(Debug)]
pub(crate) struct MemoryWatch {
    own: Option<Files>,
    kills_at_start: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Files {
    events: PathBuf,
    limit: PathBuf,
    peak: PathBuf,
}

impl MemoryWatch {
    /// Finds the cgroup below `root` (`/sys/fs/cgroup`) and takes its counters as they are.
    ///
    /// A cgroup without the unit's limit is shared with others: what is counted there is not the unit's.
    pub(crate) fn find(root: &Path, memory_bytes: u64) -> Self {
        let membership = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let own = candidates(root, &membership).into_iter().find(|files| {
            files.events.exists() && number_in(&files.limit).is_some_and(|limit| is_own(limit, memory_bytes))
        });
        let mut watch = Self { own, kills_at_start: 0 };
        watch.kills_at_start = watch.kills_counted();
        watch
    }

    /// Whether there are counters to look at.
    pub(crate) const fn is_counted(&self) -> bool {
        self.own.is_some()
    }

    /// How many processes the kernel killed at the limit since the start.
    pub(crate) fn kills(&self) -> u64 {
        self.kills_counted().saturating_sub(self.kills_at_start)
    }

    /// Largest use in bytes: the cgroup's if there is one, else that of the largest process that has ended.
    pub(crate) fn peak_bytes(&self) -> Option<u64> {
        let counted = self.own.as_ref().and_then(|files| number_in(&files.peak));
        counted.or_else(|| {
            let kib = getrusage(UsageWho::RUSAGE_CHILDREN).ok()?.max_rss();
            u64::try_from(kib).ok().map(|kib| kib * 1024)
        })
    }

    fn kills_counted(&self) -> u64 {
        let text = self.own.as_ref().and_then(|files| fs::read_to_string(&files.events).ok());
        text.map_or(0, |text| kills_in(&text))
    }
}

/// Where the counters may be, most specific first.
fn candidates(root: &Path, membership: &str) -> Vec<Files> {
    let mut found = Vec::new();
    for line in membership.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let below = path.trim_start_matches('/');
        if controllers.is_empty() {
            found.extend([root.join(below), root.to_path_buf()].map(|dir| files_v2(&dir)));
        } else if controllers.split(',').any(|controller| controller == "memory") {
            let root = root.join("memory");
            found.extend([root.join(below), root].map(|dir| files_v1(&dir)));
        }
    }
    found
}

fn files_v2(dir: &Path) -> Files {
    Files { events: dir.join("memory.events"), limit: dir.join("memory.max"), peak: dir.join("memory.peak") }
}

fn files_v1(dir: &Path) -> Files {
    Files {
        events: dir.join("memory.oom_control"),
        limit: dir.join("memory.limit_in_bytes"),
        peak: dir.join("memory.max_usage_in_bytes"),
    }
}

/// Both versions write `oom_kill N` on a line of its own.
fn kills_in(text: &str) -> u64 {
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

fn is_own(limit: u64, memory_bytes: u64) -> bool {
    limit <= memory_bytes.saturating_add(HEADROOM_BYTES)
}

fn number_in(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_the_counter_are_read() {
        assert_eq!(kills_in("low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n"), 2);
        assert_eq!(kills_in("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n"), 7);
        assert_eq!(kills_in(""), 0);
    }

    #[test]
    fn the_counters_are_sought_where_hosts_and_containers_have_them() {
        let shown = |membership| {
            let found = candidates(Path::new("/cg"), membership);
            found.iter().map(|files| files.events.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(shown("0::/user.slice/x\n"), ["/cg/user.slice/x/memory.events", "/cg/memory.events"]);
        assert_eq!(
            shown("9:name=systemd:/\n4:cpu,memory:/docker/ab\n"),
            ["/cg/memory/docker/ab/memory.oom_control", "/cg/memory/memory.oom_control"]
        );
        assert!(shown("garbage\n").is_empty());
    }

    #[test]
    fn a_cgroup_without_the_units_limit_is_not_its_own() {
        let limit = 64 << 20;
        assert!(is_own(limit, limit) && is_own(limit + HEADROOM_BYTES, limit));
        assert!(!is_own(9_223_372_036_854_771_712, limit), "what version 1 writes for no limit");
    }

    #[test]
    fn without_counters_the_largest_child_is_what_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let watch = MemoryWatch::find(dir.path(), 1 << 20);
        assert!(!watch.is_counted());
        assert_eq!(watch.kills(), 0);
        assert!(watch.peak_bytes().is_some());
    }
}
