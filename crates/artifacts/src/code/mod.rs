//! A cache of unpacked bundles, under the digest of each.
//!
//! A tree appears under its digest in one step and whole, or not at all: it is written elsewhere and renamed last. It is
//! read-only and readable for all, because bots of other users run it.

mod download;
mod entrypoint;
mod error;
mod flights;
mod index;
mod publish;
mod store;

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use the0_model::CodeRef;

use self::{download::Downloaded, flights::Flights, index::Index};
pub use self::{
    entrypoint::{MissingFile, require_file},
    error::CodeError,
    store::StoredBundle,
};
use crate::{
    extract::{Format, Limits, fill},
    open::{Object, ObjectStores, Place},
    pack,
    scratch::{self, Scratch},
};

/// Temporary folders older than this are leftovers: no fetch is allowed to last that long.
const LEFTOVER_AGE: Duration = Duration::from_hours(1);

/// An unpacked bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedCode {
    /// The read-only tree.
    pub dir: PathBuf,
    /// BLAKE3 of the bundle, in hex.
    pub digest: String,
}

/// Fetches bundles, unpacks them once, and keeps them.
#[derive(Debug)]
pub struct CodeCache {
    stores: Arc<ObjectStores>,
    root: PathBuf,
    limits: Limits,
    index: Index,
    flights: Flights,
}

