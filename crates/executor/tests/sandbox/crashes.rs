//! Services that die at bad moments, units that were left by them, and machines that lack something.

use std::{fs, path::Path, sync::Arc, time::Duration};

use the0_core::{Executor, Phase, Tasks};
use the0_executor::{
    contract::{FOREVER, GRACE_MS, SERVICE, Subject, owner, until},
    sandbox::SandboxExecutor,
};
use the0_model::UnitSpec;

use crate::rig::{Rig, kill, processes, skip};

struct Setting {
    home: tempfile::TempDir,
    rig: Rig,
    tasks: Tasks,
}

impl Setting {
    async fn new() -> Option<(Self, SandboxExecutor)> {
        let home = tempfile::Builder::new().prefix("the0-sandbox-").tempdir().unwrap();
        let (rig, tasks) = (Rig::new(home.path()), Tasks::new());
        match rig.executor(&tasks).await {
            Ok(executor) => Some((Self { home, rig, tasks }, executor)),
            Err(error) => {
                skip(&error.to_string());
                None
            }
        }
    }

    fn spec(&self, name: &str) -> UnitSpec {
        let code = self.home.path().join("code");
        let units = the0_executor::UnitsDir::new(self.home.path().join("units"));
        let subject = Subject {
            executor: Arc::new(the0_core::fakes::FakeExecutor::new(Arc::new(the0_core::SystemClock))),
            units,
            code,
            reopen: Box::new(|| unreachable!()),
            leftovers: Box::new(|_| unreachable!()),
            keep: Box::new(()),
        };
        subject.python(name, FOREVER)
    }

    fn unit(&self, slug: &str) -> std::path::PathBuf {
        self.home.path().join("units").join(slug)
    }

