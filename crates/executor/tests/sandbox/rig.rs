//! A data directory with an agent in it, and executors on it.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::FutureExt;
use the0_agent::wrappers;
use the0_core::{Executor, SystemClock, Tasks};
use the0_executor::{
    Provision, RunAs, UnitsDir,
    contract::{Folders, Subject},
    sandbox::{SandboxConfig, SandboxError, SandboxExecutor},
};

/// Where the tests look for bubblewrap.
const BWRAP: &str = "/usr/bin/bwrap";

pub(crate) struct Rig {
    pub(crate) root: PathBuf,
    pub(crate) mark: String,
}

impl Rig {
    pub(crate) fn new(root: &Path) -> Self {
        let mark = root.file_name().unwrap().to_str().unwrap().rsplit('-').next().unwrap().to_lowercase();
        let tools = root.join("tools");
        fs::create_dir_all(&tools).unwrap();
        fs::set_permissions(&tools, fs::Permissions::from_mode(0o755)).unwrap();
        // A link costs nothing; the agent is large in a debug build.
        let agent = agent();
        if fs::hard_link(&agent, tools.join("runtime")).is_err() {
            fs::copy(&agent, tools.join("runtime")).unwrap();
        }
        for wrapper in wrappers::ALL {
            fs::write(tools.join(wrapper.file), wrapper.text).unwrap();
        }
        fs::create_dir_all(root.join("code")).unwrap();
        Self { root: root.to_path_buf(), mark }
    }

    pub(crate) fn config(&self, tasks: &Tasks) -> SandboxConfig {
        let code = Arc::new(Folders(self.root.join("code")));
        let units = UnitsDir::new(self.root.join("units"));
        SandboxConfig {
            provision: Provision::new(units, code, self.root.join("tools"), RunAs::for_service()),
            bwrap: BWRAP.into(),
            search_path: OsString::from("/usr/bin:/bin"),
            data_hash: self.mark.clone(),
            leased: false,
            clock: Arc::new(SystemClock),
            tasks: tasks.clone(),
        }
    }

    pub(crate) async fn executor(&self, tasks: &Tasks) -> Result<SandboxExecutor, SandboxError> {
        SandboxExecutor::new(self.config(tasks)).await
    }

    /// Control groups of a unit that are still there.
    pub(crate) fn groups(&self, slug: &str) -> Vec<String> {
        let name = format!("{}-{slug}", self.mark.chars().take(8).collect::<String>());
        let controllers = ["memory", "pids", "cpu", "cpuacct", "."];
        let folders = controllers.map(|one| Path::new("/sys/fs/cgroup").join(one).join("the0").join(&name));
        folders.into_iter().filter(|path| path.exists()).map(|path| path.display().to_string()).collect()
    }
}

/// `None`, and a word about it, where units cannot be run in sandboxes.
pub(crate) async fn subject() -> Option<Subject> {
    let home = tempfile::Builder::new().prefix("the0-sandbox-").tempdir().unwrap();
    let tasks = Tasks::new();
    let rig = Arc::new(Rig::new(home.path()));
    let executor = match rig.executor(&tasks).await {
        Ok(executor) => executor,
        Err(error) => {
            skip(&error.to_string());
            return None;
        }
    };
    let (root, again, last) = (rig.root.clone(), rig.clone(), rig.clone());
    Some(Subject {
        executor: Arc::new(executor),
        units: UnitsDir::new(root.join("units")),
        code: root.join("code"),
        reopen: Box::new(move || {
            let rig = again.clone();
            async move { Arc::new(rig.executor(&Tasks::new()).await.unwrap()) as Arc<dyn Executor> }.boxed()
        }),
        leftovers: Box::new(move |unit| {
            let (groups, attempts) = (last.groups(&unit.slug()), last.root.join("units").join(unit.slug()));
            let mut left = groups;
            left.extend(processes(&attempts));
            async move { left }.boxed()
        }),
        keep: Box::new(Broom { home, tasks }),
    })
}

/// Processes that name a unit's folder in their command line: bubblewrap and the launcher.
pub(crate) fn processes(folder: &Path) -> Vec<String> {
    let wanted = folder.to_str().unwrap().as_bytes();
    let lines = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let named = line.windows(wanted.len()).any(|part| part == wanted);
        named.then(|| entry.path().display().to_string())
    });
    lines.collect()
}

/// Kills what a failed test left running.
struct Broom {
    home: tempfile::TempDir,
    tasks: Tasks,
}

impl Drop for Broom {
    fn drop(&mut self) {
        self.tasks.cancelled().cancel();
        for entry in fs::read_dir(self.home.path().join("units")).into_iter().flatten().flatten() {
            kill(&entry.path());
        }
    }
}

/// Kills the agent of a unit, by the number its entry has.
pub(crate) fn kill(unit: &Path) {
    let text = fs::read_to_string(unit.join("sandbox.json")).unwrap_or_default();
    let entry: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    if let Some(pid) = entry["agent"]["pid"].as_i64() {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL);
    }
}

/// The agent that cargo built beside the tests.
fn agent() -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let agent = here.ancestors().nth(2).unwrap().join("examples/unit_agent");
    assert!(agent.exists(), "{} is missing; run `cargo build -p the0-executor --examples`", agent.display());
    agent
}

/// Says why a test does nothing here, or fails it where a sandbox was promised.
pub(crate) fn skip(reason: &str) {
    let required = std::env::var_os("THE0_TEST_SANDBOX").is_some_and(|value| value == "required");
    assert!(!required, "THE0_TEST_SANDBOX=required, and {reason}");
    println!("skipped: {reason}");
}
