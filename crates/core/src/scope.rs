//! Pure: which part of the world a process answers for.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use the0_model::{Generation, SegmentId};

/// A segment, given to one worker under one generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Grant {
    /// The shard.
    pub segment: SegmentId,
    /// When it was given.
    pub generation: Generation,
}

/// Which part of the world a process answers for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All of it: single-process mode. The generation grows with every start of the service.
    All {
        /// Carried by every unit started under this scope.
        generation: Generation,
    },
    /// These segments and nothing else. Empty when the lease ran out.
    Segments(BTreeSet<Grant>),
}

impl Scope {
    /// Whether a segment belongs to it.
    pub fn contains(&self, segment: SegmentId) -> bool {
        self.generation_of(segment).is_some()
    }

    /// The generation under which units of `segment` run, if it belongs to this scope.
    pub fn generation_of(&self, segment: SegmentId) -> Option<Generation> {
        match self {
            Self::All { generation } => Some(*generation),
            Self::Segments(grants) => {
                grants.iter().find(|grant| grant.segment == segment).map(|grant| grant.generation)
            }
        }
    }
}
