//! Why code could not be had.

use std::{io, path::PathBuf};

use crate::{extract::ExtractError, open::OpenError, pack::PackError};

/// Why code could not be had, or kept.
#[derive(Debug, thiserror::Error)]
pub enum CodeError {
    /// The location is no good.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The digest given is no digest.
    #[error("code digest {digest:?}: give 64 hexadecimal digits in lower case (BLAKE3 of the bundle)")]
    NotADigest {
        /// The text.
        digest: String,
    },
    /// There is nothing at the location.
    #[error("no bundle at {location:?}")]
    NotFound {
        /// The location.
        location: String,
    },
    /// The bundle is refused.
    #[error("bundle {location:?} is refused")]
    Archive {
        /// The location.
        location: String,
        /// Why.
        #[source]
        source: ExtractError,
    },
    /// A folder on this machine cannot be taken as a bundle.
    #[error("folder {location:?} is refused")]
    Folder {
        /// The location.
        location: String,
        /// Why.
        #[source]
        source: PackError,
    },
    /// The bundle is not the one that was deployed.
    #[error("bundle {location:?} has digest {actual}, not {expected}; it was altered; deploy again")]
    Digest {
        /// The location.
        location: String,
        /// Digest that was expected.
        expected: String,
        /// Digest of what is there.
        actual: String,
    },
    /// The store failed.
    #[error("cannot {doing} bundle {location:?}")]
    Store {
        /// What was tried.
        doing: &'static str,
        /// The location.
        location: String,
        /// What the store said.
        #[source]
        source: object_store::Error,
    },
    /// The store did not answer in time.
    #[error("could not {doing} bundle {location:?} within {seconds} s")]
    Timeout {
        /// What was tried.
        doing: &'static str,
        /// The location.
        location: String,
        /// How long was waited.
        seconds: f64,
    },
    /// The cache on this machine failed.
    #[error("cannot {doing} {}", path.display())]
    Cache {
        /// What was tried.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl CodeError {
    /// Whether trying again is of no use until something is changed.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Open(OpenError::Location { .. } | OpenError::Bucket { .. })
            | Self::NotADigest { .. }
            | Self::NotFound { .. }
            | Self::Digest { .. } => true,
            Self::Archive { source, .. } => source.is_permanent(),
            Self::Folder { source, .. } => source.is_permanent(),
            Self::Open(OpenError::Store { .. } | OpenError::Folder { .. })
            | Self::Store { .. }
            | Self::Timeout { .. }
            | Self::Cache { .. } => false,
        }
    }

    /// Whether the store itself is in trouble, so that a copy kept earlier may serve.
    pub(super) fn is_store_trouble(&self) -> bool {
        matches!(self, Self::Store { .. } | Self::Timeout { .. })
    }
}
