//! Images: used as they are when present, pulled once when missing.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bollard::{models::CreateImageInfo, query_parameters::CreateImageOptionsBuilder};
use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, Shared, WeakShared},
};
use the0_core::ExecutorError;
use tokio::sync::watch;
use tracing::{info, warn};

use super::client::{CallError, Client};

/// Whether images may be fetched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// Pulled when it is not on this machine, never otherwise.
    #[default]
    Missing,
    /// Never pulled; what is not there is an error.
    Never,
}

/// An image on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulling {
    /// Its name.
    pub image: String,
    /// Bytes fetched so far, over all layers that are known.
    pub done: u64,
    /// Bytes of those layers together.
    pub total: u64,
}

type Job = BoxFuture<'static, Result<(), Arc<ExecutorError>>>;

/// Fetches images, each once however many units wait for it.
#[derive(Debug)]
pub(super) struct Images {
    client: Client,
    policy: PullPolicy,
    stall: Duration,
    // Weak: a pull lives as long as someone waits for it.
    running: Mutex<BTreeMap<String, WeakShared<Job>>>,
    progress: watch::Sender<BTreeMap<String, Pulling>>,
}

impl Images {
    pub(super) fn new(client: Client, policy: PullPolicy, stall: Duration) -> Self {
        Self { client, policy, stall, running: Mutex::default(), progress: watch::Sender::default() }
    }

    /// What is being pulled, by name.
    pub(super) fn progress(&self) -> watch::Receiver<BTreeMap<String, Pulling>> {
        self.progress.subscribe()
    }

    /// Makes sure that `image` is on this machine. Calls for one image share one pull and its outcome; the pull ends
    /// when all of them are dropped.
    pub(super) async fn ensure(&self, image: &str) -> Result<(), ExecutorError> {
        if self.is_here(image).await? {
            return Ok(());
        }
        if self.policy == PullPolicy::Never {
            return Err(missing(image, "pulling is switched off"));
        }
        self.join(image).await.map_err(|error| again(&error))
    }

    async fn is_here(&self, image: &str) -> Result<bool, ExecutorError> {
        match self.client.call("inspect image", self.client.raw().inspect_image(image)).await {
            Ok(_) => Ok(true),
            Err(error) if error.is(404) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn join(&self, image: &str) -> Shared<Job> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|_, pull| pull.upgrade().is_some_and(|pull| pull.peek().is_none()));
        if let Some(pull) = running.get(image).and_then(WeakShared::upgrade) {
            return pull;
        }
        let job = pull(self.client.clone(), image.to_owned(), self.stall, self.progress.clone());
        let shared = job.map(|outcome| outcome.map_err(Arc::new)).boxed().shared();
        running.extend(shared.downgrade().map(|weak| (image.to_owned(), weak)));
        shared
    }
}

async fn pull(
    client: Client,
    image: String,
    stall: Duration,
    progress: watch::Sender<BTreeMap<String, Pulling>>,
) -> Result<(), ExecutorError> {
    info!(%image, "pulling image");
    let shown = Shown { image: image.clone(), progress };
    // Without a tag Docker would fetch every tag there is.
    let options = CreateImageOptionsBuilder::new().from_image(&tagged(&image)).build();
    let mut answers = client.raw().create_image(Some(options), None, None);
    let mut layers = Layers::default();
    loop {
        let next = tokio::time::timeout(stall, answers.next());
        match next.await {
            Ok(None) => break,
            Ok(Some(Ok(step))) => {
                let (done, total) = layers.add(step);
                shown.show(done, total);
            }
            Ok(Some(Err(error))) => {
                let error = client.explain("pull image", &error);
                warn!(%image, %error, "pulling image failed");
                return Err(failed(&image, error));
            }
            Err(_) => {
                let reason = format!("image {image:?}: nothing came for {stall:?}");
                return Err(ExecutorError::Failed { action: "pull image", reason });
            }
        }
    }
    info!(%image, "image pulled");
    Ok(())
}

/// Takes the image off the list when its pull ends, in whatever way.
struct Shown {
    image: String,
    progress: watch::Sender<BTreeMap<String, Pulling>>,
}

impl Shown {
    fn show(&self, done: u64, total: u64) {
        let pulling = Pulling { image: self.image.clone(), done, total };
        self.progress.send_modify(|all| {
            all.insert(self.image.clone(), pulling);
        });
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.progress.send_modify(|all| {
            all.remove(&self.image);
        });
    }
}

