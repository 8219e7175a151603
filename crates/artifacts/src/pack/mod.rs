//! Packs a folder into a bundle, so that the same folder always gives the same bytes.

mod ignore;
mod walk;
mod write;

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

pub use crate::extract::Format;
use crate::{
    extract::{ExtractError, Limits, bytes_shown, sniff},
    scratch::Scratch,
};

/// Name of the file with patterns of what stays out.
pub const IGNORE_FILE: &str = ".the0ignore";

/// A bundle on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// The archive. The source itself, where that is an archive already.
    pub archive: PathBuf,
    /// BLAKE3 in hex.
    pub digest: String,
    /// Size of the archive, in bytes.
    pub size: u64,
    /// Number of files packed; 0 where the source was an archive already.
    pub files: usize,
}

/// How far packing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Files done.
    pub files: usize,
    /// Files in all.
    pub of_files: usize,
    /// Bytes done, before compression.
    pub bytes: u64,
    /// Bytes in all, before compression.
    pub of_bytes: u64,
}

/// Why a folder cannot become a bundle.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// There is nothing to pack.
    #[error("{} holds no files to pack (hidden files and those in .the0ignore stay out)", path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// A file cannot be in a bundle.
    #[error("{name} {reason}")]
    File {
        /// The name, quoted.
        name: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Something is over a limit.
    #[error("{what} is over the limit of {limit}; list what is not needed in .the0ignore")]
    Limit {
        /// What is too large.
        what: String,
        /// The limit, with its unit.
        limit: String,
    },
    /// The ignore file is not understood.
    #[error(".the0ignore {reason}")]
    Ignore {
        /// Line and what is accepted.
        reason: String,
    },
    /// The file given is no archive.
    #[error("{} cannot be deployed", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: ExtractError,
    },
    /// This machine failed to read or write.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl PackError {
    /// Whether trying again is of no use until the folder is changed.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            Self::Archive { source, .. } => source.is_permanent(),
            Self::Empty { .. } | Self::File { .. } | Self::Limit { .. } | Self::Ignore { .. } => true,
        }
    }
}

/// Packs the folder `source` into the new file `into`; an archive is taken as it is and `into` is not made.
///
/// Names are sorted, times fixed, modes 0644 or 0755. Hidden files, `__pycache__`, `*.pyc` and what `.the0ignore` names
/// stay out. After an error `into` does not exist. Blocks.
pub fn pack(
    source: &Path,
    into: &Path,
    format: Format,
    limits: &Limits,
    progress: &mut dyn FnMut(Progress),
) -> Result<Packed, PackError> {
    let meta = io_at("read", source, source.metadata())?;
    if !meta.is_dir() {
        return take_archive(source, limits);
    }
    let files = walk::files(source, limits)?;
    let parent = into.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let scratch = io_at("make a folder in", parent, Scratch::directory(parent))?;
    let partial = scratch.path().join("bundle");
    write::write(&files, &partial, format, progress)?;
    let (digest, size) = digest(&partial, limits)?;
    io_at("move the bundle to", into, std::fs::rename(&partial, into))?;
    Ok(Packed { archive: into.to_owned(), digest, size, files: files.len() })
}

fn take_archive(source: &Path, limits: &Limits) -> Result<Packed, PackError> {
    let mut file = io_at("open", source, File::open(source))?;
    sniff(&mut file).map_err(|error| PackError::Archive { path: source.to_owned(), source: error })?;
    let (digest, size) = digest(source, limits)?;
    Ok(Packed { archive: source.to_owned(), digest, size, files: 0 })
}

fn digest(path: &Path, limits: &Limits) -> Result<(String, u64), PackError> {
    let file = io_at("open", path, File::open(path))?;
    let size = io_at("read", path, file.metadata())?.len();
    if size > limits.archive_bytes {
        let what = format!("the bundle's size, {},", bytes_shown(size));
        return Err(PackError::Limit { what, limit: bytes_shown(limits.archive_bytes) });
    }
    let mut hasher = blake3::Hasher::new();
    io_at("read", path, hasher.update_reader(file))?;
    Ok((hasher.finalize().to_hex().to_string(), size))
}

fn io_at<T>(doing: &'static str, path: &Path, result: io::Result<T>) -> Result<T, PackError> {
    result.map_err(|source| PackError::Io { doing, path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
