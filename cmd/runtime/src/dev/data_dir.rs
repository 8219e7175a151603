//! The directory for everything that is kept.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use crate::exit::{Exit, Failure};

/// A directory that exists, can be written to and has room.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    id: String,
}

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
        let id = identity(&path).map_err(|error| refuse(&error))?;
        Ok(Self { path, id })
    }

    /// The directory, absolute.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What marks its containers: the same at every start, and wherever it is moved. Bots that went on while it was moved
    /// would otherwise not be found, and be started a second time.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The lock of the service that uses it.
    pub(crate) fn lock(&self) -> PathBuf {
        self.path.join("runtime.lock")
    }

    /// The store of bots.
    pub(crate) fn database(&self) -> PathBuf {
        self.path.join("runtime.db")
    }

    /// The store of objects.
    pub(crate) fn objects(&self) -> PathBuf {
        self.path.join("objects")
    }

    /// Unpacked bundles.
    pub(crate) fn code_cache(&self) -> PathBuf {
        self.path.join("cache/code")
    }

    /// Uploads on their way.
    pub(crate) fn spool(&self) -> PathBuf {
        self.path.join("cache/uploads")
    }

    /// Agents, by digest.
    pub(crate) fn tools(&self) -> PathBuf {
        self.path.join("tools")
    }

    /// What units leave.
    pub(crate) fn units(&self) -> PathBuf {
        self.path.join("units")
    }
}

/// Reads the id of a directory, which is made with it and kept in it.
fn identity(path: &Path) -> io::Result<String> {
    let file = path.join("id");
    if let Some(id) = read_identity(&file)? {
        return Ok(id);
    }
    let id = if path.join("runtime.db").exists() {
        // From before there were ids: its containers are marked with where it was.
        blake3::hash(path.as_os_str().as_encoded_bytes())
    } else {
        blake3::hash(&fs::read("/proc/sys/kernel/random/uuid")?)
    };
    let mut draft = tempfile::NamedTempFile::new_in(path)?;
    draft.write_all(id.to_hex().as_bytes())?;
    draft.as_file().sync_all()?;
    match draft.persist_noclobber(&file) {
        Err(other) if other.error.kind() != io::ErrorKind::AlreadyExists => return Err(other.error),
        // Another start was faster; it is the lock that says which of them goes on.
        Ok(_) | Err(_) => {}
    }
    read_identity(&file)?.ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// A damaged id is an error: with another one, bots that run would be started again.
fn read_identity(file: &Path) -> io::Result<Option<String>> {
    let text = match fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    let id = blake3::Hash::from_hex(text.trim()).map_err(|error| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{} is damaged: {error}", file.display()))
    })?;
    Ok(Some(id.to_hex().to_string()))
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
    #[test]
    fn its_id_stays_wherever_it_is_moved_and_is_no_others() {
        let home = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| home.path().join(name));
        let id = DataDir::open(&one, 0).unwrap().id;
        assert_eq!(DataDir::open(&one, 0).unwrap().id(), id);
        fs::rename(&one, &two).unwrap();
        assert_eq!(DataDir::open(&two, 0).unwrap().id(), id);
        assert_ne!(DataDir::open(&one, 0).unwrap().id(), id, "a new one in the old place");
        fs::write(two.join("id"), "").unwrap();
        assert!(format!("{:?}", DataDir::open(&two, 0).unwrap_err()).contains("damaged"));
    }

    #[test]
    fn a_directory_from_before_there_were_ids_keeps_its_mark() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("runtime.db"), "").unwrap();
        let path = fs::canonicalize(dir.path()).unwrap();
        let mark = blake3::hash(path.as_os_str().as_encoded_bytes()).to_hex().to_string();
        assert_eq!(DataDir::open(dir.path(), 0).unwrap().id(), mark);
    }
}