impl CodeCache {
    /// Opens the cache in `root` (`<data dir>/cache/code`), which is made if missing, and removes leftovers of crashes.
    ///
    /// Other processes may use the same folder at the same time. Blocks shortly.
    pub fn new(
        stores: Arc<ObjectStores>,
        root: impl Into<PathBuf>,
        limits: Limits,
    ) -> Result<Self, CodeError> {
        let root = root.into();
        let failed = |doing, source| CodeError::Cache { doing, path: root.clone(), source };
        let index = root.join(".index");
        fs::create_dir_all(&index).map_err(|source| failed("make the cache", source))?;
        let readable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&root, readable).map_err(|source| failed("open the cache to bots", source))?;
        let swept = scratch::sweep(&root, LEFTOVER_AGE).map_err(|source| failed("clean", source))?;
        if swept > 0 {
            tracing::info!(swept, "removed leftovers from the code cache");
        }
        Ok(Self { stores, index: Index::new(index), root, limits, flights: Flights::default() })
    }

    /// Returns the unpacked bundle, fetching it first where it is not here. Safe to cancel.
    ///
    /// With a digest that is here, nothing is asked of the network. Without a digest the store is asked whether the object
    /// changed; while the store is in trouble, what this location held last is used.
    pub async fn fetch(&self, code: &CodeRef) -> Result<CachedCode, CodeError> {
        if let Some(hit) = self.known(code)? {
            return Ok(hit);
        }
        let _alone = self.flights.join(&code.location).await;
        if let Some(hit) = self.known(code)? {
            return Ok(hit);
        }
        match self.stores.resolve(&code.location)? {
            Place::Object(object) => self.fetch_object(&object, code).await,
            Place::Local(path) => self.fetch_local(path, code).await,
        }
    }

    /// Removes trees that nobody needs, those used longest ago first, until at most `max_bytes` are left. Those in `keep`
    /// stay. Returns the digests removed. Blocks.
    pub fn prune(&self, keep: &BTreeSet<String>, max_bytes: u64) -> Result<Vec<String>, CodeError> {
        publish::prune(&self.root, keep, max_bytes)
    }

    fn known(&self, code: &CodeRef) -> Result<Option<CachedCode>, CodeError> {
        let Some(digest) = &code.digest else { return Ok(None) };
        if !is_digest(digest) {
            return Err(CodeError::NotADigest { digest: digest.clone() });
        }
        Ok(self.hit(digest))
    }

    fn hit(&self, digest: &str) -> Option<CachedCode> {
        let dir = self.root.join(digest);
        publish::touch(&dir).then(|| CachedCode { dir, digest: digest.to_owned() })
    }

    async fn fetch_object(&self, object: &Object, code: &CodeRef) -> Result<CachedCode, CodeError> {
        if code.digest.is_none() {
            let last = self.index.last(&code.location);
            match (download::stamp(object, &code.location, self.stores.timeouts()).await, last) {
                (Ok(stamp), Some(last)) if last.stamp == stamp => {
                    if let Some(hit) = self.hit(&last.digest) {
                        return Ok(hit);
                    }
                }
                (Ok(_), _) => {}
                (Err(error), Some(last)) if error.is_store_trouble() => {
                    let hit = self.hit(&last.digest).ok_or(error)?;
                    tracing::warn!(
                        location = code.location,
                        "the store does not answer; using the bundle kept here"
                    );
                    return Ok(hit);
                }
                (Err(error), _) => return Err(error),
            }
        }
        let bundle = self.bundle_file()?;
        let downloaded =
            download::download(object, &code.location, bundle.file(), &self.limits, self.stores.timeouts())
                .await?;
        let stamp = downloaded.stamp.clone();
        let cached = self.keep(bundle, downloaded, code).await?;
        if let Err(error) = self.index.record(&code.location, &stamp, &cached.digest) {
            // Only costs a download the next time.
            tracing::warn!(location = code.location, %error, "cannot note where the bundle came from");
        }
        Ok(cached)
    }

    async fn fetch_local(&self, path: PathBuf, code: &CodeRef) -> Result<CachedCode, CodeError> {
        let bundle = self.bundle_file()?;
        let (location, limits) = (code.location.clone(), self.limits);
        let (bundle, downloaded) = blocking(&self.root, move || {
            let downloaded = if path.is_dir() {
                pack::pack(&path, &bundle.file(), Format::Zip, &limits, &mut |_| ())
                    .map(|packed| Downloaded { digest: packed.digest, stamp: String::new() })
                    .map_err(|source| CodeError::Folder { location, source })
            } else {
                download::copy(&path, &bundle.file(), &location, &limits)
            };
            downloaded.map(|downloaded| (bundle, downloaded))
        })
        .await?;
        self.keep(bundle, downloaded, code).await
    }

    /// Checks the digest, unpacks and publishes.
    async fn keep(
        &self,
        bundle: BundleFile,
        downloaded: Downloaded,
        code: &CodeRef,
    ) -> Result<CachedCode, CodeError> {
        let actual = downloaded.digest;
        if let Some(expected) = &code.digest
            && *expected != actual
        {
            let (location, expected) = (code.location.clone(), expected.clone());
            return Err(CodeError::Digest { location, expected, actual });
        }
        if let Some(hit) = self.hit(&actual) {
            return Ok(hit);
        }
        let tree = self.unpack(&bundle, &code.location).await?;
        self.publish(tree, &actual).await
    }

    /// Unpacks into a scratch folder.
    async fn unpack(&self, bundle: &BundleFile, location: &str) -> Result<Scratch, CodeError> {
        let (root, limits, path) = (self.root.clone(), self.limits, bundle.file());
        let location = location.to_owned();
        blocking(&self.root, move || {
            let tree = cache_io("make a folder in", &root, Scratch::directory(&root))?;
            let mut file = cache_io("open", &path, fs::File::open(&path))?;
            fill(&mut file, tree.path(), &limits)
                .map_err(|source| CodeError::Archive { location, source })?;
            Ok(tree)
        })
        .await
    }

    async fn publish(&self, tree: Scratch, digest: &str) -> Result<CachedCode, CodeError> {
        let dir = self.root.join(digest);
        let place = dir.clone();
        blocking(&self.root, move || publish::publish(tree, &place)).await?;
        Ok(CachedCode { dir, digest: digest.to_owned() })
    }

    fn bundle_file(&self) -> Result<BundleFile, CodeError> {
        let scratch = cache_io("make a folder in", &self.root, Scratch::directory(&self.root))?;
        Ok(BundleFile { scratch })
    }
}

/// A place for a bundle while it is worked on.
#[derive(Debug)]
struct BundleFile {
    scratch: Scratch,
}

impl BundleFile {
    fn file(&self) -> PathBuf {
        self.scratch.path().join("bundle")
    }
}

/// Whether the text can name a tree: exactly what `blake3` prints, so that it never leads outside.
fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn cache_io<T>(doing: &'static str, path: &Path, result: io::Result<T>) -> Result<T, CodeError> {
    result.map_err(|source| CodeError::Cache { doing, path: path.to_owned(), source })
}

/// Runs work on archives and disks where it may block.
async fn blocking<T: Send + 'static>(
    root: &Path,
    work: impl FnOnce() -> Result<T, CodeError> + Send + 'static,
) -> Result<T, CodeError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => cache_io("work in", root, Err(io::Error::other(error))),
    }
}

#[cfg(test)]
mod tests;
