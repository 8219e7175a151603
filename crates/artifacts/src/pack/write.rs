//! Writes the archive: the same files give the same bytes.

use std::{
    fs::File,
    io::{self, BufWriter, Read, Write},
    path::Path,
};

use flate2::{Compression, GzBuilder};
use zip::{CompressionMethod, DateTime, ZipWriter, write::SimpleFileOptions};

use super::{Format, PackError, Progress, io_at, walk::Found};

/// 1980-01-01, the first moment ZIP can tell: the time of every file, because the real ones change with every checkout.
const MODIFIED_UNIX: u64 = 315_532_800;

pub(super) fn write(
    files: &[Found],
    into: &Path,
    format: Format,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), PackError> {
    let file = io_at("create", into, File::create_new(into))?;
    let mut counter = Counter::new(files, progress);
    match format {
        Format::Zip => write_zip(files, into, file, &mut counter),
        Format::TarGz => write_tar_gz(files, into, file, &mut counter),
    }
}

fn write_zip(files: &[Found], into: &Path, file: File, counter: &mut Counter<'_>) -> Result<(), PackError> {
    let mut archive = ZipWriter::new(BufWriter::new(file));
    for found in files {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(6))
            .last_modified_time(DateTime::default())
            .unix_permissions(mode(found));
        let started = archive.start_file(found.name.as_str(), options).map_err(io::Error::from);
        io_at("write", into, started)?;
        let mut content = io_at("open", &found.path, File::open(&found.path))?;
        let copied = io::copy(&mut (&mut content).take(found.bytes), &mut archive);
        unchanged(found, io_at("pack", &found.path, copied)?)?;
        counter.done(found);
    }
    let mut inner = io_at("write", into, archive.finish().map_err(io::Error::from))?;
    io_at("write", into, inner.flush())
}

fn write_tar_gz(
    files: &[Found],
    into: &Path,
    file: File,
    counter: &mut Counter<'_>,
) -> Result<(), PackError> {
    let gzip =
        GzBuilder::new().mtime(0).operating_system(255).write(BufWriter::new(file), Compression::new(6));
    let mut archive = tar::Builder::new(gzip);
    for found in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(found.bytes);
        header.set_mode(mode(found));
        header.set_mtime(MODIFIED_UNIX);
        let content = io_at("open", &found.path, File::open(&found.path))?;
        let mut content = Counted { inner: content.take(found.bytes), read: 0 };
        let appended = archive.append_data(&mut header, &found.name, &mut content);
        io_at("pack", &found.path, appended)?;
        unchanged(found, content.read)?;
        counter.done(found);
    }
    let gzip = io_at("write", into, archive.into_inner())?;
    let mut inner = io_at("write", into, gzip.finish())?;
    io_at("write", into, inner.flush())
}

fn mode(found: &Found) -> u32 {
    if found.executable { 0o755 } else { 0o644 }
}

/// The size was taken when the folder was listed; a shorter file would break the archive.
fn unchanged(found: &Found, read: u64) -> Result<(), PackError> {
    if read == found.bytes {
        return Ok(());
    }
    let reason = "changed while it was packed; try again".to_owned();
    Err(PackError::File { name: crate::extract::shown(found.name.as_bytes()), reason })
}

struct Counted<R> {
    inner: R,
    read: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.read += read as u64;
        Ok(read)
    }
}

struct Counter<'a> {
    now: Progress,
    tell: &'a mut dyn FnMut(Progress),
}

impl<'a> Counter<'a> {
    fn new(files: &[Found], tell: &'a mut dyn FnMut(Progress)) -> Self {
        let of_bytes = files.iter().map(|file| file.bytes).sum();
        Self { now: Progress { files: 0, of_files: files.len(), bytes: 0, of_bytes }, tell }
    }

    fn done(&mut self, found: &Found) {
        self.now.files += 1;
        self.now.bytes += found.bytes;
        (self.tell)(self.now);
    }
}
