//! Takes in a bundle that an operator deploys.

use std::{io, path::Path};

use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};
use the0_model::{BotId, objects};
use tokio::io::AsyncReadExt;

use super::{CachedCode, CodeCache, CodeError, blocking, cache_io, download, download::within};
use crate::open::{Object, Timeouts};

/// Bundles up to this size go up in one call, larger ones in parts of it. At least 5 MiB is asked by S3.
const PART_BYTES: usize = 8 << 20;

/// A bundle that is in the store, and unpacked in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBundle {
    /// Where it is in the code bucket: what goes into `CodeRef::location`.
    pub key: String,
    /// BLAKE3 of the bundle in hex: what goes into `CodeRef::digest`.
    pub digest: String,
    /// Size of the bundle, in bytes.
    pub size: u64,
    /// The unpacked tree.
    pub dir: std::path::PathBuf,
}

impl CodeCache {
    /// Checks a bundle by unpacking it, asks `accept` about the unpacked tree (does it hold its entrypoint?), stores it
    /// under its digest and leaves it unpacked in the cache. After an error nothing of it is left, here or in the store.
    ///
    /// The outer error is ours, the inner one that of `accept`.
    pub async fn store_bundle<E: Send + 'static>(
        &self,
        bot: &BotId,
        archive: &Path,
        accept: impl FnOnce(&Path) -> Result<(), E> + Send + 'static,
    ) -> Result<Result<StoredBundle, E>, CodeError> {
        let bundle = self.bundle_file()?;
        let (from, limits) = (archive.to_owned(), self.limits);
        // The copy is ours: whoever still writes to the original cannot change what was checked.
        let (bundle, digest) = blocking(&self.root, move || {
            let copied = download::copy(&from, &bundle.file(), "upload", &limits)?;
            Ok((bundle, copied.digest))
        })
        .await?;
        let size = cache_io("read", &bundle.file(), bundle.file().metadata())?.len();
        let tree = self.unpack(&bundle, "upload").await?;
        let (tree, accepted) = blocking(&self.root, move || {
            let accepted = accept(tree.path());
            Ok((tree, accepted))
        })
        .await?;
        if let Err(refused) = accepted {
            return Ok(Err(refused));
        }
        let key = objects::deployed_code(bot, &digest);
        let object = self.stores.code(&key)?;
        put(&object, &key, &bundle.file(), size, self.stores.timeouts()).await?;
        let CachedCode { dir, digest } = self.publish(tree, &digest).await?;
        Ok(Ok(StoredBundle { key, digest, size, dir }))
    }

    /// Removes a bundle from the store, for a bot that is deleted. One that is not there counts as removed.
    pub async fn remove_bundle(&self, bot: &BotId, digest: &str) -> Result<(), CodeError> {
        if !super::is_digest(digest) {
            return Err(CodeError::NotADigest { digest: digest.to_owned() });
        }
        let key = objects::deployed_code(bot, digest);
        let object = self.stores.code(&key)?;
        match within(self.stores.timeouts().call, "remove", &key, object.store.delete(&object.key)).await {
            Err(CodeError::NotFound { .. }) => Ok(()),
            result => result,
        }
    }
}

async fn put(object: &Object, key: &str, file: &Path, size: u64, waits: &Timeouts) -> Result<(), CodeError> {
    // The key says what the content is, so what is there already is right.
    if let Ok(meta) = within(waits.call, "look up", key, object.store.head(&object.key)).await
        && meta.size == size
    {
        return Ok(());
    }
    let mut file = Parts { inner: cache_io("open", file, tokio::fs::File::open(file).await)? };
    let first = cache_io("read", Path::new(key), file.next().await)?;
    if first.len() < PART_BYTES {
        let stored = object.store.put(&object.key, PutPayload::from(first));
        return within(waits.call, "store", key, stored).await.map(drop);
    }
    let mut upload = within(waits.call, "store", key, object.store.put_multipart(&object.key)).await?;
    let result = put_parts(upload.as_mut(), first, &mut file, key, waits).await;
    if result.is_err() {
        // Best effort: a store that does not answer removes unfinished uploads by its own rules.
        let _ = within(waits.call, "give up storing", key, upload.abort()).await;
    }
    result
}

async fn put_parts(
    upload: &mut dyn MultipartUpload,
    first: Vec<u8>,
    file: &mut Parts,
    key: &str,
    waits: &Timeouts,
) -> Result<(), CodeError> {
    let mut part = first;
    while !part.is_empty() {
        within(waits.call, "store", key, upload.put_part(PutPayload::from(part))).await?;
        part = cache_io("read", Path::new(key), file.next().await)?;
    }
    within(waits.call, "store", key, upload.complete()).await.map(drop)
}

struct Parts {
    inner: tokio::fs::File,
}

impl Parts {
    async fn next(&mut self) -> io::Result<Vec<u8>> {
        let mut part = Vec::with_capacity(PART_BYTES);
        (&mut self.inner).take(PART_BYTES as u64).read_to_end(&mut part).await?;
        Ok(part)
    }
}
