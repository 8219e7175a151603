//! The two files of an attempt's output: a current one and the one before it, together within a limit.
//!
//! Nothing here can fail: what the disk does not take is counted and said once it takes something again. A full disk
//! must neither end nor block a bot.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use rustix::fs::OFlags;
use the0_model::{LogStream, agent::file};

/// Bytes gathered before they are written, at most.
const BATCH_BYTES_MAX: usize = 256 * 1024;

/// Writes records to the attempt's files.
#[derive(Debug)]
pub(crate) struct LogFiles {
    current: PathBuf,
    old: PathBuf,
    half_bytes: u64,
    file: Option<File>,
    /// Bytes in the current file; the batch comes on top.
    written: u64,
    old_bytes: u64,
    batch: Vec<u8>,
    /// The time records get, as text: formatting it for each would cost more than all the rest.
    stamp: String,
    /// Bytes the disk did not take since it last took some, and why.
    lost: u64,
    why: Option<io::Error>,
}

impl LogFiles {
    /// Opens the files in `dir`, which may hold some from before; `limit_bytes` is for both together.
    pub(crate) fn open(dir: &Path, limit_bytes: u64) -> Self {
        let size_of = |path: &Path| fs::metadata(path).map_or(0, |meta| meta.len());
        let (current, old) = (dir.join(file::OUTPUT), dir.join(file::OUTPUT_OLD));
        let (written, old_bytes) = (size_of(&current), size_of(&old));
        let mut files = Self {
            current,
            old,
            half_bytes: limit_bytes / 2,
            file: None,
            written,
            old_bytes,
            batch: Vec::new(),
            stamp: String::new(),
            lost: 0,
            why: None,
        };
        files.reopen();
        files
    }

    /// Sets the time of the records that follow.
    pub(crate) fn set_time(&mut self, now: Timestamp) {
        use std::fmt::Write as _;
        self.stamp.clear();
        // Writing to a string does not fail.
        let _ = write!(self.stamp, "{now:.9}");
    }

    /// Adds a record; [`flush`](Self::flush) makes it seen.
    pub(crate) fn record(&mut self, stream: LogStream, partial: bool, text: &[u8]) {
        let bytes = self.stamp.len() + text.len() + 12;
        let size = self.written + self.batch.len() as u64;
        if size > 0 && size + bytes as u64 > self.half_bytes {
            self.rotate();
        }
        self.encode(stream, partial, text);
        if self.batch.len() > BATCH_BYTES_MAX {
            self.flush();
        }
    }

