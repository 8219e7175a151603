//! Waiting for what may happen: a signal, a child's end, the time.

use std::{
    io::{self, Read},
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::{
    consts::{SIGCHLD, SIGINT, SIGTERM},
    flag,
    low_level::pipe,
};

/// Signals to the agent. Handlers, not a mask: a mask would be inherited by the bot.
#[derive(Debug)]
pub(crate) struct Signals {
    rung: UnixStream,
    stop: Arc<AtomicBool>,
}

impl Signals {
    /// Starts catching SIGTERM and SIGINT (stop) and SIGCHLD (look at the children).
    pub(crate) fn catch() -> io::Result<Self> {
        let (rung, bell) = UnixStream::pair()?;
        rung.set_nonblocking(true)?;
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // The flag first: whoever hears the bell sees it.
            flag::register(signal, Arc::clone(&stop))?;
            pipe::register(signal, bell.try_clone()?)?;
        }
        pipe::register(SIGCHLD, bell)?;
        Ok(Self { rung, stop })
    }

    /// Waits for any of them, at most `timeout_ms`.
    pub(crate) fn wait(&mut self, timeout_ms: Option<u64>) {
        let timeout = timeout_ms.map(|ms| Timespec {
            tv_sec: i64::try_from(ms / 1000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(ms % 1000 * 1_000_000).unwrap_or_default(),
        });
        let mut polled = [PollFd::new(&self.rung, PollFlags::IN)];
        // An interrupted wait is a wait that ended early.
        let _ = poll(&mut polled, timeout.as_ref());
        let mut bytes = [0; 64];
        while matches!(self.rung.read(&mut bytes), Ok(read) if read == bytes.len()) {}
    }

    /// Whether a stop was asked for since the last time.
    pub(crate) fn take_stop(&self) -> bool {
        self.stop.swap(false, Ordering::SeqCst)
    }
}
