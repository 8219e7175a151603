//! Everything a unit needs before it can be made, the same for every executor: its code, its state, an attempt's folders
//! and what the agent is told.

use std::{
    fmt, fs, io,
    os::unix::fs::{PermissionsExt, lchown},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use the0_artifacts::{CodeCache, require_file};
use the0_core::{ExecutorError, Owner};
use the0_model::{AgentSpec, Cause, CodeRef, Exit, LogLine, UnitSpec, agent::path};

pub use crate::launch::AgentOptions;
use crate::{
    launch::{self, Parts},
    units::{AttemptDir, UnitDir, UnitsDir, absent_is_fine, make_dir, write_atomically},
};

/// Attempts whose output is kept unless another number is set.
pub const KEPT_ATTEMPTS: usize = 5;
/// Longest wait for a bundle; a large one over a slow line takes minutes.
const FETCH_WITHIN: Duration = Duration::from_mins(10);

/// User and group of the bot's process, as the machine sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunAs {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl RunAs {
    /// Nobody, where the service is root and may choose; the service's own user otherwise.
    pub fn for_service() -> Self {
        if nix::unistd::geteuid().is_root() {
            Self { uid: 65534, gid: 65534 }
        } else {
            Self { uid: nix::unistd::geteuid().as_raw(), gid: nix::unistd::getegid().as_raw() }
        }
    }
}

/// Where unpacked bundles come from.
#[async_trait]
pub trait CodeSource: Send + Sync + fmt::Debug + 'static {
    /// The folder of the unpacked bundle, fetched now if it is not there. Never written to again.
    async fn fetch(&self, code: &CodeRef) -> Result<PathBuf, ExecutorError>;
}

#[async_trait]
impl CodeSource for CodeCache {
    async fn fetch(&self, code: &CodeRef) -> Result<PathBuf, ExecutorError> {
        match CodeCache::fetch(self, code).await {
            Ok(cached) => Ok(cached.dir),
            Err(error) => {
                let causes = std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
                let reason = causes.fold(error.to_string(), |said, cause| format!("{said}: {cause}"));
                Err(if error.is_permanent() {
                    ExecutorError::Refused { reason }
                } else {
                    ExecutorError::Failed { action: "fetch code", reason }
                })
            }
        }
    }
}

/// Makes what a unit needs.
#[derive(Debug, Clone)]
pub struct Provision {
    units: UnitsDir,
    code: Arc<dyn CodeSource>,
    tools: PathBuf,
    run_as: RunAs,
    kept_attempts: usize,
}

/// A unit that is ready to be made.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The unpacked bundle.
    pub code: PathBuf,
    /// The agent and the wrappers.
    pub tools: PathBuf,
    /// The unit's folder.
    pub unit: UnitDir,
    /// Number of this attempt, from 1.
    pub attempt: u64,
    /// This attempt's folder.
    pub dir: AttemptDir,
    /// Whether an earlier attempt ran.
    pub resumed: bool,
    /// Whether the unit's folder was made for this attempt.
    made_unit: bool,
}

impl Prepared {
    /// Where its parts are on this machine.
    pub fn parts(&self) -> Parts {
        Parts {
            tools: self.tools.clone(),
            code: self.code.clone(),
            state: self.unit.state(),
            input: self.dir.input(),
            attempt: self.dir.attempt(),
            out: self.dir.out(),
        }
    }
}

impl Provision {
    /// Lays units out in `units`, with code from `code` and the agent in the folder `tools`, for bots run as `run_as`.
    pub fn new(units: UnitsDir, code: Arc<dyn CodeSource>, tools: PathBuf, run_as: RunAs) -> Self {
        Self { units, code, tools, run_as, kept_attempts: KEPT_ATTEMPTS }
    }

    /// Keeps the output of this many attempts, at least 2 (the current one and the one before it).
    #[must_use]
    pub fn keeping(mut self, attempts: usize) -> Self {
        self.kept_attempts = attempts.max(2);
        self
    }

    /// The folders of all units.
    pub fn units(&self) -> &UnitsDir {
        &self.units
    }

    /// User of the bot's process.
    pub fn run_as(&self) -> RunAs {
        self.run_as
    }

    /// Folder of the agent.
    pub fn tools(&self) -> &Path {
        &self.tools
    }

    /// Prepares the next attempt. Leaves nothing behind when it fails. The caller holds the unit's turn.
    pub async fn prepare(
        &self,
        spec: &UnitSpec,
        owner: &Owner,
        agent: AgentOptions,
    ) -> Result<Prepared, ExecutorError> {
        let code =
            tokio::time::timeout(FETCH_WITHIN, self.code.fetch(&spec.code)).await.map_err(|_| {
                ExecutorError::Failed {
                    action: "fetch code",
                    reason: format!("no answer in {FETCH_WITHIN:?}"),
                }
            })??;
        check_entrypoint(&code, spec)?;
        let unit = self.units.unit(&spec.id);
        let latest = unit.latest_attempt().map_err(|error| failed("look for attempts", &unit, &error))?;
        let attempt = latest.unwrap_or(0) + 1;
        let prepared = Prepared {
            code,
            tools: self.tools.clone(),
            made_unit: !unit.path().is_dir(),
            dir: unit.attempt(attempt),
            unit,
            attempt,
            resumed: latest.is_some(),
        };
        let told = launch::agent_spec(spec, owner, agent, attempt, prepared.resumed).ok_or_else(|| {
            ExecutorError::Refused { reason: format!("unit {} names no bot; use bot/<id>", spec.id) }
        })?;
        let config = serde_json::to_vec(spec.config.expose()).unwrap_or_default();
        let (this, made) = (self.clone(), prepared.clone());
        let laid_out = tokio::task::spawn_blocking(move || this.lay_out(&made, &told, &config)).await;
        match laid_out.map_err(io::Error::other).flatten() {
            Ok(()) => Ok(prepared),
            Err(error) => {
                self.discard(&prepared).await;
                Err(failed("prepare the unit's folders", &prepared.unit, &error))
            }
        }
    }

