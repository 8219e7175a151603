//! Says how far the images are that Docker fetches: the first start of a bot may wait minutes for one.

use std::{collections::BTreeMap, time::Duration};

use the0_core::{OnError, Tasks};
use the0_executor::docker::Pulling;
use tokio::sync::watch;
use tracing::info;

/// Time between two lines; layers report many times a second.
const EVERY: Duration = Duration::from_secs(2);

/// Logs progress until the group of tasks ends.
pub(super) fn tell(mut pulling: watch::Receiver<BTreeMap<String, Pulling>>, tasks: &Tasks) {
    let cancelled = tasks.cancelled();
    tasks.spawn("pulls", OnError::Log, async move {
        let telling = async {
            while pulling.changed().await.is_ok() {
                for pull in pulling.borrow_and_update().values() {
                    info!(image = pull.image, "fetching: {}", progress(pull));
                }
                tokio::time::sleep(EVERY).await;
            }
        };
        let _ = cancelled.run_until_cancelled(telling).await;
        Ok(())
    });
}

fn progress(pull: &Pulling) -> String {
    let (done, total) = (pull.done >> 20, pull.total >> 20);
    if pull.total == 0 { "asking the registry".to_owned() } else { format!("{done} of {total} MiB") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_reads_in_mebibytes() {
        let pull = |done, total| Pulling { image: "x".to_owned(), done, total };
        assert_eq!(progress(&pull(5 << 20, 30 << 20)), "5 of 30 MiB");
        assert_eq!(progress(&pull(0, 0)), "asking the registry");
    }
}
