//! One turn at a time per unit, between processes too: two services started on one data directory by mistake must not
//! prepare the same attempt.

use std::{
    fs::{File, OpenOptions},
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, fcntl},
    libc,
};
use the0_core::ExecutorError;
use the0_model::UnitId;
use tokio::sync::OwnedMutexGuard;

use crate::locks::UnitLocks;

/// Between two looks at a lock that another process holds.
const LOOK: Duration = Duration::from_millis(20);
/// Longest wait for another process: a start may pull an image.
const WAIT_MOST: Duration = Duration::from_mins(15);

/// Gives out turns. All units share one lock file and each locks its own byte of it, so that nothing is left behind.
#[derive(Debug)]
pub(super) struct Turns {
    here: UnitLocks,
    file: PathBuf,
}

/// A unit's turn; ends when dropped, and when the process dies.
#[derive(Debug)]
pub(super) struct Turn {
    _between: File,
    _here: OwnedMutexGuard<()>,
}

impl Turns {
    /// Uses a lock file in the folder of all units.
    pub(super) fn new(units: &std::path::Path) -> Self {
        Self { here: UnitLocks::default(), file: units.join(".docker.lock") }
    }

    /// Waits for the unit's turn.
    pub(super) async fn take(&self, unit: &UnitId) -> Result<Turn, ExecutorError> {
        let here = self.here.lock(unit).await;
        let failed = |reason: String| ExecutorError::Failed { action: "lock the unit", reason };
        let file = self.open().map_err(|error| failed(format!("{}: {error}", self.file.display())))?;
        let since = Instant::now();
        while !try_lock(&file, byte_of(unit)).map_err(|error| failed(error.to_string()))? {
            if since.elapsed() > WAIT_MOST {
                let reason = "another process has been starting or stopping it for too long".to_owned();
                return Err(failed(reason));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(Turn { _between: file, _here: here })
    }

    /// Whether someone, here or in another process, has the unit's turn right now.
    pub(super) fn is_taken(&self, unit: &UnitId) -> bool {
        let Ok(file) = self.open() else { return false };
        let mut range = range(byte_of(unit));
        let asked = fcntl(&file, FcntlArg::F_OFD_GETLK(&mut range));
        asked.is_ok() && i32::from(range.l_type) != libc::F_UNLCK
    }

    fn open(&self) -> io::Result<File> {
        if let Some(folder) = self.file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        OpenOptions::new().create(true).truncate(false).write(true).open(&self.file)
    }
}

/// Two units with the same byte only wait for each other.
fn byte_of(unit: &UnitId) -> i64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in unit.as_str().bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    i64::try_from(hash >> 2).unwrap_or_default()
}

/// Locks are those of the open file, not of the process: they also hold between two executors in one process.
fn try_lock(file: &File, byte: i64) -> Result<bool, Errno> {
    match fcntl(file, FcntlArg::F_OFD_SETLK(&range(byte))) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(error) => Err(error),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the system's own constants, as wide as its fields")]
const fn range(byte: i64) -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: byte,
        l_len: 1,
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn two_processes_take_turns_and_two_units_do_not_wait() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (Turns::new(folder.path()), Turns::new(folder.path()));
        let (a, b) = (UnitId::new("bot/a").unwrap(), UnitId::new("bot/b").unwrap());
        let held = one.take(&a).await.unwrap();
        drop(two.take(&b).await.unwrap());
        assert!(two.is_taken(&a) && one.is_taken(&a) && !two.is_taken(&b));
        let waits = tokio::time::timeout(Duration::from_millis(100), two.take(&a)).await;
        assert!(waits.is_err(), "it was another's turn");
        drop(held);
        tokio::time::timeout(Duration::from_secs(5), two.take(&a)).await.unwrap().unwrap();
    }
}
