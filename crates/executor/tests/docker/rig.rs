//! One data directory, one mark on every container made from it, and a broom.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bollard::{
    Docker,
    models::{ContainerInspectResponse, ContainerSummary},
    query_parameters::{
        InspectContainerOptions, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
    },
};
use serde_json::json;
use the0_core::{Executor, ExecutorError, Owner, Phase, UnitStatus};
use the0_executor::{
    Provision, RunAs, UnitsDir,
    docker::{DockerConfig, DockerExecutor},
    provision::CodeSource,
};
use the0_model::{
    BotId, CodeRef, Generation, Limits, Network, Runtime, Secret, SegmentId, UnitId, UnitKind, UnitSpec,
    WorkerId,
};

pub(crate) const SERVICE: &str = "bot-runner";
/// Appears in configuration and environment of every unit, and must appear nowhere else.
pub(crate) const CANARY: &str = "canary-4711";
/// Longest wait for anything to become true.
const PATIENCE: Duration = Duration::from_mins(1);
/// Runs until it is told to end.
pub(crate) const FOREVER: &str = "import time\nwhile True: time.sleep(0.1)\n";

pub(crate) struct Rig {
    root: tempfile::TempDir,
    pub(crate) config: DockerConfig,
    pub(crate) docker: Docker,
}

impl Rig {
    /// `None`, and a word about it, where there is no Docker.
    pub(crate) async fn new() -> Option<Self> {
        Self::on(Docker::connect_with_unix("/var/run/docker.sock", 60, bollard::API_DEFAULT_VERSION), None)
            .await
    }

