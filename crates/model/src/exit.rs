//! Pure: how an attempt ended, in words people can act on.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Most lines of output kept in an [`Exit`].
pub const LAST_LINES_MAX: usize = 20;
/// Most bytes of one such line.
pub const LAST_LINE_BYTES_MAX: usize = 500;

/// How one attempt of a unit ended. Written by the agent, once, when the process is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// What ended it.
    pub cause: Cause,
    /// Exit code of the process, if it exited by itself.
    pub code: Option<i32>,
    /// Signal that killed the process, if one did.
    pub signal: Option<i32>,
    /// What the bot itself said of its end: the exception's or the SDK's message.
    pub message: Option<String>,
    /// The result document the bot left (`result.json`), if it was valid JSON within its size limit.
    pub result: Option<serde_json::Value>,
    /// When it ended.
    pub at: Timestamp,
    /// How long the attempt lasted, in milliseconds.
    pub ran_ms: u64,
    /// Largest memory use seen, in bytes.
    pub peak_memory_bytes: Option<u64>,
    /// The last lines of its output, oldest first.
    pub last_lines: Vec<String>,
}

/// What ended an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Returned normally with code 0.
    Completed,
    /// Exited with another code, raised, or reported an error through its SDK.
    Failed,
    /// Killed by a signal that neither the kernel's memory limit nor the runtime sent.
    Killed,
    /// The kernel killed it, or one of its children, at the memory limit.
    OutOfMemory,
    /// Ended because it was asked to stop.
    Stopped,
    /// Asked to stop, did not end within its grace, and was killed.
    StoppedByForce,
    /// The worker's lease ran out: the dead man's switch ended it.
    Fenced,
    /// It could not be started at all: a missing entrypoint, an interpreter that is not there.
    NotStarted,
    /// The agent vanished without a word (killed from outside, machine restarted).
    Lost,
}

impl Cause {
    /// Whether this end counts as a failure, for backoff and for status.
    pub const fn is_failure(self) -> bool {
        !matches!(self, Self::Completed | Self::Stopped | Self::StoppedByForce | Self::Fenced)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Killed => "killed",
            Self::OutOfMemory => "out of memory",
            Self::Stopped => "stopped",
            Self::StoppedByForce => "stopped by force",
            Self::Fenced => "fenced",
            Self::NotStarted => "not started",
            Self::Lost => "lost",
        })
    }
}

impl fmt::Display for Exit {
    /// One sentence: `out of memory (SIGKILL) after 3.2s, peak 64.0 MiB: message`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.cause)?;
        match (self.signal, self.code) {
            (Some(signal), _) => write!(f, " ({})", signal_name(signal))?,
            (None, Some(code)) if code != 0 => write!(f, " (exit code {code})")?,
            _ => {}
        }
        write!(f, " after {}", seconds(self.ran_ms))?;
        if let Some(peak) = self.peak_memory_bytes {
            write!(f, ", peak {}", mebibytes(peak))?;
        }
        match &self.message {
            Some(message) => write!(f, ": {message}"),
            None => Ok(()),
        }
    }
}

fn seconds(ms: u64) -> String {
    format!("{}.{}s", ms / 1000, ms % 1000 / 100)
}

fn mebibytes(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10) / (1024 * 1024);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

/// The name of a Linux signal number: `SIGKILL`, or `signal 99` for one without a name.
pub fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        10 => "SIGUSR1",
        11 => "SIGSEGV",
        12 => "SIGUSR2",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_reads_as_a_sentence() {
        let exit = Exit {
            cause: Cause::OutOfMemory,
            code: None,
            signal: Some(9),
            message: None,
            result: None,
            at: Timestamp::UNIX_EPOCH,
            ran_ms: 3_249,
            peak_memory_bytes: Some(64 * 1024 * 1024),
            last_lines: vec![],
        };
        assert_eq!(exit.to_string(), "out of memory (SIGKILL) after 3.2s, peak 64.0 MiB");
        let failed = Exit {
            cause: Cause::Failed,
            code: Some(1),
            signal: None,
            message: Some("ValueError: no price".into()),
            peak_memory_bytes: None,
            ..exit
        };
        assert_eq!(failed.to_string(), "failed (exit code 1) after 3.2s: ValueError: no price");
    }

    #[test]
    fn a_requested_stop_is_no_failure() {
        assert!(
            !Cause::Stopped.is_failure() && !Cause::Fenced.is_failure() && !Cause::Completed.is_failure()
        );
        assert!(
            Cause::Lost.is_failure() && Cause::OutOfMemory.is_failure() && Cause::NotStarted.is_failure()
        );
    }
}
