//! Which executor runs the bots, and why that one.

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf, sync::Arc};

use the0_core::{Executor, SystemClock, Tasks};
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

/// Opens the executor the settings ask for, or the better of those that work here.
pub(super) async fn choose(
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
