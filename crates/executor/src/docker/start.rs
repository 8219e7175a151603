//! Making a container run, leaving nothing behind when that fails.

use bollard::{
    models::{ContainerCreateBody, ContainerInspectResponse},
    query_parameters::{CreateContainerOptionsBuilder, StartContainerOptions},
};
use the0_core::{ExecutorError, Owner, executor::Started};
use the0_model::{SpecDigest, UnitSpec};
use tracing::{debug, warn};

use super::{
    DockerExecutor,
    client::CallError,
    create::{self, Settings},
    observe::{self, State},
};
use crate::{AgentOptions, Prepared, labels::Labels};

/// Why no container runs.
enum Failure {
    /// It never had a process, and is gone or will be collected.
    NeverRan(ExecutorError),
    /// There is a container of that name already.
    Taken(ExecutorError),
    /// Docker went away after it was told to start: the unit may run. The next listing knows.
    Unknown(ExecutorError),
}

impl DockerExecutor {
    pub(super) async fn start_unit(&self, spec: &UnitSpec, owner: &Owner) -> Result<Started, ExecutorError> {
        let _turn = self.turns.take(&spec.id).await?;
        if let Some((found, labels)) = self.container(&spec.id).await? {
            return already_there(&found, &labels, spec.digest());
        }
        let image = self.config.image(spec)?;
        let prepared = self.provision.prepare(spec, owner, AgentOptions::default()).await?;
        let labels = Labels {
            unit: spec.id.clone(),
            owner: owner.clone(),
            digest: spec.digest(),
            attempt: prepared.attempt,
            data: self.config.data_hash.clone(),
        };
        let run_as = self.provision.run_as();
        let settings = Settings { image, network: &self.config.network, run_as: (run_as.uid, run_as.gid) };
        let body = Box::new(create::body(spec, &labels, &prepared.parts(), settings));
        match self.make(&labels, image, body).await {
            Ok(()) => Ok(Started { attempt: prepared.attempt, fresh: true }),
            Err(Failure::NeverRan(error)) => {
                self.provision.discard(&prepared).await;
                Err(error)
            }
            Err(Failure::Taken(error)) => Box::pin(self.after_conflict(spec, &prepared, error)).await,
            Err(Failure::Unknown(error)) => Err(error),
        }
    }

    /// Someone was faster whom the lock does not reach, because it does not see our data directory. If that is the unit
    /// that was wanted, it runs.
    async fn after_conflict(
        &self,
        spec: &UnitSpec,
        prepared: &Prepared,
        error: ExecutorError,
    ) -> Result<Started, ExecutorError> {
        let Some((found, labels)) = self.container(&spec.id).await? else {
            self.provision.discard(prepared).await;
            return Err(error);
        };
        let ours = prepared.dir.attempt().to_string_lossy().into_owned();
        let mounts = found.mounts.iter().flatten();
        if !mounts.filter_map(|mount| mount.source.as_ref()).any(|source| *source == ours) {
            self.provision.discard(prepared).await;
        }
        already_there(&found, &labels, spec.digest())
    }

    async fn make(
        &self,
        labels: &Labels,
        image: &str,
        body: Box<ContainerCreateBody>,
    ) -> Result<(), Failure> {
        match self.create_and_start(labels, body.clone()).await {
            Err(Outcome::NoImage) => {}
            Err(Outcome::Failed(failure)) => return Err(failure),
            Ok(()) => return Ok(()),
        }
        // Only now, because asking beforehand costs every start a call.
        self.images.ensure(image).await.map_err(Failure::NeverRan)?;
        self.create_and_start(labels, body).await.map_err(|outcome| match outcome {
            Outcome::Failed(failure) => failure,
            Outcome::NoImage => Failure::NeverRan(ExecutorError::Failed {
                action: "create container",
                reason: format!("image {image:?} was here a moment ago and is gone"),
            }),
        })
    }

    async fn create_and_start(&self, labels: &Labels, body: Box<ContainerCreateBody>) -> Result<(), Outcome> {
        // Held for these two calls alone: others go on while an image is pulled.
        let _seat = self.seats.acquire().await;
        let name = self.name_of(&labels.unit);
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        let create = self.client.raw().create_container(Some(options), *body);
        let created = match self.client.call("create container", create).await {
            Ok(created) => created,
            Err(error) if error.is(404) && is_about_image(&error) => return Err(Outcome::NoImage),
            Err(error) if error.is(409) => return Err(Outcome::Failed(Failure::Taken(error.into()))),
            Err(error) => {
                if matches!(error, CallError::Unknown { .. }) {
                    self.remove_own(labels).await;
                }
                return Err(Outcome::Failed(Failure::NeverRan(error.into())));
            }
        };
        for warning in &created.warnings {
            debug!(unit = %labels.unit, warning, "docker warns");
        }
        let start = self.client.raw().start_container(&created.id, None::<StartContainerOptions>);
        match self.client.call_within("start container", self.config.timeouts.start, start).await {
            Ok(()) => Ok(()),
            Err(error) => {
                let looked = Box::pin(self.after_failed_start(&created.id, labels, error));
                looked.await.map_err(Outcome::Failed)
            }
        }
    }

    /// A start that failed, or whose answer was lost: looks at what became of it.
    async fn after_failed_start(
        &self,
        container: &str,
        labels: &Labels,
        error: CallError,
    ) -> Result<(), Failure> {
        match self.client.inspect(container).await {
            Ok(Some(found)) => {
                let state = found.state.unwrap_or_default();
                if observe::inspected_state(&state) == State::Running {
                    return Ok(());
                }
                if observe::started_at(&state).is_some() {
                    // It ran and has ended already; the attempt counts and its records stay.
                    return Ok(());
                }
                self.remove_own(labels).await;
                Err(Failure::NeverRan(error.into()))
            }
            Ok(None) => Err(Failure::NeverRan(error.into())),
            Err(_) => Err(Failure::Unknown(error.into())),
        }
    }

    /// Removes the container of a start that failed, unless it is another's or runs. What cannot be removed now is
    /// listed as never started, and collected then.
    async fn remove_own(&self, labels: &Labels) {
        let removed = async {
            if let Some((found, other)) = self.container(&labels.unit).await? {
                let created = observe::inspected_state(&found.state.unwrap_or_default()) != State::Running;
                if created && other == *labels {
                    self.client.remove(&found.id.unwrap_or_default()).await?;
                }
            }
            Ok::<_, ExecutorError>(())
        };
        if let Err(error) = removed.await {
            warn!(unit = %labels.unit, %error, "could not remove the container of a failed start");
        }
    }
}

enum Outcome {
    NoImage,
    Failed(Failure),
}

fn is_about_image(error: &CallError) -> bool {
    matches!(error, CallError::Answered { message, .. } if message.to_lowercase().contains("image"))
}

fn already_there(
    found: &ContainerInspectResponse,
    labels: &Labels,
    wanted: SpecDigest,
) -> Result<Started, ExecutorError> {
    let state = found.state.as_ref().map_or(State::Ended, observe::inspected_state);
    let why = match state {
        State::Running if labels.digest == wanted => {
            return Ok(Started { attempt: labels.attempt, fresh: false });
        }
        State::Running => "it runs with another specification",
        State::Created => "an earlier start of it was cut short",
        State::Ended => "an earlier attempt of it has ended",
    };
    let reason = format!("{}: {why}; stop it first", labels.unit);
    Err(ExecutorError::Failed { action: "start unit", reason })
}
