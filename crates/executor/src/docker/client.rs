//! Calls to Docker, each with a time limit, and what their failure means.

use std::{fmt, future::Future, io, time::Duration};

use bollard::{
    API_DEFAULT_VERSION, Docker,
    container::LogOutput,
    errors::Error,
    models::{ContainerInspectResponse, ContainerSummary},
    query_parameters::{
        InspectContainerOptions, ListContainersOptionsBuilder, LogsOptionsBuilder,
        RemoveContainerOptionsBuilder, StopContainerOptionsBuilder,
    },
};
use futures::StreamExt;
use the0_core::ExecutorError;
use the0_model::exit::{LAST_LINE_BYTES_MAX, LAST_LINES_MAX};

use super::NAME;

/// Where Docker listens unless told otherwise.
pub(super) const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";
/// The client's own limit must not cut a long stop short; each call has its own, shorter one.
const CLIENT_TIMEOUT_SECS: u64 = 2 * 3600;

/// A connection to Docker. Cheap to clone; every call opens a socket of its own, so a restart of Docker needs no
/// reconnect.
#[derive(Debug, Clone)]
pub(super) struct Client {
    docker: Docker,
    host: String,
    limit: Duration,
}

/// Why a call failed.
#[derive(Debug)]
pub(super) enum CallError {
    /// Docker answered and refused.
    Answered { action: &'static str, status: u16, message: String },
    /// It did not answer, or its answer broke off: what was asked for may have happened.
    Unknown { reason: String },
}

impl CallError {
    pub(super) fn is(&self, wanted: u16) -> bool {
        matches!(self, Self::Answered { status, .. } if *status == wanted)
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered { action, status, message } => write!(f, "{action} failed: {message} ({status})"),
            Self::Unknown { reason } => f.write_str(reason),
        }
    }
}

impl From<CallError> for ExecutorError {
    fn from(error: CallError) -> Self {
        match error {
            // 400: Docker understood and will say the same again.
            CallError::Answered { action, status: 400, message } => {
                Self::Refused { reason: format!("{action}: docker refuses: {message}") }
            }
            CallError::Answered { action, status, message } => {
                Self::Failed { action, reason: format!("{message} (status {status})") }
            }
            CallError::Unknown { reason } => Self::Unreachable { executor: NAME, reason },
        }
    }
}

impl Client {
    /// Prepares a connection to `host` (`unix://…`, a bare path, `tcp://…` or `http://…`); asks nothing yet.
    pub(super) fn new(host: Option<&str>, limit: Duration) -> Result<Self, ExecutorError> {
        let host = host.unwrap_or(DEFAULT_HOST).to_owned();
        let connected = match host.split_once("://") {
            Some(("tcp" | "http", _)) => {
                Docker::connect_with_http(&host, CLIENT_TIMEOUT_SECS, API_DEFAULT_VERSION)
            }
            Some(("unix", _)) | None => {
                Docker::connect_with_unix(&host, CLIENT_TIMEOUT_SECS, API_DEFAULT_VERSION)
            }
            Some((scheme, _)) => {
                let reason =
                    format!("docker host {host:?}: {scheme}:// is not supported; use unix:// or tcp://");
                return Err(ExecutorError::Refused { reason });
            }
        };
        match connected {
            Ok(docker) => Ok(Self { docker, host, limit }),
            Err(error) => Err(CallError::Unknown { reason: unreachable(&host, &error) }.into()),
        }
    }

    /// The client itself, for streams. They have limits of their own.
    pub(super) fn raw(&self) -> &Docker {
        &self.docker
    }

    /// Runs one call within the ordinary limit.
    pub(super) fn call<T>(
        &self,
        action: &'static str,
        call: impl Future<Output = Result<T, Error>> + Send,
    ) -> impl Future<Output = Result<T, CallError>> + Send {
        self.call_within(action, self.limit, call)
    }