    /// Takes back what [`prepare`](Self::prepare) made, after a start that failed: the attempt never was.
    pub async fn discard(&self, prepared: &Prepared) {
        let prepared = prepared.clone();
        let removed = tokio::task::spawn_blocking(move || {
            prepared.dir.remove()?;
            if prepared.made_unit { prepared.unit.purge() } else { Ok(()) }
        });
        if let Err(error) = removed.await.map_err(io::Error::other).flatten() {
            tracing::warn!(%error, "could not remove the folders of a failed start");
        }
    }

    fn lay_out(&self, prepared: &Prepared, told: &AgentSpec, config: &[u8]) -> io::Result<()> {
        let (bot, dir) = (self.run_as, &prepared.dir);
        // The agent has no right to pass over permissions, so where it is another user than the bot it reads by group.
        let agent = match told.run_as {
            Some(_) => RunAs { uid: nix::unistd::geteuid().as_raw(), gid: nix::unistd::getegid().as_raw() },
            None => bot,
        };
        let shared = RunAs { uid: bot.uid, gid: agent.gid };
        make_dir(prepared.unit.path(), 0o700)?;
        prune(&prepared.unit, self.kept_attempts.saturating_sub(1))?;
        owned_dir(&prepared.unit.state(), 0o700, bot)?;
        let sdk_state = prepared.unit.state().join(".the0-state");
        match fs::create_dir(&sdk_state) {
            Ok(()) => lchown(&sdk_state, Some(bot.uid), Some(bot.gid))?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        make_dir(dir.path(), 0o700)?;
        owned_dir(&dir.attempt(), 0o700, agent)?;
        owned_dir(&dir.out(), 0o750, shared)?;
        make_dir(&dir.input(), 0o700)?;
        let input = dir.input();
        for (name, bytes) in [(path::UNIT_JSON, &serde_json::to_vec(told)?[..]), (path::CONFIG_JSON, config)]
        {
            let file = input.join(Path::new(name).file_name().unwrap_or_default());
            write_atomically(&file, bytes, 0o400)?;
            lchown(&file, Some(shared.uid), Some(shared.gid))?;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o440))?;
        }
        owned_dir(&input, 0o750, shared)
    }
}

/// A record of an end the agent could not write itself.
pub(crate) fn unwitnessed_exit(
    cause: Cause,
    message: &str,
    at: jiff::Timestamp,
    ran_ms: u64,
    last: &[LogLine],
) -> Exit {
    use the0_model::exit::{LAST_LINE_BYTES_MAX, LAST_LINES_MAX};
    let lines = last.iter().skip(last.len().saturating_sub(LAST_LINES_MAX));
    Exit {
        cause,
        code: None,
        signal: Some(9),
        message: Some(message.to_owned()),
        result: None,
        at,
        ran_ms,
        peak_memory_bytes: None,
        last_lines: lines
            .map(|line| {
                String::from_utf8_lossy(&line.text[..line.text.len().min(LAST_LINE_BYTES_MAX)]).into_owned()
            })
            .collect(),
    }
}

fn owned_dir(path: &Path, mode: u32, owner: RunAs) -> io::Result<()> {
    make_dir(path, mode)?;
    lchown(path, Some(owner.uid), Some(owner.gid))
}

/// Leaves the newest `kept` attempts, and what the agent was told (keys) of none of them.
fn prune(unit: &UnitDir, kept: usize) -> io::Result<()> {
    let attempts = unit.attempts()?;
    let surplus = attempts.len().saturating_sub(kept);
    for (place, number) in attempts.into_iter().enumerate() {
        let old = unit.attempt(number);
        absent_is_fine(if place < surplus { old.remove() } else { old.forget_input() })?;
    }
    Ok(())
}

fn check_entrypoint(code: &Path, spec: &UnitSpec) -> Result<(), ExecutorError> {
    let file = spec.runtime.entrypoint_file(&spec.entrypoint);
    require_file(code, file).map_err(|missing| ExecutorError::Refused {
        reason: format!("{missing}; add the file to the bundle or set another entrypoint"),
    })?;
    let mode = fs::metadata(code.join(file)).map_or(0, |meta| meta.permissions().mode());
    if spec.runtime.is_native() && mode & 0o111 == 0 {
        return Err(ExecutorError::Refused {
            reason: format!("entrypoint {file:?} is not executable; run `chmod +x {file}` before packing it"),
        });
    }
    Ok(())
}

fn failed(action: &'static str, unit: &UnitDir, error: &io::Error) -> ExecutorError {
    ExecutorError::Failed { action, reason: format!("{}: {error}", unit.path().display()) }
}

#[cfg(test)]
mod tests;
