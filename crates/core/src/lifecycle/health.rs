//! Whether the process is ready to work, and if not, why.

use std::{borrow::Cow, collections::BTreeMap};

use tokio::sync::watch;

/// Why a process is not ready: the part that is not, and the reason. Empty when it is ready.
pub type Reasons = BTreeMap<Cow<'static, str>, String>;

/// Readiness of a process, from what its parts say. Cheap to clone; clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Health {
    reasons: watch::Sender<Reasons>,
}

impl Health {
    /// A process all of whose parts are ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// A part is not ready; `reason` says why.
    pub fn not_ready(&self, part: impl Into<Cow<'static, str>>, reason: impl Into<String>) {
        let (part, reason) = (part.into(), reason.into());
        self.reasons.send_if_modified(|reasons| {
            let changed = reasons.get(&part) != Some(&reason);
            reasons.insert(part, reason);
            changed
        });
    }

    /// A part is ready.
    pub fn ready(&self, part: &str) {
        self.reasons.send_if_modified(|reasons| reasons.remove(part).is_some());
    }

    /// Whether every part is ready.
    pub fn is_ready(&self) -> bool {
        self.reasons.borrow().is_empty()
    }

    /// The reasons, now and whenever they change.
    pub fn watch(&self) -> watch::Receiver<Reasons> {
        self.reasons.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_ready_when_no_part_objects_and_tells_only_of_changes() {
        let health = Health::new();
        let mut seen = health.watch();
        assert!(health.is_ready());
        health.not_ready("store", "does not answer");
        health.not_ready("executor", "starts");
        assert!(seen.has_changed().unwrap());
        assert_eq!(seen.borrow_and_update().len(), 2);
        health.not_ready("store", "does not answer");
        health.ready("unheard of");
        assert!(!seen.has_changed().unwrap(), "nothing changed");
        health.ready("store");
        assert!(!health.is_ready());
        health.ready("executor");
        assert!(health.is_ready());
    }
}