    /// The entry as a service leaves it that dies between starting the launcher and hearing from the agent.
    fn forget_agent(&self, slug: &str) {
        let path = self.unit(slug).join("sandbox.json");
        let mut entry: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        entry["agent"] = serde_json::Value::Null;
        fs::write(&path, entry.to_string()).unwrap();
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        self.tasks.cancelled().cancel();
        for entry in fs::read_dir(self.home.path().join("units")).into_iter().flatten().flatten() {
            kill(&entry.path());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_whose_service_died_is_found_by_the_next() {
    let Some((setting, executor)) = Setting::new().await else { return };
    let spec = setting.spec("orphan");
    executor.start(&spec, &owner()).await.unwrap();
    let before = executor.list(SERVICE).await.unwrap();
    setting.forget_agent("bot-orphan");
    let next = setting.rig.executor(&setting.tasks).await.unwrap();
    assert_eq!(next.list(SERVICE).await.unwrap(), before, "the same process");
    next.stop(&spec.id, Duration::from_millis(GRACE_MS)).await.unwrap().unwrap();
    assert_eq!(processes(&setting.unit("bot-orphan")), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_never_came_to_its_launcher_never_was() {
    let Some((setting, executor)) = Setting::new().await else { return };
    let spec = setting.spec("unborn");
    executor.start(&spec, &owner()).await.unwrap();
    let launch = setting.unit("bot-unborn").join("attempts/000001/launch");
    kill(&setting.unit("bot-unborn"));
    until("it has ended", async || processes(&setting.unit("bot-unborn")).is_empty().then_some(())).await;
    // As it is before the launcher has acted: an order, and nobody on it.
    for file in ["launcher.json", "info.json"] {
        fs::remove_file(launch.join(file)).unwrap();
    }
    fs::rename(launch.join("order.taken.json"), launch.join("order.json")).unwrap();
    setting.forget_agent("bot-unborn");
    let next = setting.rig.executor(&setting.tasks).await.unwrap();
    assert_eq!(next.list(SERVICE).await.unwrap(), []);
    assert!(setting.rig.groups("bot-unborn").is_empty());
    // A launcher that comes late finds no order.
    let late = the0_executor::sandbox::launch(&launch.join("order.json"));
    assert!(late.unwrap_err().to_string().contains("no order"));
    assert_eq!(next.start(&spec, &owner()).await.unwrap().attempt, 1, "the attempt never was");
    next.stop(&spec.id, Duration::from_millis(GRACE_MS)).await.unwrap();
}

#[tokio::test]
async fn a_launcher_that_is_told_nothing_ends() {
    let home = tempfile::tempdir().unwrap();
    Rig::new(home.path());
    // As if the service were killed before there is an order: the pipe closes.
    let mut launcher = tokio::process::Command::new(home.path().join("tools/runtime"));
    launcher.args(["sandbox-launch", "-"]).stdin(std::process::Stdio::null());
    let ended = tokio::time::timeout(Duration::from_secs(10), launcher.output()).await.unwrap().unwrap();
    assert!(!ended.status.success());
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(said.contains("no order"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_of_another_boot_is_not_believed() {
    let Some((setting, executor)) = Setting::new().await else { return };
    let spec = setting.spec("rebooted");
    executor.start(&spec, &owner()).await.unwrap();
    let path = setting.unit("bot-rebooted").join("sandbox.json");
    let text = fs::read_to_string(&path).unwrap();
    let mut entry: serde_json::Value = serde_json::from_str(&text).unwrap();
    entry["boot"] = "another".into();
    fs::write(&path, entry.to_string()).unwrap();
    let listed = executor.list(SERVICE).await.unwrap();
    let Phase::Exited(exit) = &listed[0].phase else { panic!("{listed:?}") };
    assert_eq!(exit.cause, the0_model::Cause::Lost);
    // So that it is cleaned up: what runs here is this boot's after all.
    fs::write(&path, text).unwrap();
    executor.stop(&spec.id, Duration::from_millis(GRACE_MS)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_bubblewrap_says_is_passed_on_and_nothing_is_left() {
    let Some((setting, executor)) = Setting::new().await else { return };
    let spec = setting.spec("broken");
    // The agent is not a program.
    let agent = setting.home.path().join("tools/runtime");
    let code = setting.home.path().join("code/broken");
    fs::remove_file(&agent).unwrap();
    let error = executor.start(&spec, &owner()).await.unwrap_err();
    assert!(error.to_string().contains("start the launcher"), "{error}");
    assert_nothing_left(&setting, "bot-broken");
    // A folder that is to be shown vanishes.
    drop(Rig::new(setting.home.path()));
    fs::remove_dir_all(setting.home.path().join("units/.etc")).unwrap();
    let error = executor.start(&spec, &owner()).await.unwrap_err();
    assert!(error.to_string().contains("/.etc"), "bubblewrap's own words: {error}");
    assert!(!error.is_permanent());
    assert_nothing_left(&setting, "bot-broken");
    assert!(code.exists());
}

#[tokio::test]
async fn a_runtime_without_interpreter_is_refused() {
    let Some((setting, _)) = Setting::new().await else { return };
    let mut config = setting.rig.config(&setting.tasks);
    config.search_path = "/nonexistent".into();
    let executor = SandboxExecutor::new(config).await.unwrap();
    let error = executor.start(&setting.spec("mute"), &owner()).await.unwrap_err();
    assert!(error.is_permanent() && error.to_string().contains("apt-get install python3"), "{error}");
    let said = executor.describe().protections;
    assert!(said.iter().any(|one| one.name == "interpreter" && !one.active));
    assert_nothing_left(&setting, "bot-mute");
}

fn assert_nothing_left(setting: &Setting, slug: &str) {
    assert!(!Path::new(&setting.unit(slug)).exists(), "no folder");
    assert_eq!(setting.rig.groups(slug), Vec::<String>::new(), "no control group");
    assert_eq!(processes(&setting.unit(slug)), Vec::<String>::new(), "no process");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_whose_end_cannot_be_recorded_is_stopped_all_the_same() {
    let Some((setting, executor)) = Setting::new().await else { return };
    let spec = setting.spec("stubborn");
    executor.start(&spec, &owner()).await.unwrap();
    // What a bot can do that runs as the agent's own user.
    let exit = setting.unit("bot-stubborn").join("attempts/000001/attempt/exit.json");
    fs::create_dir_all(exit.join("in the way")).unwrap();
    fs::create_dir_all(exit.with_extension("new").join("in the way")).unwrap();
    executor.stop(&spec.id, Duration::from_millis(GRACE_MS)).await.unwrap().unwrap();
    assert_eq!(executor.list(SERVICE).await.unwrap(), []);
    executor.purge(&spec.id).await.unwrap();
    assert!(!setting.unit("bot-stubborn").exists());
}
