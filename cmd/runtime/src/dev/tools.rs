//! The agent that runs inside every unit: this very binary and the language wrappers, kept by digest, so that an upgrade of
//! the service does not change the file a running bot was started from.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use the0_agent::wrappers;
use the0_bot_runner::SERVICE;
use the0_core::{Executor, Phase};

use super::data_dir::DataDir;
use crate::exit::Failure;

/// The running program, even if its file was replaced meanwhile.
const MYSELF: &str = "/proc/self/exe";

/// Installs the agent where it is not yet, and returns its folder.
pub(crate) fn install(data: &DataDir) -> Result<PathBuf, Failure> {
    let named = |error: io::Error| {
        Failure::failed(format!("cannot install the agent in {}: {error}", data.tools().display()))
    };
    put(&data.tools()).map_err(named)
}

fn put(tools: &Path) -> io::Result<PathBuf> {
    let folder = tools.join(digest()?);
    if folder.is_dir() {
        return Ok(folder);
    }
    fs::create_dir_all(tools)?;
    let scratch = tempfile::Builder::new().prefix(".tmp-").tempdir_in(tools)?;
    let agent = scratch.path().join("runtime");
    io::copy(&mut fs::File::open(MYSELF)?, &mut fs::File::create(&agent)?)?;
    seal(&agent, 0o555)?;
    for wrapper in wrappers::ALL {
        let path = scratch.path().join(wrapper.file);
        fs::write(&path, wrapper.text)?;
        seal(&path, 0o444)?;
    }
    // Users of bots must get in.
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755))?;
    fs::set_permissions(tools, fs::Permissions::from_mode(0o755))?;
    match fs::rename(scratch.path(), &folder) {
        Ok(()) => {
            let _moved = scratch.keep();
        }
        // Only this process works here (the lock), so what is there is whole.
        Err(_) if folder.is_dir() => {}
        Err(error) => return Err(error),
    }
    Ok(folder)
}

/// Removes agents that no unit runs any more. If it is not certain which are in use, none is removed.
pub(crate) async fn prune(data: &DataDir, current: &Path, executor: &dyn Executor) {
    let Ok(units) = executor.list(SERVICE).await else { return };
    let mut used = BTreeSet::new();
    for unit in units.iter().filter(|unit| !matches!(unit.phase, Phase::Exited(_))) {
        // The file itself, not its name: inside a unit the name means something else.
        let Some(found) = unit.pid.and_then(|pid| fs::metadata(format!("/proc/{pid}/exe")).ok()) else {
            return;
        };
        used.insert((found.dev(), found.ino()));
    }
    for entry in fs::read_dir(data.tools()).into_iter().flatten().flatten() {
        let path = entry.path();
        let in_use =
            fs::metadata(path.join("runtime")).is_ok_and(|found| used.contains(&(found.dev(), found.ino())));
        let removed = if path == current || in_use { Ok(()) } else { fs::remove_dir_all(&path) };
        if let Err(error) = removed {
            tracing::warn!(path = %path.display(), %error, "an agent that no bot uses was not removed");
        }
    }
}

fn digest() -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    io::copy(&mut fs::File::open(MYSELF)?, &mut hasher)?;
    for wrapper in wrappers::ALL {
        hasher.update(wrapper.text.as_bytes());
    }
    Ok(hasher.finalize().to_hex()[..32].to_owned())
}

fn seal(path: &Path, mode: u32) -> io::Result<()> {
    fs::File::open(path)?.sync_all()?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}
