//! ZIP: everything is checked against the central directory before the first byte is written.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
};

use zip::{CompressionMethod, ZipArchive, read::ArchiveOffset, read::Config, result::ZipError};

use super::{
    ExtractError, Limits,
    error::shown,
    limits::{RATIO_FLOOR, bytes_shown},
    tree::{Tree, reading, too_many},
    zip_end,
};

/// Bytes of central directory per allowed entry; the rest of an entry's extra fields is of no use to us. It bounds memory.
const DIRECTORY_BYTES_PER_ENTRY: u64 = 1600;

const KIND_MASK: u32 = 0o170_000;
const KIND_FILE: u32 = 0o100_000;
const KIND_DIRECTORY: u32 = 0o040_000;

pub(crate) fn unzip(
    file: &mut File,
    length: u64,
    root: &Path,
    limits: &Limits,
) -> Result<(usize, u64), ExtractError> {
    check_end(file, length, limits)?;
    let config = Config { archive_offset: ArchiveOffset::Known(0) };
    let mut archive = ZipArchive::with_config(config, file).map_err(|error| fault(None, error))?;
    // Same names, sizes and methods in both headers; no overlaps; no entry that the directory does not list.
    archive.validate_header_consistency().map_err(|error| fault(None, error))?;
    let mut tree = Tree::new(root, limits);
    let mut declared: u64 = 0;
    for index in 0..archive.len() {
        declared = declared.saturating_add(check_entry(&archive, index, limits)?);
        if declared > limits.total_bytes {
            let what = "the unpacked size".to_owned();
            return Err(ExtractError::Limit { what, limit: bytes_shown(limits.total_bytes) });
        }
    }
    for index in 0..archive.len() {
        tree.count()?;
        let mut entry = archive.by_index(index).map_err(|error| fault(None, error))?;
        let raw = entry.name_raw().to_vec();
        if raw.ends_with(b"/") {
            tree.directory(&raw)?;
            continue;
        }
        let executable = entry.unix_mode().is_some_and(|mode| mode & 0o111 != 0);
        let size = entry.size();
        tree.file(&raw, executable, size, &mut entry)?;
    }
    tree.finish()
}

fn check_end(file: &mut File, length: u64, limits: &Limits) -> Result<(), ExtractError> {
    let take = length.min(zip_end::TAIL);
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(length - take)).map_err(|error| reading(None, error))?;
    file.take(take).read_to_end(&mut tail).map_err(|error| reading(None, error))?;
    let end = zip_end::read(&tail, length)
        .map_err(|reason| ExtractError::Damaged { entry: None, reason: reason.into() })?;
    if end.entries > limits.files as u64 {
        return Err(too_many(limits));
    }
    let most = limits.files as u64 * DIRECTORY_BYTES_PER_ENTRY;
    if end.bytes > most {
        return Err(ExtractError::Limit { what: "the archive's directory".into(), limit: bytes_shown(most) });
    }
    Ok(())
}

/// Checks what the directory says of an entry and returns its declared size.
fn check_entry(archive: &ZipArchive<&mut File>, index: usize, limits: &Limits) -> Result<u64, ExtractError> {
    let entry = archive.by_index_data(index).map_err(|error| fault(None, error))?;
    let raw = entry.name_raw();
    let unsupported = |how: &str| Err(ExtractError::Unsupported { entry: shown(raw), how: how.into() });
    if entry.encrypted() {
        return unsupported("encrypted");
    }
    if !matches!(entry.compression(), CompressionMethod::Stored | CompressionMethod::Deflated) {
        return unsupported(&format!("compressed by {:?}", entry.compression()));
    }
    let is_directory = raw.ends_with(b"/");
    let kind = entry.unix_mode().map_or(0, |mode| mode & KIND_MASK);
    let expected = if is_directory { KIND_DIRECTORY } else { KIND_FILE };
    if kind != 0 && kind != expected {
        return Err(ExtractError::Kind { entry: shown(raw), kind: kind_shown(kind).into() });
    }
    let (size, packed) = (entry.size(), entry.compressed_size());
    if is_directory && size > 0 {
        let reason = "it is a folder and has content".to_owned();
        return Err(ExtractError::Damaged { entry: Some(shown(raw)), reason });
    }
    if size > RATIO_FLOOR && size > limits.unpacked_from(packed) {
        let what = format!("the ratio of unpacked to packed size of entry {}", shown(raw));
        return Err(ExtractError::Limit { what, limit: limits.ratio.to_string() });
    }
    Ok(size)
}

fn kind_shown(kind: u32) -> &'static str {
    match kind {
        0o120_000 => "a symbolic link",
        0o020_000 => "a character device",
        0o060_000 => "a block device",
        0o010_000 => "a named pipe",
        0o140_000 => "a socket",
        KIND_DIRECTORY => "a folder by its mode and a file by its name",
        _ => "a file by its mode and a folder by its name",
    }
}

fn fault(entry: Option<String>, error: ZipError) -> ExtractError {
    if let ZipError::Io(error) = error {
        return reading(entry, error);
    }
    ExtractError::Damaged { entry, reason: error.to_string() }
}
