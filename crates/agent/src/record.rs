//! Writing what the agent has to say: `status.json` while the bot runs, `exit.json` when it has ended.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustix::fs::{FallocateFlags, OFlags};
use serde::Serialize;
use the0_model::{
    Exit,
    agent::{AgentStatus, file},
};

use crate::AgentPaths;

/// Room kept for the end of the attempt, so that a bot that fills the disk does not keep it from being recorded.
const RESERVED_BYTES: u64 = 32 * 1024;

/// Makes sure that `exit.json` can be written later: a bot whose end cannot be recorded is not started.
pub(crate) fn reserve(paths: &AgentPaths) -> io::Result<()> {
    let file = File::create(beside(&paths.exit_json()))?;
    // Where the file system knows no reservation, the rest of the precautions must do.
    let _ = rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, RESERVED_BYTES);
    Ok(())
}

/// Writes `status.json`. Not synced: it is worth nothing after a crash.
pub(crate) fn status(paths: &AgentPaths, status: &AgentStatus) -> io::Result<()> {
    replace(&paths.status_json(), status, false)
}

/// Writes `exit.json`, whatever it takes: on a full disk the older output goes first, then the details.
pub(crate) fn exit(paths: &AgentPaths, exit: &Exit) -> io::Result<()> {
    let path = paths.exit_json();
    if replace(&path, exit, true).is_ok() {
        return Ok(());
    }
    let _ = fs::remove_file(paths.attempt.join(file::OUTPUT_OLD));
    if replace(&path, exit, true).is_ok() {
        return Ok(());
    }
    let short = Exit { result: None, last_lines: vec![], ..exit.clone() };
    replace(&path, &short, true)
}

/// A reader sees the whole file or none.
fn replace(path: &Path, value: &impl Serialize, sync: bool) -> io::Result<()> {
    let beside = beside(path);
    // Not waited for: where the bot is the agent's user, it can have put a pipe there that nobody reads.
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    let mut file = options.open(&beside)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    if sync {
        file.sync_all()?;
    }
    fs::rename(&beside, path)?;
    if sync && let Some(dir) = path.parent() {
        File::open(dir)?.sync_all()?;
    }
    Ok(())
}

fn beside(path: &Path) -> PathBuf {
    path.with_extension("json.tmp")
}
