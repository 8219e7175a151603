//! Runs units with bubblewrap, for machines without Docker.
//!
//! ```text
//! start ─▶ provision ─▶ entry (starting) ─▶ launcher process ─exec─▶ bubblewrap ─clone─▶ agent (process 1 of the unit) ─▶ bot
//!                                           joins control groups       mounts            entry (agent's process id)
//! ```
//!
//! Nothing a unit needs to go on lives in the service: it may end, and the next one finds the entries.

mod argv;
mod capabilities;
mod cgroup;
mod etc;
mod interpreters;
mod launcher;
mod observe;
mod probe;
mod process;
mod recover;
mod registry;
mod seccomp;
mod start;
mod stop;

use std::{
    ffi::OsString,
    fmt, fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use futures::{StreamExt, stream::BoxStream};
use the0_core::{
    Clock, Executor, ExecutorError, Owner, Tasks, UnitStatus,
    executor::{Description, LogQuery, LogRecord, Started, UnitStats},
};
use the0_model::{Exit, Network, UnitId, UnitSpec};
use tokio::sync::watch;

use self::{argv::SystemView, capabilities::Machine, cgroup::Cgroups, etc::Etc, interpreters::Interpreters};
pub use self::{
    launcher::{LaunchError, launch},
    probe::SandboxError,
    seccomp::SeccompError,
};
use crate::{journal, locks::UnitLocks, provision::Provision};

/// How units are run in sandboxes.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// Makes what units need. The agent in its tools must offer `sandbox-launch` as well as `execute`.
    pub provision: Provision,
    /// Bubblewrap.
    pub bwrap: PathBuf,
    /// `PATH` of the service, to find interpreters on.
    pub search_path: OsString,
    /// Hash of the data directory, in hex; its first 8 digits tell installations on one machine apart.
    pub data_hash: String,
    /// Whether units must obey a lease file.
    pub leased: bool,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Owns the tasks that wait for units to end.
    pub tasks: Tasks,
}

/// Runs units in sandboxes. Cheap to clone.
#[derive(Clone)]
pub struct SandboxExecutor(Arc<Inner>);

struct Inner {
    config: SandboxConfig,
    root: bool,
    view: SystemView,
    etc: Etc,
    interpreters: Interpreters,
    cgroups: Cgroups,
    description: Description,
    locks: UnitLocks,
    /// Its number grows with every ring.
    bell: watch::Sender<u64>,
}

impl fmt::Debug for SandboxExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SandboxExecutor")
            .field("units", self.0.config.provision.units())
            .finish_non_exhaustive()
    }
}

impl SandboxExecutor {
    /// Looks at the machine, takes over the units that run, and clears away what a crash left.
    ///
    /// # Errors
    /// If units cannot be run in sandboxes here; the text says what would help.
    pub async fn new(config: SandboxConfig) -> Result<Self, SandboxError> {
        let root = nix::unistd::geteuid().is_root();
        let units = config.provision.units().path().to_path_buf();
        for path in [&units, config.provision.tools()] {
            if path.to_str().is_none() {
                return Err(SandboxError::Folder {
                    path: path.into(),
                    reason: "its name is not UTF-8".into(),
                });
            }
        }
        let view = probe::view();
        let etc = make_etc(&units, &view, &config)
            .map_err(|error| SandboxError::Folder { path: units.clone(), reason: error.to_string() })?;
        seccomp::programs()?;
        let (version, interpreters) =
            tokio::join!(probe::bubblewrap(&config.bwrap, root), interpreters::find(&config.search_path));
        let membership = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let prefix = config.data_hash.chars().take(8).collect();
        let cgroups = Cgroups::discover(Path::new(cgroup::ROOT), &membership, prefix);
        let machine = Machine {
            root,
            cgroups: cgroups.version(),
            limits: ["memory", "pids", "cpu"].map(|controller| cgroups.controls(controller)),
            interpreters: interpreters
                .iter()
                .map(|(runtime, found)| {
                    let found = found.as_ref().map(|found| found.version.clone());
                    (runtime.to_string(), found.map_err(String::clone))
                })
                .collect(),
        };
        let description = Description {
            kind: "sandbox",
            version: version?,
            protections: capabilities::protections(&machine),
        };
        let executor = Self(Arc::new(Inner {
            config,
            root,
            view,
            etc,
            interpreters,
            cgroups,
            description,
            locks: UnitLocks::default(),
            bell: watch::Sender::new(0),
        }));
        executor
            .take_over()
            .await
            .map_err(|error| SandboxError::Folder { path: units, reason: error.to_string() })?;
        Ok(executor)
    }