    pub(crate) async fn on(
        connected: Result<Docker, bollard::errors::Error>,
        host: Option<String>,
    ) -> Option<Self> {
        let answer = match connected {
            Ok(docker) => docker.ping().await.map(|_| docker),
            Err(error) => Err(error),
        };
        let docker = match answer {
            Ok(docker) => docker,
            Err(error) => {
                skip(&format!("no Docker here: {error}"));
                return None;
            }
        };
        let root = tempfile::Builder::new().prefix("the0-docker-").tempdir().unwrap();
        let mark = root.path().file_name().unwrap().to_str().unwrap().rsplit('-').next().unwrap().to_owned();
        for folder in ["tools", "code"] {
            fs::create_dir(root.path().join(folder)).unwrap();
            fs::set_permissions(root.path().join(folder), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let mut config = DockerConfig::new(format!("t{mark}"));
        config.host = host;
        let rig = Self { root, config, docker };
        rig.agent(include_bytes!("agent.py"));
        Some(rig)
    }

    /// What is run as the agent.
    pub(crate) fn agent(&self, bytes: &[u8]) {
        let file = self.root.path().join("tools/runtime");
        fs::write(&file, bytes).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn units(&self) -> UnitsDir {
        UnitsDir::new(self.root.path().join("units"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn provision(&self) -> Provision {
        self.provision_in(self.units())
    }

    pub(crate) fn provision_in(&self, units: UnitsDir) -> Provision {
        let code = Arc::new(Folders(self.root.path().join("code")));
        Provision::new(units, code, self.root.path().join("tools"), RunAs::for_service())
    }

    pub(crate) async fn executor(&self) -> DockerExecutor {
        self.executor_with(self.config.clone()).await
    }

    pub(crate) async fn executor_with(&self, config: DockerConfig) -> DockerExecutor {
        DockerExecutor::connect(config, self.provision()).await.unwrap()
    }

    /// A Python unit without a network that runs this script.
    pub(crate) fn spec(&self, id: &str, script: &str) -> UnitSpec {
        let code = self.root.path().join("code").join(id);
        fs::create_dir_all(&code).unwrap();
        fs::set_permissions(&code, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(code.join("main.py"), script).unwrap();
        UnitSpec {
            id: UnitId::bot(&BotId::new(id).unwrap()),
            kind: UnitKind::Service,
            runtime: Runtime::Python311,
            entrypoint: "main.py".into(),
            code: CodeRef { location: id.into(), version: "1.0.0".into(), digest: None },
            config: Secret::new(json!({"apiKey": CANARY})),
            env: BTreeMap::from([("TOKEN".to_owned(), Secret::new(CANARY.to_owned()))]),
            limits: Limits { memory_bytes: 64 << 20, ..Limits::default() },
            network: Network::None,
            image: None,
            stop_grace_ms: 2_000,
            restarts_requested: 0,
        }
    }

    /// Starts a unit and waits until its agent can be told to stop.
    pub(crate) async fn run(&self, executor: &DockerExecutor, spec: &UnitSpec) -> u64 {
        let started = executor.start(spec, &owner()).await.unwrap();
        assert!(started.fresh);
        self.ready(&spec.id, started.attempt).await;
        started.attempt
    }

    pub(crate) async fn ready(&self, unit: &UnitId, attempt: u64) {
        read_when_there(self.units().unit(unit).attempt(attempt).attempt().join("ready")).await;
    }

    /// Every container made from this data directory, whatever its state.
    pub(crate) async fn containers(&self) -> Vec<ContainerSummary> {
        containers(&self.docker, &self.config.data_hash).await
    }

    pub(crate) async fn inspect(&self, unit: &UnitId) -> ContainerInspectResponse {
        let name = self.name(unit);
        self.docker.inspect_container(&name, None::<InspectContainerOptions>).await.unwrap()
    }

    pub(crate) fn name(&self, unit: &UnitId) -> String {
        let short: String = self.config.data_hash.chars().take(8).collect();
        format!("the0-{short}-{}", unit.slug())
    }

    /// Nothing of any unit is left: no container, no folder.
    pub(crate) async fn assert_nothing_left(&self) {
        assert_eq!(self.containers().await, [], "containers are left");
        let folders = self.units().list().unwrap();
        assert!(folders.is_empty(), "folders are left: {folders:?}");
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let (docker, mark) = (self.docker.clone(), self.config.data_hash.clone());
        // A thread of its own: this may be dropped inside a runtime, and while panicking.
        let swept = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                for container in containers(&docker, &mark).await {
                    let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
                    let _ = docker.remove_container(&container.id.unwrap_or_default(), Some(options)).await;
                }
            });
        });
        let _ = swept.join();
    }
}

async fn containers(docker: &Docker, mark: &str) -> Vec<ContainerSummary> {
    let filters = HashMap::from([("label", vec![format!("the0.data={mark}")])]);
    let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    docker.list_containers(Some(options)).await.unwrap_or_default()
}

/// Says why a test does nothing here, or fails it where Docker was promised.
pub(crate) fn skip(reason: &str) {
    let required = std::env::var_os("THE0_TEST_DOCKER").is_some_and(|value| value == "required");
    assert!(!required, "THE0_TEST_DOCKER=required, and {reason}");
    println!("skipped: {reason}");
}

pub(crate) fn owner() -> Owner {
    Owner {
        service: SERVICE.into(),
        segment: SegmentId(1),
        worker: WorkerId::new("w1").unwrap(),
        generation: Generation { term: 1, step: 0 },
    }
}

/// The unit as listed, if it is.
pub(crate) async fn find(executor: &DockerExecutor, unit: &UnitId) -> Option<UnitStatus> {
    executor.list(SERVICE).await.unwrap().into_iter().find(|status| status.id == *unit)
}

/// Waits until the unit has ended and says how.
pub(crate) async fn ended(executor: &DockerExecutor, unit: &UnitId) -> the0_model::Exit {
    until("the unit ends", async || match find(executor, unit).await?.phase {
        Phase::Exited(exit) => Some(*exit),
        Phase::Starting | Phase::Running => None,
    })
    .await
}

/// Waits for a file that the bot writes.
pub(crate) async fn read_when_there(path: PathBuf) -> String {
    until("the file is there", async || fs::read_to_string(&path).ok().filter(|text| text.ends_with('\n')))
        .await
}

/// Waits for something to become true.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let waited = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for: {what}"))
}

/// Bundles that are unpacked already.
#[derive(Debug)]
struct Folders(PathBuf);

#[async_trait]
impl CodeSource for Folders {
    async fn fetch(&self, code: &CodeRef) -> Result<PathBuf, ExecutorError> {
        let folder = self.0.join(&code.location);
        match folder.try_exists() {
            Ok(true) => Ok(folder),
            Ok(false) => Err(ExecutorError::NotFound { what: format!("code {}", code.location) }),
            Err(error) => Err(failed(&error)),
        }
    }
}

fn failed(error: &io::Error) -> ExecutorError {
    ExecutorError::Failed { action: "fetch code", reason: error.to_string() }
}
