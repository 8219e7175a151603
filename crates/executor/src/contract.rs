//! The suite every executor passes. Each case takes a [`Subject`] and panics where the executor breaks the contract.
//!
//! [`executor_contract!`](crate::executor_contract) makes a test of each case.
#![allow(clippy::unwrap_used, reason = "a suite of tests")]

pub mod isolation;
pub mod life;
pub mod limits;
pub mod logs;

use std::{
    any::Any,
    collections::BTreeMap,
    fmt, fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use futures::{StreamExt, future::BoxFuture};
use the0_core::{
    Executor, ExecutorError, Owner, Phase, UnitStatus,
    executor::{AttemptRef, LogQuery},
};
use the0_model::{
    BotId, CodeRef, Exit, Generation, Limits, Network, Runtime, Secret, SegmentId, UnitId, UnitKind,
    UnitSpec, WorkerId,
};

use crate::{UnitDir, UnitsDir, provision::CodeSource};

/// Service the units of the suite belong to.
pub const SERVICE: &str = "contract";
/// Grace the units of the suite get, in milliseconds.
pub const GRACE_MS: u64 = 5_000;
/// Runs until it is told to end.
pub const FOREVER: &str =
    "import time\ndef main(bot_id, config):\n    print('up')\n    while True:\n        time.sleep(0.05)\n";
/// Longest wait for anything to become true.
const PATIENCE: Duration = Duration::from_secs(20);

/// Makes an executor on the folders of an earlier one.
pub type Reopen = Box<dyn Fn() -> BoxFuture<'static, Arc<dyn Executor>> + Send + Sync>;
/// Tells what is left of a unit outside its folder: processes, containers, control groups.
pub type Leftovers = Box<dyn Fn(UnitId) -> BoxFuture<'static, Vec<String>> + Send + Sync>;

/// An executor under test and what is around it.
pub struct Subject {
    /// The executor.
    pub executor: Arc<dyn Executor>,
    /// Its units.
    pub units: UnitsDir,
    /// Where bundles are put for it, as the folders of [`Folders`].
    pub code: PathBuf,
    /// Makes another one on the same folders.
    pub reopen: Reopen,
    /// Tells what is left of a unit.
    pub leftovers: Leftovers,
    /// Whatever must live as long.
    pub keep: Box<dyn Any + Send + Sync>,
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").field("executor", &self.executor).finish_non_exhaustive()
    }
}

impl Subject {
    /// A Python unit that runs this script.
    pub fn python(&self, name: &str, script: &str) -> UnitSpec {
        bundle(&self.code, name, "main.py", script);
        UnitSpec {
            id: UnitId::bot(&BotId::new(name).unwrap()),
            kind: UnitKind::Service,
            runtime: Runtime::Python311,
            entrypoint: "main.py".into(),
            code: CodeRef { location: name.into(), version: "1.0.0".into(), digest: None },
            config: Secret::new(serde_json::json!({})),
            env: BTreeMap::new(),
            limits: Limits { cpu_millis: 2000, ..Limits::default() },
            network: Network::None,
            image: None,
            stop_grace_ms: GRACE_MS,
            restarts_requested: 0,
        }
    }

    /// Starts a unit and waits until it prints `up`.
    pub async fn up(&self, spec: &UnitSpec) -> UnitStatus {
        self.executor.start(spec, &owner()).await.unwrap();
        self.printed(&spec.id, "up").await;
        self.find(&spec.id).await.expect("it is listed")
    }

    /// Starts a unit and waits for its end.
    pub async fn end(&self, spec: &UnitSpec) -> Exit {
        self.executor.start(spec, &owner()).await.unwrap();
        self.ended(&spec.id).await
    }

    /// The unit as listed, if it is.
    pub async fn find(&self, unit: &UnitId) -> Option<UnitStatus> {
        self.executor.list(SERVICE).await.unwrap().into_iter().find(|status| status.id == *unit)
    }

    /// Waits until the unit has ended, and tells how.
    pub async fn ended(&self, unit: &UnitId) -> Exit {
        until("the unit ends", async || match self.find(unit).await?.phase {
            Phase::Exited(exit) => Some(*exit),
            Phase::Starting | Phase::Running => None,
        })
        .await
    }

    /// Whether the executor says that it gives a protection here. What it does not promise is not asked of it.
    pub fn protects(&self, name: &str) -> bool {
        let active = self.executor.describe().protections.iter().all(|one| one.name != name || one.active);
        if !active {
            println!("skipped: there is no {name} here");
        }
        active
    }

    /// What the latest attempt printed.
    pub async fn output(&self, unit: &UnitId) -> Vec<String> {
        let query = LogQuery { attempt: AttemptRef::Latest, tail: None, follow: false };
        match self.executor.logs(unit, query).await {
            Ok(lines) => lines.map(|line| text(&line.unwrap().line.text)).collect().await,
            Err(ExecutorError::NotFound { .. }) => vec![],
            Err(error) => panic!("{error}"),
        }
    }

