//! Control groups: one per unit, in both versions of the interface.
//!
//! They lie outside the service's own group, so that whoever stops the service and all that is in its group (systemd
//! does) leaves the units alone.

mod settings;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use the0_core::executor::UnitStats;
use the0_model::Limits;

use self::settings::{CONTROLLERS, number_after, settings_v1, settings_v2};

/// Where the kernel shows them.
pub(super) const ROOT: &str = "/sys/fs/cgroup";
/// Our folder.
const OURS: &str = "the0";

/// The groups this service may make.
#[derive(Debug, Clone, Default)]
pub(super) struct Cgroups {
    kind: Kind,
    /// Hash of the data directory: another service's units are not ours to sweep.
    prefix: String,
}

#[derive(Debug, Clone, Default)]
enum Kind {
    #[default]
    Absent,
    /// Our folder per controller.
    V1(BTreeMap<&'static str, PathBuf>),
    /// Our folder and the controllers it has.
    V2(PathBuf, BTreeSet<&'static str>),
}

impl Cgroups {
    /// Finds out by trying which groups can be made.
    pub(super) fn discover(root: &Path, membership: &str, prefix: String) -> Self {
        let kind = if root.join("cgroup.controllers").exists() {
            discover_v2(root, membership)
        } else {
            let found: BTreeMap<_, _> = CONTROLLERS
                .into_iter()
                .filter(|controller| root.join(controller).join("cgroup.procs").exists())
                .map(|controller| (controller, root.join(controller).join(OURS)))
                .filter(|(_, ours)| is_made(ours))
                .collect();
            if found.is_empty() { Kind::Absent } else { Kind::V1(found) }
        };
        Self { kind, prefix }
    }

    /// 1 or 2, if there are any.
    pub(super) fn version(&self) -> Option<u8> {
        match self.kind {
            Kind::Absent => None,
            Kind::V1(_) => Some(1),
            Kind::V2(..) => Some(2),
        }
    }

    /// Whether `memory`, `pids` or `cpu` can be limited.
    pub(super) fn controls(&self, controller: &str) -> bool {
        match &self.kind {
            Kind::Absent => false,
            Kind::V1(found) => found.contains_key(controller),
            Kind::V2(_, found) => found.contains(controller),
        }
    }

    /// The group of one unit, there or not.
    pub(super) fn group(&self, slug: &str) -> Group {
        let name = format!("{}-{slug}", self.prefix);
        let dirs = match &self.kind {
            Kind::Absent => BTreeMap::new(),
            Kind::V1(found) => {
                found.iter().map(|(controller, ours)| (*controller, ours.join(&name))).collect()
            }
            Kind::V2(ours, _) => [("", ours.join(&name))].into(),
        };
        Group { dirs, unified: matches!(self.kind, Kind::V2(..)) }
    }

    /// Removes the empty groups of units that are not in `known`.
    pub(super) fn sweep(&self, known: &BTreeSet<String>) {
        let folders: Vec<&PathBuf> = match &self.kind {
            Kind::Absent => vec![],
            Kind::V1(found) => found.values().collect(),
            Kind::V2(ours, _) => vec![ours],
        };
        for entry in folders.into_iter().flat_map(fs::read_dir).flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let slug = name.strip_prefix(&self.prefix).and_then(|rest| rest.strip_prefix('-'));
            if slug.is_some_and(|slug| !known.contains(slug)) {
                // One that still holds processes stays: the kernel refuses.
                let _ = fs::remove_dir(entry.path());
            }
        }
    }
}

/// The control group of one unit: a folder, or in version 1 a folder per controller.
#[derive(Debug, Clone)]
pub(super) struct Group {
    dirs: BTreeMap<&'static str, PathBuf>,
    unified: bool,
}

impl Group {
    /// Makes it, with these limits.
    pub(super) fn create(&self, limits: &Limits) -> io::Result<()> {
        for dir in self.dirs.values() {
            match fs::create_dir(dir) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => other?,
            }
        }
        let settings = if self.unified { settings_v2(limits) } else { settings_v1(limits) };
        for setting in settings {
            let Some(dir) = self.dirs.get(if self.unified { "" } else { setting.controller }) else {
                continue;
            };
            match put(&dir.join(setting.file), &setting.value) {
                // A controller that is not there was reported when the machine was looked at.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(_) if setting.optional => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Files for a process of one thread to write `0` to, to join it.
    pub(super) fn doors(&self) -> Vec<PathBuf> {
        // A thread that moves itself needs no lock of the kernel's that all wait for; a process does, and stands still for
        // some 15 ms. Version 2 lets no single thread in.
        let door = if self.unified { "cgroup.procs" } else { "tasks" };
        self.dirs.values().map(|dir| dir.join(door)).collect()
    }

    /// What the unit may see of it, and where: its own memory counters.
    pub(super) fn counters(&self) -> Vec<(PathBuf, String)> {
        let seen = |(controller, dir): (&&str, &PathBuf)| match *controller {
            "" => Some((dir.clone(), ROOT.to_owned())),
            "memory" => Some((dir.clone(), format!("{ROOT}/memory"))),
            _ => None,
        };
        self.dirs.iter().filter_map(seen).collect()
    }

    /// How many of its processes the kernel killed at the memory limit.
    pub(super) fn kills_at_limit(&self) -> u64 {
        let file = if self.unified { "memory.events" } else { "memory.oom_control" };
        self.read("memory", file).and_then(|text| number_after(&text, "oom_kill")).unwrap_or(0)
    }

    /// What it uses, or `None` where nothing is counted.
    pub(super) fn stats(&self) -> Option<UnitStats> {
        let number = |controller, file| self.read(controller, file)?.trim().parse::<u64>().ok();
        let (usage, idle) = if self.unified {
            ("memory.current", "inactive_file")
        } else {
            ("memory.usage_in_bytes", "total_inactive_file")
        };
        let cached = self.read("memory", "memory.stat").and_then(|text| number_after(&text, idle));
        let memory_bytes = number("memory", usage)?.saturating_sub(cached.unwrap_or(0));
        let cpu_micros = if self.unified {
            self.read("cpu", "cpu.stat").and_then(|text| number_after(&text, "usage_usec"))
        } else {
            number("cpuacct", "cpuacct.usage").map(|nanos| nanos / 1000)
        };
        // Bubblewrap itself is one of them.
        let pids = number("pids", "pids.current").map_or(0, |pids| pids.saturating_sub(1));
        Some(UnitStats { memory_bytes, cpu_micros: cpu_micros.unwrap_or(0), pids })
    }

    /// Kills whatever is still in it and removes it; waits while the last processes vanish.
    pub(super) async fn remove(&self) -> io::Result<()> {
        let mut wait = Duration::from_millis(1);
        loop {
            let left: Vec<_> = self.dirs.values().filter_map(|dir| remove(dir).err()).collect();
            let Some(error) = left.into_iter().next() else { return Ok(()) };
            if wait > Duration::from_secs(1) {
                return Err(error);
            }
            self.kill();
            // The kernel tells nobody when a group has become empty in version 1.
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
    }

    fn kill(&self) {
        for door in self.doors() {
            for pid in
                fs::read_to_string(door).unwrap_or_default().lines().filter_map(|line| line.parse().ok())
            {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL);
            }
        }
    }

    fn read(&self, controller: &str, file: &str) -> Option<String> {
        let dir = self.dirs.get(if self.unified { "" } else { controller })?;
        fs::read_to_string(dir.join(file)).ok()
    }
}

/// Writes a file that is there. Making one is never meant here, and the kernel has its own words for that.
fn put(path: &Path, value: &str) -> io::Result<()> {
    use io::Write;
    fs::OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
}

fn remove(dir: &Path) -> io::Result<()> {
    crate::units::absent_is_fine(fs::remove_dir(dir))
}

fn is_made(dir: &Path) -> bool {
    match fs::create_dir(dir) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            nix::unistd::access(&dir.join("cgroup.procs"), nix::unistd::AccessFlags::W_OK).is_ok()
        }
        Err(_) => false,
    }
}

/// The top of the tree, or the nearest group above our own that was given to us.
fn discover_v2(root: &Path, membership: &str) -> Kind {
    let own = membership.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let above = Path::new(own).ancestors().skip(1).filter(|path| !path.as_os_str().is_empty());
    let candidates = std::iter::once(root.to_path_buf()).chain(above.map(|path| root.join(path)));
    for candidate in candidates {
        let ours = candidate.join(OURS);
        if !is_made(&ours) {
            continue;
        }
        for folder in [&candidate, &ours] {
            for controller in ["memory", "pids", "cpu"] {
                // One at a time: a refused one must not take the others with it.
                let _ = put(&folder.join("cgroup.subtree_control"), &format!("+{controller}"));
            }
        }
        let has = fs::read_to_string(ours.join("cgroup.subtree_control")).unwrap_or_default();
        let found: BTreeSet<_> = CONTROLLERS
            .into_iter()
            .filter(|controller| has.split_ascii_whitespace().any(|word| word == *controller))
            .collect();
        if !found.is_empty() {
            return Kind::V2(ours, found);
        }
        let _ = fs::remove_dir(&ours);
    }
    Kind::Absent
}

#[cfg(test)]
mod tests;
