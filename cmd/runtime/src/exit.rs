//! How the process ends: stable exit codes, and what goes to standard error.

use std::{fmt, process::ExitCode};

use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Exit codes of every command but `execute`, which ends as the bot ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Ok,
    /// It failed.
    Failed,
    /// Wrong usage or configuration.
    Usage,
    /// There is no such thing.
    NotFound,
    /// It exists already, or was changed by someone else.
    Conflict,
    /// The service does not answer.
    Unavailable,
    /// It took too long.
    Timeout,
    /// Ctrl-C.
    Interrupted,
    /// The code of the bot that was run.
    Code(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Ok => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::NotFound => 3,
            Exit::Conflict => 4,
            Exit::Unavailable => 5,
            Exit::Timeout => 6,
            Exit::Interrupted => 130,
            Exit::Code(code) => code,
        })
    }
}

/// The table of codes, as shown below every `--help`.
pub(crate) const HELP: &str = "Exit codes: 0 ok, 1 failed, 2 wrong usage or configuration, 3 not found, \
4 conflict or already exists, 5 service unavailable, 6 timeout, 130 interrupted";

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    lines: Vec<String>,
}

impl Failure {
    /// A failure with one line of text.
    pub(crate) fn new(exit: Exit, text: impl fmt::Display) -> Self {
        Self { exit, lines: vec![text.to_string()] }
    }

    /// Wrong usage or configuration.
    pub(crate) fn usage(text: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, text)
    }

    /// It failed.
    pub(crate) fn failed(text: impl fmt::Display) -> Self {
        Self::new(Exit::Failed, text)
    }

    /// Adds a line below.
    pub(crate) fn and(mut self, text: impl fmt::Display) -> Self {
        self.lines.push(text.to_string());
        self
    }

    /// Prints itself to standard error and says how to end. A closed pipe is no failure worth a word.
    pub(crate) fn show(self) -> Exit {
        use std::io::Write;
        let mut err = std::io::stderr().lock();
        for (index, line) in self.lines.iter().enumerate() {
            let _ = if index == 0 { writeln!(err, "error: {line}") } else { writeln!(err, "  {line}") };
        }
        self.exit
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::failed(format!("{error:#}"))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        // `runtime bots ls | head -1` closes the pipe on purpose.
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self { exit: Exit::Ok, lines: vec![] };
        }
        Self::failed(error)
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let exit = match status.code() {
            Code::Ok => Exit::Ok,
            Code::NotFound => Exit::NotFound,
            Code::AlreadyExists | Code::Aborted => Exit::Conflict,
            Code::InvalidArgument | Code::OutOfRange => Exit::Usage,
            Code::Unavailable => Exit::Unavailable,
            Code::DeadlineExceeded => Exit::Timeout,
            Code::Cancelled
            | Code::Unknown
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::Unimplemented
            | Code::Internal
            | Code::DataLoss
            | Code::Unauthenticated => Exit::Failed,
        };
        // A connection that broke says so in the words of four libraries.
        if std::error::Error::source(&status).is_some() {
            return Self::new(
                Exit::Unavailable,
                "the connection to the runtime broke off; is it still running?",
            );
        }
        let mut failure = Self::new(exit, status.message());
        let faults = status.get_details_bad_request().map(|details| details.field_violations);
        for fault in faults.unwrap_or_default() {
            failure = failure.and(format!("{}: {}", fault.field, fault.description));
        }
        failure
    }
}