    /// Writes what was gathered.
    pub(crate) fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        if self.file.is_none() {
            self.reopen();
        }
        if self.lost > 0 && self.file.is_some() {
            self.say_what_was_lost();
        }
        let batch = std::mem::take(&mut self.batch);
        self.write(&batch);
        self.batch = batch;
        self.batch.clear();
    }

    /// The form of [`LogLine::encode`](the0_model::LogLine::encode), without its allocations.
    fn encode(&mut self, stream: LogStream, partial: bool, text: &[u8]) {
        let stream: &[u8] = match stream {
            LogStream::Stdout => b" stdout ",
            LogStream::Stderr => b" stderr ",
            LogStream::Agent => b" agent ",
        };
        self.batch.extend_from_slice(self.stamp.as_bytes());
        self.batch.extend_from_slice(stream);
        self.batch.extend_from_slice(if partial { b"P " } else { b"F " });
        self.batch.extend_from_slice(text);
        self.batch.push(b'\n');
    }

    fn write(&mut self, bytes: &[u8]) {
        let outcome = match &mut self.file {
            Some(file) => file.write_all(bytes),
            None => Err(io::Error::from(io::ErrorKind::NotFound)),
        };
        let Err(error) = outcome else {
            self.written += bytes.len() as u64;
            return;
        };
        self.lost += bytes.len() as u64;
        self.why = Some(error);
        // Half a record may have been written; without it the file reads well again.
        if let Some(file) = &self.file
            && file.set_len(self.written).is_err()
        {
            self.file = None;
        }
    }

    fn say_what_was_lost(&mut self) {
        let why = self.why.take().map_or_else(String::new, |error| format!(": {error}"));
        let text = format!("{} bytes of output could not be written{why}", self.lost);
        let rest = std::mem::take(&mut self.batch);
        self.encode(LogStream::Agent, false, text.as_bytes());
        let said = std::mem::replace(&mut self.batch, rest);
        let lost_before = self.lost;
        self.write(&said);
        // If even this could not be written, the count goes on, without the notice itself.
        self.lost = if self.lost > lost_before { lost_before } else { 0 };
    }

    fn rotate(&mut self) {
        self.flush();
        let dropped = self.old_bytes;
        match fs::rename(&self.current, &self.old) {
            Ok(()) => self.old_bytes = self.written,
            // No way to move it aside: the limit counts for more than the content.
            Err(error) => {
                self.lost += self.written;
                self.why.get_or_insert(error);
                let _ = fs::remove_file(&self.current);
            }
        }
        self.written = 0;
        self.file = None;
        self.reopen();
        if dropped > 0 {
            let kept = self.half_bytes * 2;
            let text = format!("{dropped} bytes of older output were dropped; {kept} bytes are kept");
            self.encode(LogStream::Agent, false, text.as_bytes());
        }
    }

    fn reopen(&mut self) {
        // A pipe the bot may have put there is an error, not something to wait at.
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        match OpenOptions::new().create(true).append(true).custom_flags(flags).open(&self.current) {
            Ok(file) => self.file = Some(file),
            Err(error) => self.why = Some(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use the0_model::LogLine;

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn text_of(dir: &Path, name: &str) -> Vec<LogLine> {
        let bytes = fs::read(dir.join(name)).unwrap();
        bytes.split_inclusive(|byte| *byte == b'\n').map(|line| LogLine::decode(line).unwrap()).collect()
    }

    #[test]
    fn records_have_the_form_everything_else_reads() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = LogFiles::open(dir.path(), 1 << 20);
        files.set_time(NOW);
        let mut expected = Vec::new();
        for (stream, partial) in
            [(LogStream::Stdout, true), (LogStream::Stderr, false), (LogStream::Agent, false)]
        {
            files.record(stream, partial, b"\xffa b");
            expected.extend(LogLine { at: NOW, stream, partial, text: b"\xffa b".to_vec() }.encode());
        }
        files.flush();
        assert_eq!(fs::read(dir.path().join(file::OUTPUT)).unwrap(), expected);
    }

    #[test]
    fn both_files_together_stay_within_the_limit_and_what_goes_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let limit = 64 * 1024;
        let mut files = LogFiles::open(dir.path(), limit);
        files.set_time(NOW);
        for number in 0..5_000 {
            files.record(LogStream::Stdout, false, format!("line {number}").as_bytes());
            if number % 7 == 0 {
                files.flush();
            }
        }
        files.flush();
        let total: u64 = [file::OUTPUT, file::OUTPUT_OLD]
            .iter()
            .map(|name| fs::metadata(dir.path().join(name)).unwrap().len())
            .sum();
        assert!(total <= limit && total > limit / 2, "{total}");
        let old = fs::metadata(dir.path().join(file::OUTPUT_OLD)).unwrap().len();
        assert!(old <= limit / 2, "{old}: then the other may grow as large");
        let (old, new) = (text_of(dir.path(), file::OUTPUT_OLD), text_of(dir.path(), file::OUTPUT));
        assert_eq!(new.last().unwrap().text, b"line 4999");
        let notices = |lines: &[LogLine]| lines.iter().filter(|line| line.stream == LogStream::Agent).count();
        assert_eq!((notices(&old), notices(&new)), (1, 1), "one line per file that went");
        let bots: Vec<_> = old.iter().chain(&new).filter(|line| line.stream == LogStream::Stdout).collect();
        let number = |line: &LogLine| String::from_utf8_lossy(&line.text)[5..].parse::<u32>().unwrap();
        assert!(
            bots.windows(2).all(|pair| number(pair[0]) + 1 == number(pair[1])),
            "no gap within what is kept"
        );
    }

    #[test]
    fn a_directory_that_takes_nothing_is_no_trouble_and_the_loss_is_said_later() {
        let dir = tempfile::tempdir().unwrap();
        let later = dir.path().join("later");
        let mut files = LogFiles::open(&later, 1 << 20);
        files.set_time(NOW);
        for _ in 0..3 {
            files.record(LogStream::Stdout, false, b"gone");
            files.flush();
        }
        fs::create_dir(&later).unwrap();
        files.record(LogStream::Stdout, false, b"kept");
        files.flush();
        let lines = text_of(&later, file::OUTPUT);
        let said = String::from_utf8_lossy(&lines[0].text).into_owned();
        assert!(said.contains("bytes of output could not be written"), "{said}");
        assert_eq!((lines.len(), lines[1].text.as_slice()), (2, &b"kept"[..]));
    }
}
