//! The code cache as the executors want it.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use the0_artifacts::{CodeCache, CodeError};
use the0_core::ExecutorError;
use the0_executor::provision::CodeSource;
use the0_model::CodeRef;

/// Unpacked bundles from the cache.
#[derive(Debug)]
pub(super) struct CachedSource(pub(super) Arc<CodeCache>);

#[async_trait]
impl CodeSource for CachedSource {
    async fn fetch(&self, code: &CodeRef) -> Result<PathBuf, ExecutorError> {
        self.0.fetch(code).await.map(|cached| cached.dir).map_err(|error| refusal(&error))
    }
}

fn refusal(error: &CodeError) -> ExecutorError {
    let mut reason = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(here) = cause {
        reason = format!("{reason}: {here}");
        cause = here.source();
    }
    if error.is_permanent() {
        ExecutorError::Refused { reason }
    } else {
        ExecutorError::Failed { action: "fetch the code", reason }
    }
}
