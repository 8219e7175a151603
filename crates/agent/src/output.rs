//! The output thread: reads what the bot writes and keeps it.
//!
//! One thread for both streams and for the agent's own words, so that there is one writer and nothing to lock. It is the
//! only thread that waits for the disk while the bot runs.

use std::{
    io::{self, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    path::Path,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
};
use the0_model::LogStream;

use crate::{
    clock,
    lines::{Assembler, Tail},
    rotate::LogFiles,
    spawn::Pipes,
};

/// How long a line without its newline waits before it is shown as it is.
const IDLE: Duration = Duration::from_millis(50);
/// How long output that is still in the pipes is read after everything of the bot has ended.
const DRAIN: Duration = Duration::from_secs(1);
/// How long the agent waits for the thread in the end; a disk that hangs must not keep the exit from being recorded.
const FINISH: Duration = Duration::from_secs(5);
/// Read at once; as large as a pipe.
const READ_BYTES: usize = 64 * 1024;
/// The agent says a handful of things in an attempt; a disk that hangs must not make it wait to say them.
const NOTES_MAX: usize = 64;

/// The agent's end of the thread.
#[derive(Debug)]
pub(crate) struct Output {
    bell: UnixStream,
    notes: SyncSender<String>,
    done: Receiver<Tail>,
}

impl Output {
    /// Starts the thread, which does `first` before all else and keeps what it returns as lines of the agent's own. The
    /// pipes are read until they end or [`finish`](Self::finish) is called.
    pub(crate) fn start(
        dir: &Path,
        limit_bytes: u64,
        pipes: Pipes,
        first: impl FnOnce() -> Vec<String> + Send + 'static,
    ) -> io::Result<Self> {
        let (bell, rung) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        rung.set_nonblocking(true)?;
        let (notes, noted) = sync_channel(NOTES_MAX);
        // One value is sent, once.
        let (finished, done) = sync_channel(1);
        let out = Stream::new(LogStream::Stdout, pipes.stdout)?;
        let err = Stream::new(LogStream::Stderr, pipes.stderr)?;
        let dir = dir.to_path_buf();
        thread::Builder::new().name("output".into()).spawn(move || {
            let said = first();
            let files = LogFiles::open(&dir, limit_bytes);
            let mut thread = Thread { out, err, files, tail: Tail::default(), noted, bell: Some(rung) };
            thread.files.set_time(clock::now());
            for text in said {
                thread.files.record(LogStream::Agent, false, text.as_bytes());
            }
            thread.run();
            // Nobody waits any more if the agent gave up on us.
            let _ = finished.try_send(thread.tail);
        })?;
        Ok(Self { bell, notes, done })
    }

    /// Adds a line of the agent's own.
    pub(crate) fn note(&self, text: String) {
        if self.notes.try_send(text).is_ok() {
            // A full bell has been rung already.
            let _ = (&self.bell).write(&[1]);
        }
    }

    /// Ends the reading, what is in the pipes first, and returns the last lines.
    pub(crate) fn finish(self) -> Tail {
        drop(self.bell);
        self.done.recv_timeout(FINISH).unwrap_or_default()
    }
}

struct Thread {
    out: Stream<std::process::ChildStdout>,
    err: Stream<std::process::ChildStderr>,
    files: LogFiles,
    tail: Tail,
    noted: Receiver<String>,
    /// Gone once the agent wants an end.
    bell: Option<UnixStream>,
}

impl Thread {
    fn run(&mut self) {
        let mut buffer = vec![0; READ_BYTES];
        while self.bell.is_some() {
            let ready = self.wait();
            self.files.set_time(clock::now());
            self.turn(&ready, &mut buffer);
        }
        let end = Instant::now() + DRAIN;
        loop {
            self.files.set_time(clock::now());
            let more = self.turn(&Ready { out: true, err: true, bell: false }, &mut buffer);
            if !more || Instant::now() > end {
                break;
            }
        }
        let (files, tail) = (&mut self.files, &mut self.tail);
        let mut sink = |stream, partial, text: &[u8]| keep(files, tail, stream, partial, text);
        self.out.lines.finish(&mut sink);
        self.err.lines.finish(&mut sink);
        self.files.flush();
    }

    /// Waits until there is something to read or a line has waited long enough.
    fn wait(&self) -> Ready {
        let waiting = self.out.waits_since.into_iter().chain(self.err.waits_since).min();
        let timeout = waiting.map(|since| {
            let left = (since + IDLE).saturating_duration_since(Instant::now());
            Timespec { tv_sec: 0, tv_nsec: left.subsec_nanos().max(1_000_000).into() }
        });
        let fds = [self.out.fd(), self.err.fd(), self.bell.as_ref().map(AsFd::as_fd)];
        let mut polled: Vec<PollFd<'_>> =
            fds.into_iter().flatten().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        // An interrupted wait is a wait that ended early.
        let _ = poll(&mut polled, timeout.as_ref());
        let mut events = polled.iter().map(|fd| !fd.revents().is_empty());
        let mut next = |there: bool| there && events.next().unwrap_or(false);
        Ready { out: next(fds[0].is_some()), err: next(fds[1].is_some()), bell: next(fds[2].is_some()) }
    }

    /// Reads each ready source once and writes what came. Whether anything came.
    fn turn(&mut self, ready: &Ready, buffer: &mut [u8]) -> bool {
        let (files, tail) = (&mut self.files, &mut self.tail);
        let mut sink = |stream, partial, text: &[u8]| keep(files, tail, stream, partial, text);
        let mut more = false;
        if ready.out {
            more |= self.out.read(buffer, &mut sink);
        }
        if ready.err {
            more |= self.err.read(buffer, &mut sink);
        }
        self.out.show_waiting(&mut sink);
        self.err.show_waiting(&mut sink);
        while let Ok(note) = self.noted.try_recv() {
            self.files.record(LogStream::Agent, false, note.as_bytes());
        }
        self.files.flush();
        if ready.bell
            && let Some(mut bell) = self.bell.as_ref()
            && matches!(bell.read(buffer), Ok(0))
        {
            self.bell = None;
        }
        more
    }
}

struct Ready {
    out: bool,
    err: bool,
    bell: bool,
}

fn keep(files: &mut LogFiles, tail: &mut Tail, stream: LogStream, partial: bool, text: &[u8]) {
    files.record(stream, partial, text);
    tail.record(stream, partial, text);
}

/// One pipe.
struct Stream<P> {
    pipe: Option<P>,
    lines: Assembler,
    /// Since when an unfinished line waits for more.
    waits_since: Option<Instant>,
}

impl<P: Read + AsFd> Stream<P> {
    fn new(stream: LogStream, pipe: P) -> io::Result<Self> {
        // Of the reading end alone; the bot's end stays as it is.
        let flags = fcntl_getfl(&pipe)?;
        fcntl_setfl(&pipe, flags | OFlags::NONBLOCK)?;
        Ok(Self { pipe: Some(pipe), lines: Assembler::new(stream), waits_since: None })
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Reads once. Whether there may be more.
    fn read(&mut self, buffer: &mut [u8], sink: &mut crate::lines::Sink<'_>) -> bool {
        let Some(pipe) = &mut self.pipe else { return false };
        match pipe.read(buffer) {
            Ok(0) => {
                self.pipe = None;
                self.lines.finish(sink);
                self.waits_since = None;
                false
            }
            Ok(bytes) => {
                self.lines.push(&buffer[..bytes], sink);
                self.waits_since = self.lines.is_waiting().then(Instant::now);
                true
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => true,
            Err(error) => {
                if error.kind() != io::ErrorKind::WouldBlock {
                    self.pipe = None;
                }
                false
            }
        }
    }

    fn show_waiting(&mut self, sink: &mut crate::lines::Sink<'_>) {
        if self.waits_since.is_some_and(|since| since.elapsed() >= IDLE) {
            self.lines.flush(sink);
            self.waits_since = None;
        }
    }
}
