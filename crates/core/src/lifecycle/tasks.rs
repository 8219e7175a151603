//! Tasks: every task has a name, an answer to "what if it fails", and an end.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    future::Future,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::FutureExt;
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
    #[must_use]
    pub fn child(&self) -> Self {
        Self::with_token(self.cancelled.child_token())
    }

    /// Is cancelled when the group is to end. Tasks select on it.
    pub fn cancelled(&self) -> CancellationToken {
        self.cancelled.clone()
    }

    /// Starts a task. It must end soon after [`cancelled`](Self::cancelled) is. A panic counts as an error.
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
            let ended = AssertUnwindSafe(task).catch_unwind().await;
            if let Err(error) = ended.unwrap_or_else(|panic| Err(panicked(panic.as_ref()))) {
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

fn panicked(panic: &(dyn std::any::Any + Send)) -> anyhow::Error {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    anyhow::anyhow!("panicked: {}", text.unwrap_or("no message"))
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

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    const GRACE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_failed_task_ends_the_others_only_if_it_says_so() {
        for (on_error, ends) in [(OnError::Log, false), (OnError::Shutdown, true)] {
            for panics in [false, true] {
                let tasks = Tasks::new();
                tasks.spawn("sick", on_error, async move {
                    assert!(!panics, "on purpose");
                    bail!("on purpose")
                });
                let waited = tokio::time::timeout(GRACE, tasks.cancelled().cancelled_owned()).await;
                assert_eq!(waited.is_ok(), ends, "{on_error:?}, panics: {panics}");
                assert_eq!(
                    tasks.shutdown(GRACE).await,
                    Vec::<String>::new(),
                    "a panicked task is off the list"
                );
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn shutdown_waits_for_the_obedient_and_names_the_stragglers() {
        let tasks = Tasks::new();
        let cancelled = tasks.cancelled();
        let done = CancellationToken::new();
        let finished = done.clone().drop_guard();
        tasks.spawn("obedient", OnError::Log, async move {
            cancelled.cancelled().await;
            tokio::time::sleep(GRACE / 2).await;
            drop(finished);
            Ok(())
        });
        tasks.spawn("deaf", OnError::Log, std::future::pending());
        assert_eq!(tasks.shutdown(GRACE).await, ["deaf"]);
        assert!(done.is_cancelled(), "the obedient one had its time");
    }

    #[tokio::test(start_paused = true)]
    async fn a_child_group_ends_with_its_parent_but_not_the_other_way_round() {
        let parent = Tasks::new();
        let (first, second) = (parent.child(), parent.child());
        first.shutdown(GRACE).await;
        assert!(!parent.cancelled().is_cancelled() && !second.cancelled().is_cancelled());
        parent.shutdown(GRACE).await;
        assert!(second.cancelled().is_cancelled());
    }
}
