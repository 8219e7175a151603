//! The folders of units: `units/<slug>/{state, attempts/<n>/{in, attempt, out}}`.
//!
//! What a unit can write is not trusted: files are opened without following links and without waiting on pipes, and at
//! most [`JSON_MAX`] bytes of one are read.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use nix::fcntl::OFlag;
use serde::de::DeserializeOwned;
use the0_model::{
    Exit, UnitId,
    agent::{AgentStatus, file},
};

use crate::remove::remove_tree;

/// Most bytes read of a JSON file a unit may have written.
pub const JSON_MAX: u64 = 4 * 1024 * 1024;

/// Where the sandbox keeps what it knows of a unit, in the unit's folder.
pub(crate) const SANDBOX_ENTRY: &str = "sandbox.json";

/// The folder of all units.
#[derive(Debug, Clone)]
pub struct UnitsDir(PathBuf);

impl UnitsDir {
    /// Takes `root` as the folder. It need not be there yet.
    pub fn new(root: PathBuf) -> Self {
        Self(root)
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// One unit's folder, there or not.
    pub fn unit(&self, unit: &UnitId) -> UnitDir {
        UnitDir(self.0.join(unit.slug()))
    }

    /// Every folder there is, ordered by name. Hidden names are the executors' own and are left out.
    pub fn list(&self) -> io::Result<Vec<UnitDir>> {
        let mut found = names(&self.0)?;
        found.retain(|name| !name.starts_with('.'));
        found.sort();
        Ok(found.into_iter().map(|name| UnitDir(self.0.join(name))).collect())
    }
}

/// One unit's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitDir(PathBuf);

impl UnitDir {
    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// What the unit keeps across attempts.
    pub fn state(&self) -> PathBuf {
        self.0.join("state")
    }

    /// The folder of attempts.
    pub fn attempts_path(&self) -> PathBuf {
        self.0.join("attempts")
    }

    /// Numbers of the attempts there are, ascending.
    pub fn attempts(&self) -> io::Result<Vec<u64>> {
        let mut found: Vec<u64> =
            names(&self.attempts_path())?.iter().filter_map(|name| name.parse().ok()).collect();
        found.sort_unstable();
        Ok(found)
    }

    /// Number of the newest attempt.
    pub fn latest_attempt(&self) -> io::Result<Option<u64>> {
        Ok(self.attempts()?.pop())
    }

    /// One attempt's folder, there or not.
    pub fn attempt(&self, number: u64) -> AttemptDir {
        AttemptDir(self.attempts_path().join(format!("{number:06}")))
    }

    /// Whether its newest attempt has been neither stopped nor collected: it may run.
    pub fn may_run(&self) -> io::Result<bool> {
        Ok(self.latest_attempt()?.is_some_and(|newest| self.attempt(newest).input().is_dir()))
    }

    /// Whether it is a sandbox's, and no container's.
    pub fn is_sandboxed(&self) -> bool {
        self.0.join(SANDBOX_ENTRY).exists()
    }

    /// Removes the folder with all that is in it. Does nothing if it is absent.
    pub fn purge(&self) -> io::Result<()> {
        remove_tree(&self.0)
    }
}

/// The folder of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptDir(PathBuf);

impl AttemptDir {
    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// What the agent is told; holds keys.
    pub fn input(&self) -> PathBuf {
        self.0.join("in")
    }

    /// What the agent writes.
    pub fn attempt(&self) -> PathBuf {
        self.0.join("attempt")
    }

    /// What the bot writes: its result.
    pub fn out(&self) -> PathBuf {
        self.0.join("out")
    }

    /// How the attempt ended, if it has and said so.
    pub fn exit(&self) -> Option<Exit> {
        read_json(&self.attempt().join(file::EXIT))
    }

    /// What the agent says while the bot runs, once it runs.
    pub fn status(&self) -> Option<AgentStatus> {
        read_json(&self.attempt().join(file::STATUS))
    }

    /// Records how the attempt ended, for an agent that could not. What the agent wrote itself stays.
    pub fn record_exit(&self, exit: &Exit) -> io::Result<()> {
        match self.exit() {
            Some(_) => Ok(()),
            None => write_atomically(&self.attempt().join(file::EXIT), &serde_json::to_vec(exit)?, 0o644),
        }
    }

