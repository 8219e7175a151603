//! Reads the output of a unit that does not exist.

use futures::stream::{self, BoxStream, StreamExt};
use the0_model::UnitId;
use tokio::sync::watch;

use super::FakeExecutor;
use crate::executor::{ExecutorError, LogRecord};

/// A place in the output of a unit.
pub(super) struct Reader {
    pub(super) executor: FakeExecutor,
    pub(super) unit: UnitId,
    pub(super) attempt: u64,
    pub(super) from: usize,
    pub(super) follow: bool,
}

impl Reader {
    /// The lines from here on; `changes` tells when there may be more.
    pub(super) fn lines(
        self,
        changes: watch::Receiver<u64>,
    ) -> BoxStream<'static, Result<LogRecord, ExecutorError>> {
        let lines = stream::unfold((self, changes), |(mut reader, mut changes)| async move {
            let record = reader.next(&mut changes).await?;
            Some((Ok(record), (reader, changes)))
        });
        lines.boxed()
    }

    async fn next(&mut self, changes: &mut watch::Receiver<u64>) -> Option<LogRecord> {
        loop {
            changes.borrow_and_update();
            let gone = !self.executor.has(&self.unit);
            if let Some((attempt, place, line)) =
                self.executor.line(&self.unit, self.attempt, self.from, self.follow)
            {
                (self.attempt, self.from) = (attempt, place + 1);
                return Some(LogRecord { attempt, line });
            }
            if !self.follow || gone || changes.changed().await.is_err() {
                return None;
            }
        }
    }
}