    /// Runs one call within `limit`.
    pub(super) fn call_within<T>(
        &self,
        action: &'static str,
        limit: Duration,
        call: impl Future<Output = Result<T, Error>> + Send,
    ) -> impl Future<Output = Result<T, CallError>> + Send {
        // The client's futures are large, and whoever waits for one would carry it along.
        let call = Box::pin(call);
        async move {
            match tokio::time::timeout(limit, call).await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(error)) => Err(self.explain(action, &error)),
                Err(_) => Err(CallError::Unknown {
                    reason: format!("{} did not answer within {limit:?} ({action})", self.host),
                }),
            }
        }
    }

    /// What a failure of a call or stream means.
    pub(super) fn explain(&self, action: &'static str, error: &Error) -> CallError {
        if let Error::DockerResponseServerError { status_code, message } = error {
            return CallError::Answered { action, status: *status_code, message: message.trim().to_owned() };
        }
        if let Error::DockerStreamError { error } = error {
            return CallError::Answered { action, status: 500, message: error.trim().to_owned() };
        }
        CallError::Unknown { reason: format!("{action}: {}", unreachable(&self.host, error)) }
    }

    /// A container, if it is there.
    pub(super) async fn inspect(
        &self,
        container: &str,
    ) -> Result<Option<Box<ContainerInspectResponse>>, CallError> {
        let call = self.docker.inspect_container(container, None::<InspectContainerOptions>);
        match self.call("inspect container", async { call.await.map(Box::new) }).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every container that carries all of these labels (`name=value`), stopped ones included.
    pub(super) async fn list(&self, labels: Vec<String>) -> Result<Vec<ContainerSummary>, CallError> {
        let filters = [("label".to_owned(), labels)].into_iter().collect();
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        self.call("list containers", self.docker.list_containers(Some(options))).await
    }

    /// Asks a container to end and has it killed after `grace_secs`. An ended one is fine.
    pub(super) async fn stop(&self, container: &str, grace_secs: u32) -> Result<(), CallError> {
        let options =
            StopContainerOptionsBuilder::new().t(i32::try_from(grace_secs).unwrap_or(i32::MAX)).build();
        let limit = Duration::from_secs(grace_secs.into()) + self.limit;
        self.call_within("stop container", limit, self.docker.stop_container(container, Some(options))).await
    }

    /// Removes a container with its anonymous volumes, by force. An absent one is fine. False if its removal was under
    /// way already and may take a moment more.
    pub(super) async fn remove(&self, container: &str) -> Result<bool, CallError> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        let call = self.docker.remove_container(container, Some(options));
        match self.call("remove container", call).await {
            Ok(()) => Ok(true),
            Err(error) if error.is(404) => Ok(true),
            Err(error) if error.is(409) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The last lines in Docker's own log. They are an aid: without an answer there are none.
    pub(super) async fn last_words(&self, container: &str) -> Vec<String> {
        let tail = LAST_LINES_MAX.to_string();
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(&tail).build();
        let lines = self.docker.logs(container, Some(options)).take(LAST_LINES_MAX);
        let read = lines.filter_map(async |line| line.ok().map(LogOutput::into_bytes)).map(|bytes| {
            let end = bytes.len().min(LAST_LINE_BYTES_MAX);
            String::from_utf8_lossy(&bytes[..end]).trim_end().to_owned()
        });
        tokio::time::timeout(self.limit, read.collect()).await.unwrap_or_default()
    }
}

/// Says what is wrong with the connection and what would mend it.
fn unreachable(host: &str, error: &Error) -> String {
    let hint = "start Docker (for example `systemctl start docker`), name its socket (DOCKER_HOST), or use \
                `--executor sandbox`";
    if let Error::SocketNotFoundError(path) = error {
        return format!("there is no socket at {path}; {hint}");
    }
    match io_kind(error) {
        Some(io::ErrorKind::NotFound) => format!("there is no socket at {host}; {hint}"),
        Some(io::ErrorKind::ConnectionRefused) => format!("nothing listens at {host}; {hint}"),
        Some(io::ErrorKind::PermissionDenied) => {
            format!("no permission for {host}; join its group (usually `docker`) or use `--executor sandbox`")
        }
        _ => format!("the connection to {host} failed: {}", chain(error)),
    }
}

fn io_kind(error: &Error) -> Option<io::ErrorKind> {
    causes(error).find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind)
}

fn chain(error: &Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    for cause in causes(error) {
        let text = cause.to_string();
        // Some wrappers repeat what they wrap.
        if texts.last().is_none_or(|last| !last.contains(&text)) {
            texts.push(text);
        }
    }
    texts.join(": ")
}

fn causes(error: &Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    let first: &(dyn std::error::Error + 'static) = error;
    std::iter::successors(Some(first), |cause: &&'_ (dyn std::error::Error + 'static)| (*cause).source())
}