/// Bytes fetched and expected, per layer.
#[derive(Debug, Default)]
struct Layers(BTreeMap<String, (u64, u64)>);

impl Layers {
    fn add(&mut self, step: CreateImageInfo) -> (u64, u64) {
        let detail = step.progress_detail.unwrap_or_default();
        // Extraction counts from zero again; only what is downloaded is counted.
        if let (Some(layer), Some(done), Some(total), Some("Downloading")) =
            (step.id, detail.current, detail.total, step.status.as_deref())
        {
            let bytes = |number: i64| u64::try_from(number).unwrap_or_default();
            self.0.insert(layer, (bytes(done), bytes(total)));
        }
        self.0.values().fold((0, 0), |(done, total), layer| (done + layer.0, total + layer.1))
    }
}

/// The name with the tag that is meant when none is given.
fn tagged(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") }
}

fn missing(image: &str, why: &str) -> ExecutorError {
    ExecutorError::Refused {
        reason: format!(
            "image {image:?} is not on this machine, and {why}; run `docker pull {image}`, or `docker load -i FILE` \
             where there is no registry, or name another image"
        ),
    }
}

/// A registry that says "no such image" says so again; one that is out of reach may be back.
fn failed(image: &str, error: CallError) -> ExecutorError {
    match error {
        CallError::Answered { status: 401 | 403 | 404, message, .. } => missing(image, &message),
        CallError::Answered { message, .. } if names_no_image(&message) => missing(image, &message),
        CallError::Answered { message, .. } => ExecutorError::Failed {
            action: "pull image",
            reason: format!(
                "image {image:?} is not on this machine and could not be pulled: {message}; run `docker pull {image}`, \
                 or `docker load -i FILE` where there is no registry"
            ),
        },
        unknown @ CallError::Unknown { .. } => unknown.into(),
    }
}

fn names_no_image(message: &str) -> bool {
    ["pull access denied", "manifest unknown", "not found", "invalid reference"]
        .iter()
        .any(|text| message.contains(text))
}

/// The same error for another of those who waited.
fn again(error: &ExecutorError) -> ExecutorError {
    match error {
        ExecutorError::Unreachable { executor, reason } => {
            ExecutorError::Unreachable { executor, reason: reason.clone() }
        }
        ExecutorError::Refused { reason } => ExecutorError::Refused { reason: reason.clone() },
        ExecutorError::Failed { action, reason } => ExecutorError::Failed { action, reason: reason.clone() },
        ExecutorError::NotFound { what } => ExecutorError::NotFound { what: what.clone() },
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::ProgressDetail;

    use super::*;

    #[test]
    fn an_image_without_a_tag_means_latest_and_not_all_of_them() {
        assert_eq!(tagged("python"), "python:latest");
        assert_eq!(tagged("localhost:5000/python"), "localhost:5000/python:latest");
        assert_eq!(tagged("localhost:5000/python:3.11"), "localhost:5000/python:3.11");
        assert_eq!(tagged("python@sha256:ab"), "python@sha256:ab");
    }

    #[test]
    fn progress_is_the_sum_of_the_layers_and_extraction_does_not_count_twice() {
        let step = |layer: &str, status: &str, current, total| CreateImageInfo {
            id: Some(layer.into()),
            status: Some(status.into()),
            progress_detail: Some(ProgressDetail { current: Some(current), total: Some(total) }),
            ..CreateImageInfo::default()
        };
        let mut layers = Layers::default();
        assert_eq!(layers.add(step("a", "Downloading", 10, 100)), (10, 100));
        assert_eq!(layers.add(step("b", "Downloading", 5, 50)), (15, 150));
        assert_eq!(layers.add(step("a", "Downloading", 100, 100)), (105, 150));
        assert_eq!(layers.add(step("a", "Extracting", 1, 100)), (105, 150));
    }

    #[test]
    fn an_unknown_image_is_permanent_and_a_silent_registry_is_not() {
        let answered = |status, message: &str| CallError::Answered {
            action: "pull image",
            status,
            message: message.to_owned(),
        };
        let unknown = failed("nope:1", answered(404, "pull access denied for nope"));
        assert!(unknown.is_permanent());
        let text = unknown.to_string();
        assert!(text.contains("nope:1") && text.contains("docker load"), "{text}");
        let silent = failed("nope:1", answered(500, "dial tcp: lookup registry-1.docker.io: no such host"));
        assert!(!silent.is_permanent());
        assert!(silent.to_string().contains("docker pull nope:1"), "{silent}");
    }
}
