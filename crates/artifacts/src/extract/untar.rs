//! TAR.GZ: read as one stream; what it may cost is bounded while it flows.

use std::{
    cell::Cell,
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
    rc::Rc,
};

use flate2::bufread::MultiGzDecoder;
use tar::{Archive, Entry, EntryType};

use super::{
    ExtractError, Limits,
    error::shown,
    limits::bytes_shown,
    tree::{Tree, reading},
};

/// Most bytes between two entries: headers, long names, extended attributes. The library reads these into memory whole.
const BETWEEN_ENTRIES: u64 = 1 << 20;

pub(crate) fn untar(file: &mut File, root: &Path, limits: &Limits) -> Result<(usize, u64), ExtractError> {
    let meter = Rc::new(Meter::default());
    let packed = Packed { inner: file, meter: Rc::clone(&meter) };
    let mut stream = Unpacked {
        inner: MultiGzDecoder::new(BufReader::with_capacity(64 << 10, packed)),
        meter: Rc::clone(&meter),
        limits: *limits,
    };
    let mut tree = Tree::new(root, limits);
    let mut last = None;
    {
        let mut archive = Archive::new(&mut stream);
        let mut entries = archive.entries().map_err(|error| reading(None, error))?;
        loop {
            meter.between.set(BETWEEN_ENTRIES);
            let Some(entry) = entries.next() else { break };
            let mut entry = entry.map_err(|error| reading(last.clone(), error))?;
            tree.count()?;
            let raw = entry.path_bytes().into_owned();
            last = Some(shown(&raw));
            meter.between.set(u64::MAX);
            put(&mut tree, &raw, &mut entry)?;
        }
    }
    meter.between.set(u64::MAX);
    drain(&mut stream, last)?;
    tree.finish()
}

fn put<R: Read>(tree: &mut Tree<'_>, raw: &[u8], entry: &mut Entry<'_, R>) -> Result<(), ExtractError> {
    let kind = entry.header().entry_type();
    if kind.is_pax_global_extensions() {
        // git writes one with the commit's id. It names nothing to unpack.
        return io::copy(&mut entry.take(BETWEEN_ENTRIES), &mut io::sink())
            .map(drop)
            .map_err(|error| reading(Some(shown(raw)), error));
    }
    if kind.is_dir() {
        return tree.directory(raw);
    }
    if !kind.is_file() {
        return Err(ExtractError::Kind { entry: shown(raw), kind: kind_shown(kind).into() });
    }
    if is_sparse(entry).map_err(|error| reading(Some(shown(raw)), error))? {
        return Err(ExtractError::Unsupported { entry: shown(raw), how: "a sparse file".into() });
    }
    let executable = entry.header().mode().is_ok_and(|mode| mode & 0o111 != 0);
    let size = entry.size();
    tree.file(raw, executable, size, entry)
}

/// Sparse files in the newer form look like regular ones, with a map in front of their content.
fn is_sparse<R: Read>(entry: &mut Entry<'_, R>) -> io::Result<bool> {
    let Some(extensions) = entry.pax_extensions()? else { return Ok(false) };
    for extension in extensions {
        if extension?.key_bytes().starts_with(b"GNU.sparse.") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads to the end, so that checksums are looked at and nothing is hidden behind the end of the archive.
fn drain(stream: &mut dyn Read, last: Option<String>) -> Result<(), ExtractError> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = stream.read(&mut buffer).map_err(|error| reading(last.clone(), error))?;
        if read == 0 {
            return Ok(());
        }
        if buffer[..read].iter().any(|byte| *byte != 0) {
            let reason = "something follows its end".to_owned();
            return Err(ExtractError::Damaged { entry: last, reason });
        }
    }
}

fn kind_shown(kind: EntryType) -> &'static str {
    if kind.is_symlink() {
        "a symbolic link"
    } else if kind.is_hard_link() {
        "a hard link"
    } else if kind.is_character_special() {
        "a character device"
    } else if kind.is_block_special() {
        "a block device"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_gnu_sparse() {
        "a sparse file"
    } else {
        "of an unknown kind"
    }
}

/// What went in and came out so far.
#[derive(Debug, Default)]
struct Meter {
    packed: Cell<u64>,
    unpacked: Cell<u64>,
    /// How much may still come out before the next entry.
    between: Cell<u64>,
}

struct Packed<'a> {
    inner: &'a mut File,
    meter: Rc<Meter>,
}

impl Read for Packed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.meter.packed.set(self.meter.packed.get() + read as u64);
        Ok(read)
    }
}

struct Unpacked<R> {
    inner: R,
    meter: Rc<Meter>,
    limits: Limits,
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let unpacked = self.meter.unpacked.get() + read as u64;
        self.meter.unpacked.set(unpacked);
        let limits = &self.limits;
        if unpacked > limits.unpacked_from(self.meter.packed.get()) {
            let what = "the ratio of unpacked to packed size".to_owned();
            return Err(over(what, limits.ratio.to_string()));
        }
        // Headers and padding come on top of the files: four blocks of 512 bytes for each are enough.
        let most = limits.total_bytes.saturating_add(limits.files as u64 * 2048);
        if unpacked > most {
            return Err(over("the unpacked size".to_owned(), bytes_shown(limits.total_bytes)));
        }
        let between = self.meter.between.get();
        if read as u64 > between {
            let what = "the data between two entries (long names, attributes)".to_owned();
            return Err(over(what, bytes_shown(BETWEEN_ENTRIES)));
        }
        if between != u64::MAX {
            self.meter.between.set(between - read as u64);
        }
        Ok(read)
    }
}

fn over(what: String, limit: String) -> io::Error {
    io::Error::other(ExtractError::Limit { what, limit })
}
