//! Which executor runs the bots, and why that one.

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf, sync::Arc};

use the0_bot_runner::SERVICE;
use the0_core::{Executor, Phase, SystemClock, Tasks};
use the0_executor::{
    Provision,
    docker::{DockerConfig, DockerExecutor},
    sandbox::{SandboxConfig, SandboxExecutor},
};

use super::pulls;
use crate::{
    exit::{Exit, Failure},
    settings::{ExecutorChoice, Settings},
};

/// The executor that was chosen.
#[derive(Debug)]
pub(super) struct Chosen {
    /// It.
    pub(super) executor: Arc<dyn Executor>,
    /// Why it was chosen.
    pub(super) why: String,
}

/// Opens the executor the settings ask for, or the better of those that work here; refuses one that would start bots a
/// second time, because they run in the other.
pub(super) async fn choose(
    settings: &Settings,
    environment: &BTreeMap<String, OsString>,
    data_hash: &str,
    provision: Provision,
    tasks: &Tasks,
) -> Result<Chosen, Failure> {
    let units = provision.units().list()?;
    let chosen = open(settings, environment, data_hash, provision.clone(), tasks).await?;
    let is_sandbox = chosen.executor.describe().kind == "sandbox";
    let mut others = 0;
    for unit in units {
        others += usize::from(unit.is_sandboxed() != is_sandbox && unit.may_run()?);
    }
    if others == 0 {
        return Ok(chosen);
    }
    let (other, opened) = if is_sandbox {
        ("docker", docker(settings, data_hash, provision, tasks).await)
    } else {
        ("sandbox", sandbox(environment, data_hash, provision, tasks).await)
    };
    let listed = match opened {
        Ok(executor) => executor.list(SERVICE).await.map_err(|error| error.to_string()),
        Err(error) => Err(error),
    };
    match listed {
        Ok(units) if units.iter().all(|unit| matches!(unit.phase, Phase::Exited(_))) => Ok(chosen),
        Ok(_) => Err(Failure::new(Exit::Conflict, format!("{others} bots run with --executor {other}"))
            .and("another executor would start them a second time")
            .and(format!("stop them with `runtime dev --executor {other} --on-stop stop`, then end it"))),
        Err(error) => Err(Failure::new(
            Exit::Unavailable,
            format!(
                "{others} bots were left running with --executor {other}, which cannot be asked: {error}"
            ),
        )
        .and("another executor might start them a second time; make that one work first")),
    }
}

async fn open(
    settings: &Settings,
    environment: &BTreeMap<String, OsString>,
    data_hash: &str,
    provision: Provision,
    tasks: &Tasks,
) -> Result<Chosen, Failure> {
    let unavailable = |text: String| Failure::new(Exit::Unavailable, text);
    match settings.executor {
        ExecutorChoice::Docker => docker(settings, data_hash, provision, tasks)
            .await
            .map(|executor| Chosen { executor, why: "asked for".to_owned() })
            .map_err(|error| {
                unavailable(format!("--executor docker: {error}"))
                    .and("start Docker, name its socket with --docker-host, or use --executor sandbox")
            }),
        ExecutorChoice::Sandbox => sandbox(environment, data_hash, provision, tasks)
            .await
            .map(|executor| Chosen { executor, why: "asked for".to_owned() })
            .map_err(|error| unavailable(format!("--executor sandbox: {error}"))),
        ExecutorChoice::Auto => {
            let refused = match docker(settings, data_hash, provision.clone(), tasks).await {
                Ok(executor) => return Ok(Chosen { executor, why: "Docker answers".to_owned() }),
                Err(error) => error,
            };
            match sandbox(environment, data_hash, provision, tasks).await {
                Ok(executor) => Ok(Chosen { executor, why: refused }),
                Err(error) => Err(unavailable("nothing here can run bots".to_owned())
                    .and(format!("docker: {refused}"))
                    .and(format!("sandbox: {error}"))),
            }
        }
    }
}

async fn docker(
    settings: &Settings,
    data_hash: &str,
    provision: Provision,
    tasks: &Tasks,
) -> Result<Arc<dyn Executor>, String> {
    let config = DockerConfig {
        host: settings.docker_host.clone(),
        images: settings.images.clone(),
        ..DockerConfig::new(data_hash)
    };
    match DockerExecutor::connect(config, provision).await {
        Ok(executor) => {
            pulls::tell(executor.pulling(), tasks);
            Ok(Arc::new(executor))
        }
        Err(error) => Err(error.to_string()),
    }
}

async fn sandbox(
    environment: &BTreeMap<String, OsString>,
    data_hash: &str,
    provision: Provision,
    tasks: &Tasks,
) -> Result<Arc<dyn Executor>, String> {
    let search_path =
        environment.get("PATH").cloned().unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let bwrap = std::env::split_paths(&search_path)
        .map(|folder| folder.join("bwrap"))
        .find(|path| path.is_file())
        .unwrap_or_else(|| PathBuf::from("/usr/bin/bwrap"));
    let config = SandboxConfig {
        provision,
        bwrap,
        search_path,
        data_hash: data_hash.to_owned(),
        leased: false,
        clock: Arc::new(SystemClock),
        tasks: tasks.clone(),
    };
    match SandboxExecutor::new(config).await {
        Ok(executor) => Ok(Arc::new(executor)),
        Err(error) => Err(error.to_string()),
    }
}