    /// Waits until the latest attempt has printed a line that begins so.
    pub async fn printed(&self, unit: &UnitId, begin: &str) -> String {
        until(&format!("{unit} prints {begin:?}"), async || {
            self.output(unit).await.into_iter().find(|line| line.starts_with(begin))
        })
        .await
    }

    /// Stops a unit with its usual grace.
    pub async fn stop(&self, unit: &UnitId) -> Option<Exit> {
        self.executor.stop(unit, Duration::from_millis(GRACE_MS)).await.unwrap()
    }

    /// The unit's folder.
    pub fn dir(&self, unit: &UnitId) -> UnitDir {
        self.units.unit(unit)
    }

    /// Stops everything and makes sure that nothing is left but state and records.
    pub async fn clean(&self) {
        for status in self.executor.list(SERVICE).await.unwrap() {
            self.executor.stop(&status.id, Duration::from_millis(GRACE_MS)).await.unwrap();
            self.assert_gone(&status.id).await;
        }
    }

    /// Nothing of the unit runs, and nothing that holds keys is left.
    pub async fn assert_gone(&self, unit: &UnitId) {
        assert_eq!((self.leftovers)(unit.clone()).await, Vec::<String>::new(), "left of {unit}");
        for number in self.dir(unit).attempts().unwrap() {
            assert!(
                !self.dir(unit).attempt(number).input().exists(),
                "attempt {number} of {unit} keeps keys"
            );
        }
    }
}

/// Who answers for the units of the suite.
pub fn owner() -> Owner {
    Owner {
        service: SERVICE.into(),
        segment: SegmentId(7),
        worker: WorkerId::new("w1").unwrap(),
        generation: Generation { term: 3, step: 1 },
    }
}

/// Bundles that are unpacked already: the location is the name of a folder.
#[derive(Debug)]
pub struct Folders(pub PathBuf);

#[async_trait]
impl CodeSource for Folders {
    async fn fetch(&self, code: &CodeRef) -> Result<PathBuf, ExecutorError> {
        let folder = self.0.join(&code.location);
        if folder.is_dir() {
            Ok(folder)
        } else {
            Err(ExecutorError::NotFound { what: format!("code {}", code.location) })
        }
    }
}

/// Puts one file into an unpacked bundle.
pub fn bundle(code: &Path, name: &str, file: &str, text: &str) {
    let written = || -> io::Result<()> {
        let folder = code.join(name);
        fs::create_dir_all(&folder)?;
        fs::set_permissions(code, fs::Permissions::from_mode(0o755))?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
        fs::write(folder.join(file), text)?;
        fs::set_permissions(folder.join(file), fs::Permissions::from_mode(0o755))
    };
    written().unwrap();
}

/// Waits for something to become true.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let waited = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for: {what}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Makes a test of each case of the contract. `$subject` is an `async fn() -> Option<Subject>`; `None` skips. With
/// `only`, the cases that need no real bot.
#[macro_export]
macro_rules! executor_contract {
    ($subject:path) => {
        $crate::executor_contract!($subject, only life::{
            equal_starts_are_one, starts_at_once_are_one, an_absent_unit_is_stopped_already, services_see_their_own,
        });
        $crate::executor_contract!($subject, only life::{
            another_specification_waits_for_a_stop, a_crash_is_explained, a_stop_lets_the_bot_finish,
            a_deaf_bot_is_stopped_by_force, state_outlives_attempts, a_large_config_arrives,
            a_missing_entrypoint_leaves_nothing, units_outlive_the_executor, an_end_rings,
            a_killed_agent_is_noticed, a_purged_unit_leaves_nothing, another_attempt_counts_on,
        });
        $crate::executor_contract!($subject, only logs::{
            attempts_are_read_by_name, the_tail_is_the_tail, a_follower_sees_the_next_attempt, nothing_is_not_found,
        });
        $crate::executor_contract!($subject, only limits::{
            too_much_memory_is_explained, too_much_memory_of_a_child_is_explained, a_fork_bomb_is_held,
            a_full_tmp_is_the_bots_own, a_running_unit_is_measured,
        });
        $crate::executor_contract!($subject, only isolation::{
            without_network_there_is_no_way_out, a_bot_has_no_privileges, a_bot_sees_no_more_than_it_should,
            keys_do_not_show,
        });
    };
    ($subject:path, only $module:ident::{ $($case:ident),* $(,)? }) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let Some(subject) = $subject().await else { return };
                $crate::contract::$module::$case(&subject).await;
                subject.clean().await;
            }
        )*
    };
}
