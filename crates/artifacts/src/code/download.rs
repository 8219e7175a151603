//! Brings a bundle here, within limits of size and time, and takes its digest on the way.

use std::{
    fs,
    future::Future,
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use futures::TryStreamExt;
use object_store::{ObjectMeta, ObjectStoreExt};
use tokio::io::AsyncWriteExt;

use super::{CodeError, cache_io};
use crate::{
    extract::{ExtractError, Limits, bytes_shown},
    open::{Object, Timeouts},
};

/// A bundle that is here.
#[derive(Debug)]
pub(super) struct Downloaded {
    /// BLAKE3 in hex.
    pub(super) digest: String,
    /// Changes when the object changes.
    pub(super) stamp: String,
}

/// Asks the store what is there now.
pub(super) async fn stamp(object: &Object, location: &str, waits: &Timeouts) -> Result<String, CodeError> {
    let meta = within(waits.call, "look up", location, object.store.head(&object.key)).await?;
    Ok(stamp_of(&meta))
}

/// Downloads the object into `file`.
pub(super) async fn download(
    object: &Object,
    location: &str,
    file: PathBuf,
    limits: &Limits,
    waits: &Timeouts,
) -> Result<Downloaded, CodeError> {
    let all = download_all(object, location, file, limits, waits);
    match tokio::time::timeout(waits.total, all).await {
        Ok(result) => result,
        Err(_) => Err(late("download", location, waits.total)),
    }
}

async fn download_all(
    object: &Object,
    location: &str,
    path: PathBuf,
    limits: &Limits,
    waits: &Timeouts,
) -> Result<Downloaded, CodeError> {
    let result = within(waits.call, "download", location, object.store.get(&object.key)).await?;
    let stamp = stamp_of(&result.meta);
    check_size(result.meta.size, location, limits)?;
    let mut stream = result.into_stream();
    let mut file = cache_io("create", &path, tokio::fs::File::create_new(&path).await)?;
    let mut hasher = blake3::Hasher::new();
    let mut size = 0;
    while let Some(bytes) = within(waits.idle, "download", location, stream.try_next()).await? {
        size += bytes.len() as u64;
        // What was declared is not trusted.
        check_size(size, location, limits)?;
        hasher.update(&bytes);
        cache_io("write", &path, file.write_all(&bytes).await)?;
    }
    cache_io("write", &path, file.flush().await)?;
    Ok(Downloaded { digest: hasher.finalize().to_hex().to_string(), stamp })
}

/// Copies a file of this machine, so that what is checked is what will run. Blocks.
pub(super) fn copy(from: &Path, to: &Path, location: &str, limits: &Limits) -> Result<Downloaded, CodeError> {
    let mut source = match fs::File::open(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(CodeError::NotFound { location: location.to_owned() });
        }
        opened => cache_io("open", from, opened)?,
    };
    let mut target = cache_io("create", to, fs::File::create_new(to))?;
    let most = limits.archive_bytes.saturating_add(1);
    let size = cache_io("copy", from, io::copy(&mut Read::by_ref(&mut source).take(most), &mut target))?;
    check_size(size, location, limits)?;
    let mut hasher = blake3::Hasher::new();
    let copied = fs::File::open(to).and_then(|file| hasher.update_reader(file).map(drop));
    cache_io("read", to, copied)?;
    Ok(Downloaded { digest: hasher.finalize().to_hex().to_string(), stamp: String::new() })
}

/// Awaits an answer of the store for so long.
pub(super) async fn within<T>(
    wait: Duration,
    doing: &'static str,
    location: &str,
    call: impl Future<Output = object_store::Result<T>>,
) -> Result<T, CodeError> {
    match tokio::time::timeout(wait, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(object_store::Error::NotFound { .. })) => {
            Err(CodeError::NotFound { location: location.to_owned() })
        }
        Ok(Err(source)) => Err(CodeError::Store { doing, location: location.to_owned(), source }),
        Err(_) => Err(late(doing, location, wait)),
    }
}

fn late(doing: &'static str, location: &str, wait: Duration) -> CodeError {
    CodeError::Timeout { doing, location: location.to_owned(), seconds: wait.as_secs_f64() }
}

fn check_size(size: u64, location: &str, limits: &Limits) -> Result<(), CodeError> {
    if size <= limits.archive_bytes {
        return Ok(());
    }
    let source =
        ExtractError::Limit { what: "the archive's size".into(), limit: bytes_shown(limits.archive_bytes) };
    Err(CodeError::Archive { location: location.to_owned(), source })
}

fn stamp_of(meta: &ObjectMeta) -> String {
    let tag = meta.e_tag.as_deref().unwrap_or_default().replace('\n', " ");
    format!("{tag} {} {}", meta.size, meta.last_modified.timestamp_micros())
}
