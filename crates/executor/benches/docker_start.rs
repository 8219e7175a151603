//! What the executor adds to the start of a container: its own start against the bare API's create and start with the
//! same body, taking turns in one run.
//!
//! `cargo bench -p the0-executor --bench docker_start [-- --rounds 20 --check]`; `--check` fails beyond the targets.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing better to do than to say so")]

mod support;

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use bollard::{
    Docker,
    models::ContainerCreateBody,
    query_parameters::{
        CreateContainerOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder,
        RemoveContainerOptionsBuilder, StartContainerOptions,
    },
};
use the0_core::{Executor, ExecutorError, Owner};
use the0_executor::{
    Provision, RunAs, UnitsDir,
    docker::{DockerConfig, DockerExecutor},
    provision::CodeSource,
};
use the0_model::{
    CodeRef, Generation, Limits, Network, Runtime, Secret, SegmentId, UnitId, UnitKind, UnitSpec, WorkerId,
};

use support::{Judge, median};

/// One at a time, and eight at once.
const TARGETS: [(usize, &str, f64); 2] =
    [(1, "Docker: a start | bare API", 1.05), (8, "Docker: 8 starts at once | bare API", 1.3)];

#[tokio::main]
async fn main() -> ExitCode {
    let mut judge = Judge::from_args(21);
    let Some(bench) = Bench::new().await else {
        println!("skipped: no Docker answers");
        return ExitCode::SUCCESS;
    };
    let rounds = judge.rounds();
    for (width, name, target) in TARGETS {
        let (ours, bare) = judge.quietly(async || bench.compare(width, rounds).await).await;
        judge.row(name, ours, bare, Some(target));
    }
    bench.sweep().await;
    judge.exit_code()
}

struct Bench {
    folder: tempfile::TempDir,
    mark: String,
    docker: Docker,
    executor: DockerExecutor,
    body: ContainerCreateBody,
}

impl Bench {
    async fn new() -> Option<Self> {
        let docker = Docker::connect_with_unix_defaults().ok()?;
        docker.ping().await.ok()?;
        let folder = tempfile::Builder::new().prefix("the0-bench-").tempdir().unwrap();
        let mark =
            format!("b{}", folder.path().file_name().unwrap().to_str().unwrap().rsplit('-').next().unwrap());
        for (name, file, text) in
            [("tools", "runtime", "#!/bin/sh\nexec sleep 1000\n"), ("code", "main.py", "pass\n")]
        {
            let place = folder.path().join(name);
            fs::create_dir(&place).unwrap();
            fs::write(place.join(file), text).unwrap();
            for path in [place.clone(), place.join(file)] {
                fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
        let units = UnitsDir::new(folder.path().join("units"));
        let code = Arc::new(OneFolder(folder.path().join("code")));
        let provision = Provision::new(units, code, folder.path().join("tools"), RunAs::for_service());
        let executor = DockerExecutor::connect(DockerConfig::new(&mark), provision).await.unwrap();
        let mut bench = Self { folder, mark, docker, executor, body: ContainerCreateBody::default() };
        bench.body = bench.template().await;
        Some(bench)
    }

    /// What the executor asks for, read back from Docker, so that both sides make the same container. Its unit's
    /// folders stay: the bare side mounts them.
    async fn template(&self) -> ContainerCreateBody {
        let spec = spec("template");
        self.executor.start(&spec, &owner()).await.unwrap();
        let name = self.name(&spec);
        let made = self.docker.inspect_container(&name, None::<InspectContainerOptions>).await.unwrap();
        self.remove(&name).await;
        let mut body: ContainerCreateBody =
            serde_json::from_value(serde_json::to_value(made.config).unwrap()).unwrap();
        body.host_config = made.host_config;
        body
    }

    /// Medians of the executor's times and of the bare API's.
    async fn compare(&self, width: usize, rounds: usize) -> (Duration, Duration) {
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        // The first of each is a warm-up; who goes first changes every round.
        for round in 0..=rounds {
            for side in [round % 2, (round + 1) % 2] {
                let took = if side == 0 { self.ours(width).await } else { self.bare(width).await };
                if round > 0 {
                    if side == 0 { ours.push(took) } else { bare.push(took) }
                }
            }
        }
        (median(ours), median(bare))
    }

    async fn ours(&self, width: usize) -> Duration {
        let specs: Vec<UnitSpec> = (0..width).map(|n| spec(&format!("ours-{n}"))).collect();
        let owner = owner();
        let begun = Instant::now();
        let starts = specs.iter().map(|spec| self.executor.start(spec, &owner));
        for started in futures::future::join_all(starts).await {
            started.unwrap();
        }
        let took = begun.elapsed();
        for spec in &specs {
            self.remove(&self.name(spec)).await;
            self.executor.purge(&spec.id).await.unwrap();
        }
        took
    }

    async fn bare(&self, width: usize) -> Duration {
        let names: Vec<String> = (0..width).map(|n| format!("the0-{}-bare-{n}", self.mark)).collect();
        let begun = Instant::now();
        futures::future::join_all(names.iter().map(async |name| {
            let options = CreateContainerOptionsBuilder::new().name(name).build();
            let made = self.docker.create_container(Some(options), self.body.clone()).await.unwrap();
            self.docker.start_container(&made.id, None::<StartContainerOptions>).await.unwrap();
        }))
        .await;
        let took = begun.elapsed();
        for name in &names {
            self.remove(name).await;
        }
        took
    }

    fn name(&self, spec: &UnitSpec) -> String {
        let short: String = self.mark.chars().take(8).collect();
        format!("the0-{short}-{}", spec.id.slug())
    }

    async fn remove(&self, name: &str) {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        self.docker.remove_container(name, Some(options)).await.unwrap();
    }

    async fn sweep(&self) {
        let filters = HashMap::from([("label", vec![format!("the0.data={}", self.mark)])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        for left in self.docker.list_containers(Some(options)).await.unwrap() {
            self.remove(&left.id.unwrap_or_default()).await;
        }
        let _ = fs::remove_dir_all(self.folder.path());
    }
}

fn owner() -> Owner {
    Owner {
        service: "bench".into(),
        segment: SegmentId(1),
        worker: WorkerId::new("bench").unwrap(),
        generation: Generation { term: 1, step: 0 },
    }
}

fn spec(id: &str) -> UnitSpec {
    UnitSpec {
        id: UnitId::new(format!("bot/{id}")).unwrap(),
        kind: UnitKind::Service,
        runtime: Runtime::Python311,
        entrypoint: "main.py".into(),
        code: CodeRef { location: "code".into(), version: "1.0.0".into(), digest: None },
        config: Secret::new(serde_json::json!({})),
        env: BTreeMap::new(),
        limits: Limits::default(),
        network: Network::Outside,
        image: None,
        stop_grace_ms: 1_000,
        restarts_requested: 0,
    }
}

#[derive(Debug)]
struct OneFolder(PathBuf);

#[async_trait::async_trait]
impl CodeSource for OneFolder {
    async fn fetch(&self, _: &CodeRef) -> Result<PathBuf, ExecutorError> {
        Ok(Path::new(&self.0).to_path_buf())
    }
}