    /// Removes what the agent was told. Does nothing if it is absent.
    pub fn forget_input(&self) -> io::Result<()> {
        remove_tree(&self.input())
    }

    /// Removes the folder with all that is in it. Does nothing if it is absent.
    pub fn remove(&self) -> io::Result<()> {
        remove_tree(&self.0)
    }
}

/// Makes a folder with exactly this mode, and its parents for the service alone. Does nothing if it is there.
pub(crate) fn make_dir(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Opens a plain file that a unit may have replaced by a link or a pipe: those are errors, not traps.
pub(crate) fn open_plain(path: &Path) -> io::Result<File> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if opened.metadata()?.is_file() {
        Ok(opened)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "not a plain file"))
    }
}

/// Reads a small JSON file. `None` if it is absent, too large, or not what was expected.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let mut bytes = Vec::new();
    open_plain(path).ok()?.take(JSON_MAX + 1).read_to_end(&mut bytes).ok()?;
    if bytes.len() as u64 > JSON_MAX {
        return None;
    }
    serde_json::from_slice(&bytes).ok()
}

/// Writes a file so that a reader sees all of it or the one before.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    use std::io::Write;
    let draft = path.with_extension("new");
    absent_is_fine(fs::remove_file(&draft))?;
    let mut written = OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft)?;
    written.write_all(bytes)?;
    fs::rename(&draft, path)
}

/// Takes "there is no such file" for success.
pub(crate) fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir()
            && let Ok(name) = entry.file_name().into_string()
        {
            found.push(name);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit() -> (tempfile::TempDir, UnitDir) {
        let root = tempfile::tempdir().unwrap();
        let unit = UnitsDir::new(root.path().join("units")).unit(&UnitId::new("bot/b1").unwrap());
        (root, unit)
    }

    #[test]
    fn attempts_are_counted_by_number_not_by_text() {
        let (_root, unit) = unit();
        assert_eq!(unit.latest_attempt().unwrap(), None);
        for number in [9, 10, 1_000_000] {
            make_dir(unit.attempt(number).path(), 0o700).unwrap();
        }
        fs::create_dir(unit.attempts_path().join("lost+found")).unwrap();
        assert_eq!(unit.attempts().unwrap(), [9, 10, 1_000_000]);
        assert!(unit.attempt(9).path().ends_with("bot-b1/attempts/000009"));
        unit.purge().unwrap();
        unit.purge().unwrap();
        assert_eq!(unit.latest_attempt().unwrap(), None);
    }

    #[test]
    fn hidden_folders_are_no_units() {
        let root = tempfile::tempdir().unwrap();
        for name in [".etc", "bot-b", "bot-a"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        fs::write(root.path().join("bot-file"), "").unwrap();
        let units = UnitsDir::new(root.path().into()).list().unwrap();
        let names: Vec<_> =
            units.iter().map(|unit| unit.path().file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["bot-a", "bot-b"]);
    }

    #[test]
    fn what_a_bot_has_closed_is_removed_too() {
        use std::os::unix::fs::PermissionsExt;
        let (root, unit) = unit();
        make_dir(&unit.state().join("closed/deeper"), 0o000).unwrap();
        fs::set_permissions(unit.state().join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
        std::os::unix::fs::symlink(root.path(), unit.state().join("link")).unwrap();
        unit.purge().unwrap();
        assert!(!unit.path().exists() && root.path().exists());
    }

    #[test]
    fn links_and_pipes_in_place_of_a_file_are_not_read() {
        let (root, unit) = unit();
        let attempt = unit.attempt(1);
        make_dir(&attempt.attempt(), 0o700).unwrap();
        let exit = attempt.attempt().join(file::EXIT);
        let real = root.path().join("real.json");
        fs::write(&real, r#"{"cause":"completed","code":0,"signal":null,"message":null,"result":null,"at":"2026-01-01T00:00:00Z","ran_ms":1,"peak_memory_bytes":null,"last_lines":[]}"#).unwrap();
        std::os::unix::fs::symlink(&real, &exit).unwrap();
        assert_eq!(attempt.exit(), None, "a link is not followed");
        fs::remove_file(&exit).unwrap();
        nix::unistd::mkfifo(&exit, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(attempt.exit(), None, "a pipe is not waited for");
        fs::remove_file(&exit).unwrap();
        fs::copy(&real, &exit).unwrap();
        assert!(attempt.exit().is_some());
    }
}
