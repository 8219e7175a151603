//! Processes that may not be ours, told apart from others that later get their number.

use std::{fs, io, os::fd::OwnedFd};

use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use serde::{Deserialize, Serialize};
use tokio::io::{Interest, unix::AsyncFd};

/// A process, named so that a later one with the same number is not taken for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProcessId {
    /// Its number.
    pub(super) pid: i32,
    /// When it was started, in the kernel's ticks since boot.
    pub(super) started: u64,
}

impl ProcessId {
    /// The process with this number, if there is one that has not ended.
    pub(super) fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (state, started) = state_and_start(&stat)?;
        (!matches!(state, 'Z' | 'X')).then_some(Self { pid, started })
    }

    /// This process.
    pub(super) fn me() -> Option<Self> {
        Self::of(i32::try_from(std::process::id()).ok()?)
    }

    /// Whether it has not ended.
    pub(super) fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Takes hold of it. `None` if it has ended.
    #[expect(
        deprecated,
        reason = "its successor is unsafe; an owned descriptor upholds what that one asks for"
    )]
    pub(super) fn hold(self) -> io::Result<Option<Held>> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(None) };
        match pidfd_open(pid, PidfdFlags::NONBLOCK) {
            // Asked again now that the number cannot be given to another.
            Ok(fd) if self.is_alive() => Ok(Some(Held(AsyncFd::with_interest(fd, Interest::READABLE)?))),
            Ok(_) | Err(Errno::SRCH) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Hold of a process: its number cannot come to mean another.
#[derive(Debug)]
pub(super) struct Held(AsyncFd<OwnedFd>);

impl Held {
    /// Sends a signal. Does nothing if it has ended.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(self.0.get_ref(), signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until it has ended. Cancel-safe.
    pub(super) async fn ended(&self) -> io::Result<()> {
        self.0.readable().await.map(drop)
    }
}

/// Names this boot of the machine: numbers and ticks of another mean nothing.
pub(super) fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// State and start time out of `/proc/<pid>/stat`. The name in it may hold spaces and parentheses.
fn state_and_start(stat: &str) -> Option<(char, u64)> {
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    // Field 22 of the whole, the state being field 3.
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_mislead() {
        let stat =
            "42 (a) Z 1 (b) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 0 0 18446744073709551615";
        assert_eq!(state_and_start(stat), Some(('S', 987_654)));
        assert_eq!(state_and_start("garbage"), None);
    }

    #[tokio::test]
    async fn an_end_is_seen_and_a_reused_number_is_not_believed() {
        let mut child = tokio::process::Command::new("/bin/sh")
            .args(["-c", "read line"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let id = ProcessId::of(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
        assert!(id.is_alive());
        let other = ProcessId { started: id.started + 1, ..id };
        assert!(!other.is_alive() && other.hold().unwrap().is_none());
        let held = id.hold().unwrap().unwrap();
        held.signal(Signal::KILL).unwrap();
        tokio::time::timeout(Duration::from_secs(5), held.ended()).await.unwrap().unwrap();
        assert!(!id.is_alive(), "a zombie has ended");
        child.wait().await.unwrap();
        assert!(id.hold().unwrap().is_none());
    }
}
