//! Runs units as Docker containers.
//!
//! Containers are the memory: their labels say which unit they are, with which specification and under whose grant, so
//! that any process with the same data directory finds and adopts them. Docker not answering says nothing about the
//! units: it is an error of its own and never taken for "stopped".
//!
//! ```text
//! start: turn ─▶ present? ─▶ prepare ─▶ create (▶ pull ─▶ create) ─▶ start ─▶ running
//!                              │            └──────── failed ────────┘
//!                              └◀─ discard ◀─ remove ◀───────┘
//! ```

mod client;
mod config;
mod create;
mod describe;
mod events;
mod list;
mod observe;
mod pull;
mod start;
mod stop;
mod turns;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bollard::{models::ContainerInspectResponse, query_parameters::StatsOptionsBuilder};
use futures::{StreamExt, stream::BoxStream};
use the0_core::{
    Executor, ExecutorError, Owner, UnitStatus,
    executor::{Description, LogQuery, LogRecord, Started, UnitStats},
};
use the0_model::{Exit, UnitId, UnitSpec};
use tokio::sync::{Semaphore, watch};
use tracing::{debug, warn};

use self::{client::Client, list::Known, pull::Images, turns::Turns};
pub use self::{
    config::{DockerConfig, Timeouts},
    pull::{PullPolicy, Pulling},
};
use crate::{
    Provision, journal,
    labels::{Labels, name as label},
};

/// Name of this executor.
const NAME: &str = "docker";

/// Runs units as Docker containers.
#[derive(Debug)]
pub struct DockerExecutor {
    config: DockerConfig,
    provision: Provision,
    client: Client,
    images: Images,
    turns: Turns,
    seats: Semaphore,
    /// What a listing does not show of running containers, by container id.
    known: Mutex<BTreeMap<String, Known>>,
    /// Containers whose end was told, by id, which a listing may still show running for a moment.
    died: Arc<Mutex<BTreeSet<String>>>,
    description: Description,
}

impl DockerExecutor {
    /// Connects to Docker and asks what it is. Fails with [`ExecutorError::Unreachable`] if it does not answer.
    pub async fn connect(config: DockerConfig, provision: Provision) -> Result<Self, ExecutorError> {
        let client = Client::new(config.host.as_deref(), config.timeouts.call)?;
        client.call("agree on a version", client.raw().clone().negotiate_version()).await?;
        let version = client.call("ask for the version", client.raw().version()).await?;
        let info = client.call("ask for information", client.raw().info()).await?;
        let run_as = provision.run_as();
        let description = describe::description(&version, &info, (run_as.uid, run_as.gid));
        for lacking in description.protections.iter().filter(|one| !one.active) {
            debug!(name = lacking.name, detail = %lacking.detail, "docker does not give this protection");
        }
        if info.live_restore_enabled != Some(true) {
            warn!("a restart of docker will kill every unit; set \"live-restore\": true in its daemon.json");
        }
        Ok(Self {
            images: Images::new(client.clone(), config.pull, config.timeouts.pull_stall),
            turns: Turns::new(provision.units().path()),
            seats: Semaphore::new(config.start_width.max(1)),
            known: Mutex::default(),
            died: Arc::default(),
            description,
            client,
            provision,
            config,
        })
    }

    /// Images on their way, by name; for showing progress.
    pub fn pulling(&self) -> watch::Receiver<BTreeMap<String, Pulling>> {
        self.images.progress()
    }

    fn name_of(&self, unit: &UnitId) -> String {
        create::container_name(&self.config.data_hash, unit)
    }

    fn data_label(&self) -> String {
        format!("{}={}", label::DATA, self.config.data_hash)
    }

    /// The unit's container and its labels, if there is one. A container of that name that is another's is an error.
    async fn container(
        &self,
        unit: &UnitId,
    ) -> Result<Option<(Box<ContainerInspectResponse>, Labels)>, ExecutorError> {
        let name = self.name_of(unit);
        let Some(found) = self.client.inspect(&name).await? else { return Ok(None) };
        let empty = std::collections::HashMap::new();
        let map = found.config.as_ref().and_then(|config| config.labels.as_ref()).unwrap_or(&empty);
        match Labels::decode(|label| map.get(label).map(String::as_str)) {
            Ok(labels) if labels.unit == *unit && labels.data == self.config.data_hash => {
                Ok(Some((found, labels)))
            }
            Ok(labels) => {
                Err(taken(&name, &format!("it is unit {} of data directory {}", labels.unit, labels.data)))
            }
            Err(error) => Err(taken(&name, &error.to_string())),
        }
    }
}

fn taken(name: &str, why: &str) -> ExecutorError {
    let reason = format!("container {name:?} is not this unit's ({why}); remove or rename it");
    ExecutorError::Failed { action: "look for the container", reason }
}

#[async_trait]
impl Executor for DockerExecutor {
    async fn start(&self, spec: &UnitSpec, owner: &Owner) -> Result<Started, ExecutorError> {
        self.start_unit(spec, owner).await
    }

    async fn stop(&self, unit: &UnitId, grace: Duration) -> Result<Option<Exit>, ExecutorError> {
        self.stop_unit(unit, grace).await
    }

    async fn list(&self, service: &str) -> Result<Vec<UnitStatus>, ExecutorError> {
        self.list_units(service).await
    }

    async fn logs(
        &self,
        unit: &UnitId,
        query: LogQuery,
    ) -> Result<BoxStream<'static, Result<LogRecord, ExecutorError>>, ExecutorError> {
        journal::read(self.provision.units().unit(unit), query).await
    }

    async fn stats(&self, unit: &UnitId) -> Result<Option<UnitStats>, ExecutorError> {
        let options = StatsOptionsBuilder::new().stream(false).one_shot(true).build();
        let name = self.name_of(unit);
        let mut answers = self.client.raw().stats(&name, Some(options)).boxed();
        let first = async { answers.next().await.transpose() };
        match self.client.call("read statistics", first).await {
            Ok(found) => Ok(found.as_ref().and_then(observe::stats)),
            Err(error) if error.is(404) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn address(&self, unit: &UnitId, port: u16) -> Result<Option<SocketAddr>, ExecutorError> {
        let Some((found, _)) = self.container(unit).await? else { return Ok(None) };
        let ip = observe::address(&found).and_then(|text| text.parse::<IpAddr>().ok());
        Ok(ip.map(|ip| SocketAddr::new(ip, port)))
    }

    async fn purge(&self, unit: &UnitId) -> Result<(), ExecutorError> {
        self.purge_unit(unit).await
    }

    fn changes(&self) -> BoxStream<'static, ()> {
        events::bell(self.client.clone(), self.data_label(), Arc::clone(&self.died))
    }

    fn describe(&self) -> Description {
        self.description.clone()
    }
}
