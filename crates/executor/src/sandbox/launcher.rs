//! The step between the service and bubblewrap: a process of its own, because what must happen after a fork and before
//! bubblewrap (joining control groups, limits, open files that are passed on) is not safe to do in the service.
//!
//! It keeps its process number through both `exec`s. It writes that number down before it goes on, so that a service
//! that was killed right after starting it leaves no unit that nobody knows.

use std::{
    convert::Infallible,
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::{
        fd::{AsFd, AsRawFd},
        unix::{ffi::OsStringExt, fs::OpenOptionsExt, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::{
    fs::{MemfdFlags, memfd_create},
    io::{FdFlags, fcntl_setfd},
    process::{Resource, Rlimit, setrlimit, setsid},
};
use serde::{Deserialize, Serialize};

use super::{process::ProcessId, seccomp};
use crate::units::{read_json, write_atomically};

/// In place of the order's path: it comes on standard input. Nothing comes if the service ended before.
pub(super) const TOLD: &str = "-";
/// Name of the order, until it is taken.
pub(super) const ORDER: &str = "order.json";
/// Name of the order once a launcher acts on it.
pub(super) const TAKEN: &str = "order.taken.json";
/// Where the launcher writes which process it is; bubblewrap is the same process.
pub(super) const LAUNCHER: &str = "launcher.json";
/// Where bubblewrap writes which process its child, the agent, is.
pub(super) const INFO: &str = "info.json";
/// Where complaints go.
pub(super) const ERRORS: &str = "errors.txt";

/// What to launch. Holds no secrets: it can be read by whoever may read the unit's folder.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    /// Bubblewrap.
    pub(super) bwrap: PathBuf,
    /// Its arguments, without those that name open files.
    pub(super) arguments: Vec<String>,
    /// What it starts.
    pub(super) command: Vec<String>,
    /// Files to write `0` to, to join the unit's control groups.
    pub(super) doors: Vec<PathBuf>,
    /// Most bytes of data per process, where no control group limits memory.
    pub(super) data_bytes: Option<u64>,
}

/// Why a launch failed.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The order is not there any more, or not readable: whoever gave it has taken it back.
    #[error("there is no order at {path}")]
    NoOrder {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A step failed.
    #[error("could not {step}")]
    Step {
        /// What was tried.
        step: &'static str,
        /// What happened.
        #[source]
        source: io::Error,
    },
}

/// Launches what the order at `path` says, or at the path that is read from standard input if it is `-`; on success this
/// process becomes bubblewrap. For `runtime sandbox-launch`.
///
/// # Errors
/// [`LaunchError`]; it is written to a file beside the order as well, since nobody reads this process's output.
pub fn launch(path: &Path) -> Result<Infallible, LaunchError> {
    let path = &if path == Path::new(TOLD) { told()? } else { path.to_path_buf() };
    let folder = path.parent().unwrap_or(Path::new("/"));
    let outcome = follow(path, folder);
    if let Err(error) = &outcome {
        let source = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
        let _ = OpenOptions::new()
            .append(true)
            .create(true)
            .open(folder.join(ERRORS))
            .and_then(|mut file| writeln!(file, "{error}{source}"));
    }
    outcome
}

fn told() -> Result<PathBuf, LaunchError> {
    let mut path = Vec::new();
    io::stdin().lock().read_to_end(&mut path).map_err(|error| step("read where the order is", error))?;
    let path = PathBuf::from(OsString::from_vec(path));
    if path.is_absolute() { Ok(path) } else { Err(LaunchError::NoOrder { path }) }
}

fn follow(path: &Path, folder: &Path) -> Result<Infallible, LaunchError> {
    let order: Order = read_json(path).ok_or_else(|| LaunchError::NoOrder { path: path.into() })?;
    setsid().map_err(|error| step("leave the service's session", error.into()))?;
    for door in &order.doors {
        fs::write(door, "0").map_err(|error| step("join the control group", error))?;
    }
    limit(Resource::Core, Some(0))?;
    limit(Resource::Data, order.data_bytes)?;
    let me = ProcessId::me().ok_or_else(|| step("read /proc", io::ErrorKind::NotFound.into()))?;
    let named = serde_json::to_vec(&me).map_err(|error| step("say who it is", error.into()))?;
    write_atomically(&folder.join(LAUNCHER), &named, 0o600).map_err(|error| step("say who it is", error))?;
    // From here on the unit is known. A service that found the order still lying here takes it back by renaming it too.
    fs::rename(path, folder.join(TAKEN)).map_err(|_| LaunchError::NoOrder { path: path.into() })?;
    let filters = filters().map_err(|error| step("load the system call filter", error))?;
    let info = private(&folder.join(INFO)).map_err(|error| step("open the info file", error))?;
    passed_on(&info).map_err(|error| step("pass on the info file", error))?;
    let errors = private(&folder.join(ERRORS)).map_err(|error| step("open the error file", error))?;
    let mut bwrap = Command::new(&order.bwrap);
    bwrap.arg("--info-fd").arg(info.as_raw_fd().to_string());
    for filter in &filters {
        bwrap.arg("--add-seccomp-fd").arg(filter.as_raw_fd().to_string());
    }
    bwrap.args(&order.arguments).arg("--").args(&order.command).env_clear();
    let error = bwrap.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).exec();
    Err(step("execute bubblewrap", error))
}

fn limit(resource: Resource, most: Option<u64>) -> Result<(), LaunchError> {
    if most.is_none() {
        return Ok(());
    }
    setrlimit(resource, Rlimit { current: most, maximum: most })
        .map_err(|error| step("set a limit", error.into()))
}

fn filters() -> io::Result<Vec<File>> {
    let mut files = Vec::new();
    for program in seccomp::programs().map_err(io::Error::other)? {
        let mut file = File::from(memfd_create("filter", MemfdFlags::empty())?);
        file.write_all(&program)?;
        io::Seek::rewind(&mut file)?;
        files.push(file);
    }
    Ok(files)
}

fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

fn passed_on(file: impl AsFd) -> io::Result<()> {
    Ok(fcntl_setfd(file, FdFlags::empty())?)
}

fn step(step: &'static str, source: io::Error) -> LaunchError {
    LaunchError::Step { step, source }
}
