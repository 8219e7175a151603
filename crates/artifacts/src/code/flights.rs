//! Lets one task at a time fetch from a place; the others wait and then find it here.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::OwnedMutexGuard;

type Lane = Arc<tokio::sync::Mutex<()>>;

/// Places being fetched from.
#[derive(Debug, Default)]
pub(super) struct Flights {
    lanes: Mutex<BTreeMap<String, Lane>>,
}

impl Flights {
    /// Waits until no other task fetches from `location`. Hold the guard while fetching.
    pub(super) async fn join(&self, location: &str) -> OwnedMutexGuard<()> {
        let lane = {
            let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
            // Lanes nobody waits in are dropped here, so the map holds no more than there are fetches.
            lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
            Arc::clone(lanes.entry(location.to_owned()).or_default())
        };
        lane.lock_owned().await
    }
}
