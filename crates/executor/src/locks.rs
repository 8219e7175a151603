//! One turn at a time per unit: what makes two starts at once one start.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use the0_model::UnitId;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

/// A lock per unit. A unit nobody holds takes no room.
#[derive(Debug, Default)]
pub struct UnitLocks(Mutex<BTreeMap<UnitId, Weak<Turn<()>>>>);

impl UnitLocks {
    /// Waits for the unit's turn. It ends when the guard is dropped.
    pub async fn lock(&self, unit: &UnitId) -> OwnedMutexGuard<()> {
        self.turn(unit).lock_owned().await
    }

    /// Takes the unit's turn if nobody has it.
    pub fn try_lock(&self, unit: &UnitId) -> Option<OwnedMutexGuard<()>> {
        self.turn(unit).try_lock_owned().ok()
    }

    fn turn(&self, unit: &UnitId) -> Arc<Turn<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = turns.get(unit).and_then(Weak::upgrade).unwrap_or_default();
        turns.insert(unit.clone(), Arc::downgrade(&turn));
        turn
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn units_wait_for_themselves_and_not_for_each_other() {
        let locks = UnitLocks::default();
        let (one, two) = (UnitId::new("bot/1").unwrap(), UnitId::new("bot/2").unwrap());
        let held = locks.lock(&one).await;
        assert!(locks.try_lock(&one).is_none() && locks.try_lock(&two).is_some());
        drop(timeout(Duration::from_secs(5), locks.lock(&two)).await.expect("another unit is free"));
        assert!(timeout(Duration::from_millis(20), locks.lock(&one)).await.is_err(), "the same unit is not");
        drop(held);
        drop(timeout(Duration::from_secs(5), locks.lock(&one)).await.expect("free again"));
        locks.lock(&two).await;
        assert_eq!(locks.0.lock().unwrap().len(), 1, "what nobody holds is forgotten");
    }
}
