//! Unpacks bundles that may be hostile: all or nothing, inside one fresh folder, within limits.

mod error;
pub mod inside;
mod limits;
mod tree;
mod untar;
mod unzip;
mod zip_end;

use std::{
    fmt,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

pub(crate) use self::error::shown;
pub(crate) use self::limits::bytes_shown;
pub use self::{
    error::ExtractError,
    limits::{Limits, RATIO_FLOOR},
};
use crate::scratch::Scratch;

/// How a bundle is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// ZIP, stored or deflated.
    Zip,
    /// TAR within GZIP.
    TarGz,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zip => "zip",
            Self::TarGz => "tar.gz",
        })
    }
}

/// What came out of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extracted {
    /// Number of files, folders not counted.
    pub files: usize,
    /// Their size together, in bytes.
    pub bytes: u64,
    /// How it was packed.
    pub format: Format,
}

/// Unpacks `archive` to `into`, which must not exist yet (its parent must). On an error nothing is left behind.
///
/// Modes are 0755 for folders and executables and 0644 for the rest, whatever the archive says. Blocks.
pub fn extract(archive: &Path, into: &Path, limits: &Limits) -> Result<Extracted, ExtractError> {
    let failed = |doing, path: &Path, source| ExtractError::Io { doing, path: path.to_owned(), source };
    let parent = into.parent().unwrap_or(Path::new("."));
    let mut file = File::open(archive).map_err(|source| failed("open", archive, source))?;
    if into.symlink_metadata().is_ok() {
        return Err(failed("unpack to", into, io::ErrorKind::AlreadyExists.into()));
    }
    let scratch = Scratch::directory(parent).map_err(|source| failed("make a folder in", parent, source))?;
    let extracted = fill(&mut file, scratch.path(), limits)?;
    scratch.rename_to(into).map_err(|source| failed("rename the unpacked folder to", into, source))?;
    Ok(extracted)
}

/// Unpacks an open archive into the empty folder `root`. On an error the folder holds a part; the caller removes it.
pub(crate) fn fill(file: &mut File, root: &Path, limits: &Limits) -> Result<Extracted, ExtractError> {
    let length = file.seek(SeekFrom::End(0)).map_err(|error| tree::reading(None, error))?;
    if length > limits.archive_bytes {
        let what = format!("the archive's size, {length} bytes,");
        return Err(ExtractError::Limit { what, limit: bytes_shown(limits.archive_bytes) });
    }
    let format = sniff(file)?;
    let (files, bytes) = match format {
        Format::Zip => unzip::unzip(file, length, root, limits)?,
        Format::TarGz => untar::untar(file, root, limits)?,
    };
    Ok(Extracted { files, bytes, format })
}

/// Tells the format by the first bytes (a name proves nothing), and leaves the file at its start.
pub(crate) fn sniff(file: &mut File) -> Result<Format, ExtractError> {
    let mut head = Vec::new();
    file.seek(SeekFrom::Start(0)).map_err(|error| tree::reading(None, error))?;
    Read::by_ref(file).take(8).read_to_end(&mut head).map_err(|error| tree::reading(None, error))?;
    file.seek(SeekFrom::Start(0)).map_err(|error| tree::reading(None, error))?;
    match head.as_slice() {
        [b'P', b'K', 3, 4, ..] => Ok(Format::Zip),
        [0x1f, 0x8b, ..] => Ok(Format::TarGz),
        [b'P', b'K', 5, 6, ..] => Err(ExtractError::Empty),
        other => Err(ExtractError::Format { found: looks_like(other) }),
    }
}

fn looks_like(head: &[u8]) -> String {
    match head {
        [] => "an empty file".into(),
        [b'R', b'a', b'r', b'!', ..] => "a RAR archive".into(),
        [b'7', b'z', 0xbc, 0xaf, ..] => "a 7z archive".into(),
        [b'B', b'Z', b'h', ..] => "a bzip2 file".into(),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => "an xz file".into(),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "a zstd file".into(),
        [0x7f, b'E', b'L', b'F', ..] => "a Linux program".into(),
        [b'%', b'P', b'D', b'F', ..] => "a PDF".into(),
        [b'M', b'Z', ..] => "a Windows program".into(),
        text if text.iter().all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace()) => {
            format!("a text that starts with {}", shown(text))
        }
        other => format!("an unknown file that starts with {other:02x?}"),
    }
}

#[cfg(test)]
mod tests;
