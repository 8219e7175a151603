//! Writes accepted entries into a fresh folder, and counts what they cost.

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::{
    ExtractError, Limits,
    error::shown,
    inside::{self, Kind, Names},
    limits::bytes_shown,
};

/// A tree being written. The folder was made by us and is empty at first, and only files and folders are ever put into it,
/// so no path below it leads through a link.
#[derive(Debug)]
pub(crate) struct Tree<'a> {
    root: &'a Path,
    limits: &'a Limits,
    names: Names,
    entries: usize,
    files: usize,
    bytes: u64,
}

impl<'a> Tree<'a> {
    pub(crate) fn new(root: &'a Path, limits: &'a Limits) -> Self {
        Self { root, limits, names: Names::default(), entries: 0, files: 0, bytes: 0 }
    }

    /// Counts an entry, whatever it is.
    pub(crate) fn count(&mut self) -> Result<(), ExtractError> {
        self.entries += 1;
        if self.entries > self.limits.files {
            return Err(too_many(self.limits));
        }
        Ok(())
    }

    /// Makes a folder.
    pub(crate) fn directory(&mut self, raw: &[u8]) -> Result<(), ExtractError> {
        let name = self.take(raw, Kind::Directory)?;
        self.make_directory(&name)
    }

    /// Writes a file of at most `declared` bytes from `content`; more is damage. Returns what was written.
    pub(crate) fn file(
        &mut self,
        raw: &[u8],
        executable: bool,
        declared: u64,
        content: &mut dyn Read,
    ) -> Result<(), ExtractError> {
        let name = self.take(raw, Kind::File)?;
        self.check_declared(raw, declared)?;
        if let Some((parent, _)) = name.rsplit_once('/') {
            self.make_directory(parent)?;
        }
        let path = self.root.join(&name);
        let failed = |source| ExtractError::Io { doing: "write", path: path.clone(), source };
        // `create_new` is O_EXCL: it never opens what is there, a link included.
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(if executable { 0o755 } else { 0o644 })
            .open(&path)
            .map_err(failed)?;
        let written = copy(content, &mut file, declared.saturating_add(1), raw, &path)?;
        if written != declared {
            let reason = format!(
                "it says {declared} bytes and holds {}",
                if written > declared { "more" } else { "fewer" }
            );
            return Err(ExtractError::Damaged { entry: Some(shown(raw)), reason });
        }
        self.bytes += written;
        self.files += 1;
        Ok(())
    }

    /// What was written: files and their bytes.
    pub(crate) fn finish(self) -> Result<(usize, u64), ExtractError> {
        if self.files == 0 {
            return Err(ExtractError::Empty);
        }
        Ok((self.files, self.bytes))
    }

    fn take(&mut self, raw: &[u8], kind: Kind) -> Result<String, ExtractError> {
        let refused = |reason| ExtractError::Name { entry: shown(raw), reason };
        let name = inside::plain(raw, kind, &self.limits.names()).map_err(refused)?;
        if !name.is_empty() {
            self.names.take(&name, kind).map_err(refused)?;
        }
        Ok(name)
    }

    fn check_declared(&self, raw: &[u8], declared: u64) -> Result<(), ExtractError> {
        let limits = self.limits;
        if declared > limits.file_bytes {
            let what = format!("the size of entry {}, {declared} bytes,", shown(raw));
            return Err(ExtractError::Limit { what, limit: bytes_shown(limits.file_bytes) });
        }
        if self.bytes.saturating_add(declared) > limits.total_bytes {
            let what = format!("the unpacked size, reached at entry {},", shown(raw));
            return Err(ExtractError::Limit { what, limit: bytes_shown(limits.total_bytes) });
        }
        Ok(())
    }

    fn make_directory(&self, name: &str) -> Result<(), ExtractError> {
        let path = self.root.join(name);
        fs::DirBuilder::new().recursive(true).mode(0o755).create(&path).map_err(|source| ExtractError::Io {
            doing: "make the folder",
            path,
            source,
        })
    }
}

pub(crate) fn too_many(limits: &Limits) -> ExtractError {
    ExtractError::Limit { what: "the number of entries".into(), limit: limits.files.to_string() }
}

/// Copies at most `most` bytes, telling a fault of the archive (reading) from one of this machine (writing).
fn copy(
    from: &mut dyn Read,
    to: &mut fs::File,
    most: u64,
    raw: &[u8],
    path: &Path,
) -> Result<u64, ExtractError> {
    let mut buffer = vec![0; 64 << 10];
    let mut from = from.take(most);
    let mut copied = 0;
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return Ok(copied),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(reading(Some(shown(raw)), error)),
        };
        to.write_all(&buffer[..read]).map_err(|source| ExtractError::Io {
            doing: "write",
            path: PathBuf::from(path),
            source,
        })?;
        copied += read as u64;
    }
}

/// Turns an error of a decoder into ours. Limits travel through decoders as the inner error of an `io::Error`.
pub(crate) fn reading(entry: Option<String>, error: io::Error) -> ExtractError {
    let reason = error.to_string();
    let system = error.raw_os_error().is_some();
    match error.downcast::<ExtractError>() {
        Ok(ours) => ours,
        Err(source) if system => {
            ExtractError::Io { doing: "read the archive for", path: entry.unwrap_or_default().into(), source }
        }
        Err(_) => ExtractError::Damaged { entry, reason },
    }
}