    fn ring(&self) {
        self.0.bell.send_modify(|rings| *rings = rings.wrapping_add(1));
    }

    fn units(&self) -> &crate::UnitsDir {
        self.0.config.provision.units()
    }
}

#[async_trait]
impl Executor for SandboxExecutor {
    async fn start(&self, spec: &UnitSpec, owner: &Owner) -> Result<Started, ExecutorError> {
        let _turn = self.0.locks.lock(&spec.id).await;
        self.start_unit(spec, owner).await
    }

    async fn stop(&self, unit: &UnitId, grace: Duration) -> Result<Option<Exit>, ExecutorError> {
        let _turn = self.0.locks.lock(unit).await;
        self.stop_unit(unit, grace).await
    }

    async fn list(&self, service: &str) -> Result<Vec<UnitStatus>, ExecutorError> {
        let (this, service) = (self.clone(), service.to_owned());
        blocking(move || this.observe_all(&service)).await
    }

    async fn logs(
        &self,
        unit: &UnitId,
        query: LogQuery,
    ) -> Result<BoxStream<'static, Result<LogRecord, ExecutorError>>, ExecutorError> {
        journal::read(self.units().unit(unit), query).await
    }

    async fn stats(&self, unit: &UnitId) -> Result<Option<UnitStats>, ExecutorError> {
        let (this, unit) = (self.clone(), unit.clone());
        blocking(move || Ok(this.measure(&unit))).await
    }

    async fn address(&self, unit: &UnitId, port: u16) -> Result<Option<SocketAddr>, ExecutorError> {
        let entry = registry::read(&self.units().unit(unit));
        let running = entry.filter(|entry| entry.network == Network::Outside && observe::is_alive(entry));
        Ok(running.map(|_| SocketAddr::from((Ipv4Addr::LOCALHOST, port))))
    }

    async fn purge(&self, unit: &UnitId) -> Result<(), ExecutorError> {
        let _turn = self.0.locks.lock(unit).await;
        let (dir, unit) = (self.units().unit(unit), unit.clone());
        blocking(move || match registry::read(&dir) {
            Some(entry) if observe::is_alive(&entry) => {
                Err(ExecutorError::Refused { reason: format!("{unit} runs; stop it before it is purged") })
            }
            _ => dir.purge().map_err(|error| failed("purge", &error)),
        })
        .await
    }

    fn changes(&self) -> BoxStream<'static, ()> {
        tokio_stream::wrappers::WatchStream::from_changes(self.0.bell.subscribe()).map(drop).boxed()
    }

    fn describe(&self) -> Description {
        self.0.description.clone()
    }
}

fn make_etc(units: &Path, view: &SystemView, config: &SandboxConfig) -> std::io::Result<Etc> {
    let accounts = argv::accounts(config.provision.run_as());
    Etc::make(units.join(".etc"), Path::new("/etc"), &view.etc, &accounts)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ExecutorError> + Send + 'static,
) -> Result<T, ExecutorError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| ExecutorError::Failed { action: "look at units", reason: error.to_string() })?
}

fn failed(action: &'static str, error: &std::io::Error) -> ExecutorError {
    ExecutorError::Failed { action, reason: error.to_string() }
}
