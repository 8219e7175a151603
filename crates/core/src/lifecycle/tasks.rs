//! Tasks: every task has a name, an answer to "what if it fails", and an end.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument, error, info_span, warn};

/// What the failure of a task means for the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// The process cannot go on without it: everything is shut down.
    Shutdown,
    /// It is logged, and the rest goes on.
    Log,
}

/// A group of tasks that end together. Cheap to clone; clones are the same group.
#[derive(Debug, Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    cancelled: CancellationToken,
    running: Arc<Mutex<BTreeMap<u64, Cow<'static, str>>>>,
    next: Arc<AtomicU64>,
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

impl Tasks {
    /// An empty group.
    pub fn new() -> Self {
        Self::with_token(CancellationToken::new())
    }

    fn with_token(cancelled: CancellationToken) -> Self {
        Self { tracker: TaskTracker::new(), cancelled, running: Arc::default(), next: Arc::default() }
    }

    /// A group that ends when this one does, or earlier by its own [`shutdown`](Self::shutdown).
    pub fn child(&self) -> Self {
        Self::with_token(self.cancelled.child_token())
    }

    /// Is cancelled when the group is to end. Tasks select on it.
    pub fn cancelled(&self) -> CancellationToken {
        self.cancelled.clone()
    }

    /// Starts a task. It must end soon after [`cancelled`](Self::cancelled) is.
    pub fn spawn<F>(&self, name: impl Into<Cow<'static, str>>, on_error: OnError, task: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let name = name.into();
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.names().insert(id, name.clone());
        let span = info_span!("task", %name);
        let (group, guard) = (self.clone(), Running { group: self.clone(), id });
        let wrapped = async move {
            let _guard = guard;
            if let Err(error) = task.await {
                match on_error {
                    OnError::Log => warn!(error = format!("{error:#}"), "task failed"),
                    OnError::Shutdown => {
                        error!(error = format!("{error:#}"), "task failed; shutting down");
                        group.cancelled.cancel();
                    }
                }
            }
        };
        self.tracker.spawn(wrapped.instrument(span));
    }

    /// Ends the group: cancels, waits for `grace`, and returns the names of the tasks that did not end.
    pub async fn shutdown(&self, grace: Duration) -> Vec<String> {
        self.cancelled.cancel();
        self.tracker.close();
        let _ = tokio::time::timeout(grace, self.tracker.wait()).await;
        self.names().values().map(ToString::to_string).collect()
    }

    fn names(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Cow<'static, str>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the name of a task off the list when it ends, by panic too.
struct Running {
    group: Tasks,
    id: u64,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.group.names().remove(&self.id);
    }
}
