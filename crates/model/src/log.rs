//! Pure: one line of a bot's output, as kept in the attempt's files.
//!
//! The form on disk is the log format of the Kubernetes container runtime interface, which other tools read too:
//! `2026-11-21T02:24:41.123456789Z stdout F text`. `P` marks a piece of a longer line, `F` its last piece.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Longest piece of a line kept as one record, in bytes.
pub const LOG_PIECE_BYTES_MAX: usize = 16 * 1024;

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogStream {
    /// The bot's standard output.
    Stdout,
    /// The bot's standard error.
    Stderr,
    /// The agent's own words about the bot.
    Agent,
}

impl fmt::Display for LogStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Agent => "agent",
        })
    }
}

/// One record of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When the agent read it.
    pub at: Timestamp,
    /// Where it came from.
    pub stream: LogStream,
    /// Whether the line goes on in the next record of the same stream.
    pub partial: bool,
    /// The bytes, without the newline. Not necessarily UTF-8.
    pub text: Vec<u8>,
}

impl LogLine {
    /// The record as it stands in the file, newline included.
    pub fn encode(&self) -> Vec<u8> {
        let tag = if self.partial { 'P' } else { 'F' };
        let mut out = format!("{:.9} {} {tag} ", self.at, self.stream).into_bytes();
        out.extend(self.text.iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte }));
        out.push(b'\n');
        out
    }

    /// Reads a record back. `None` for anything that is not one, such as a record cut short by a crash.
    pub fn decode(record: &[u8]) -> Option<Self> {
        let record = record.strip_suffix(b"\n").unwrap_or(record);
        let mut parts = record.splitn(4, |byte| *byte == b' ');
        let at = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
        let stream = match parts.next()? {
            b"stdout" => LogStream::Stdout,
            b"stderr" => LogStream::Stderr,
            b"agent" => LogStream::Agent,
            _ => return None,
        };
        let partial = match parts.next()? {
            b"P" => true,
            b"F" => false,
            _ => return None,
        };
        Some(Self { at, stream, partial, text: parts.next()?.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_form_on_disk_is_the_container_runtime_interface_one() {
        let line = LogLine {
            at: "2026-11-21T02:24:41.5Z".parse().unwrap(),
            stream: LogStream::Stdout,
            partial: false,
            text: b"hello world".to_vec(),
        };
        assert_eq!(line.encode(), b"2026-11-21T02:24:41.500000000Z stdout F hello world\n");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(text in proptest::collection::vec(any::<u8>().prop_filter("newline", |b| *b != b'\n'), 0..200), partial: bool) {
            let line = LogLine { at: Timestamp::UNIX_EPOCH, stream: LogStream::Stderr, partial, text };
            prop_assert_eq!(LogLine::decode(&line.encode()), Some(line));
        }

        #[test]
        fn garbage_is_no_record_and_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = LogLine::decode(&bytes);
        }
    }
}
