//! The directory for everything that is kept.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use crate::exit::{Exit, Failure};

/// A directory that exists, can be written to and has room.
#[derive(Debug)]
pub(crate) struct DataDir(PathBuf);

impl DataDir {
    /// Makes the directory if it is missing, and checks it.
    pub(crate) fn open(path: &Path, min_free_bytes: u64) -> Result<Self, Failure> {
        let shown = path.display();
        let advice = "choose another directory with --data-dir";
        let refuse = |error: &io::Error| {
            let is = |kinds: [io::ErrorKind; 2]| kinds.contains(&error.kind());
            if is([io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded]) {
                return full(path, 0, min_free_bytes);
            }
            let denied = is([io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem]);
            let what = if denied { "is not writable" } else { "cannot be used" };
            Failure::failed(format!("the data directory {shown} {what}: {error}")).and(advice)
        };
        // Only its owner may look inside: configurations hold keys.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| refuse(&error))?;
        let path = fs::canonicalize(path).map_err(|error| refuse(&error))?;
        let probe = path.join(format!(".probe-{}", std::process::id()));
        let written = fs::write(&probe, b"probe");
        let _ = fs::remove_file(&probe);
        let free = fs4::available_space(&path).map_err(|error| refuse(&error))?;
        if free < min_free_bytes {
            return Err(full(&path, free, min_free_bytes));
        }
        written.map_err(|error| refuse(&error))?;
        Ok(Self(path))
    }

    /// The directory, absolute.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A short name for it that is the same at every start: it marks our containers.
    pub(crate) fn hash(&self) -> String {
        blake3::hash(self.0.as_os_str().as_encoded_bytes()).to_hex().to_string()
    }

    /// The lock of the service that uses it.
    pub(crate) fn lock(&self) -> PathBuf {
        self.0.join("runtime.lock")
    }

    /// The store of bots.
    pub(crate) fn database(&self) -> PathBuf {
        self.0.join("runtime.db")
    }

    /// The store of objects.
    pub(crate) fn objects(&self) -> PathBuf {
        self.0.join("objects")
    }

    /// Unpacked bundles.
    pub(crate) fn code_cache(&self) -> PathBuf {
        self.0.join("cache/code")
    }

    /// Uploads on their way.
    pub(crate) fn spool(&self) -> PathBuf {
        self.0.join("cache/uploads")
    }

    /// Agents, by digest.
    pub(crate) fn tools(&self) -> PathBuf {
        self.0.join("tools")
    }

    /// What units leave.
    pub(crate) fn units(&self) -> PathBuf {
        self.0.join("units")
    }
}

fn full(path: &Path, free: u64, needed: u64) -> Failure {
    let (free, needed) = (free >> 20, needed >> 20);
    Failure::new(
        Exit::Failed,
        format!("the data directory {} is full: {free} MiB free, {needed} MiB needed", path.display()),
    )
    .and("free some space, choose another directory with --data-dir, or lower --min-free-bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_without_room_or_that_is_a_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(DataDir::open(&dir.path().join("new/one"), 0).is_ok());
        let full = format!("{:?}", DataDir::open(dir.path(), u64::MAX).unwrap_err());
        assert!(full.contains("is full"), "{full}");
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let refused = format!("{:?}", DataDir::open(&file, 0).unwrap_err());
        assert!(refused.contains("cannot be used") && refused.contains("--data-dir"), "{refused}");
    }
}
