//! Pure: from what a pipe gives to records, and the last lines of it all.

use std::collections::VecDeque;

use the0_model::{
    LogStream,
    exit::{LAST_LINE_BYTES_MAX, LAST_LINES_MAX},
    log::LOG_PIECE_BYTES_MAX,
};

/// Takes records: stream, whether the line goes on, and the bytes.
pub(crate) type Sink<'a> = dyn FnMut(LogStream, bool, &[u8]) + 'a;

/// Cuts the bytes of one stream into records. Holds less than one piece, whatever comes in.
#[derive(Debug)]
pub(crate) struct Assembler {
    stream: LogStream,
    pending: Vec<u8>,
    /// The last record was a piece of a line that goes on.
    open: bool,
}

impl Assembler {
    pub(crate) const fn new(stream: LogStream) -> Self {
        Self { stream, pending: Vec::new(), open: false }
    }

    /// Whether bytes wait for the rest of their line.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Takes in what was read.
    pub(crate) fn push(&mut self, mut bytes: &[u8], sink: &mut Sink<'_>) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.extend(&bytes[..end], sink);
            sink(self.stream, false, &self.pending);
            self.pending.clear();
            self.open = false;
            bytes = &bytes[end + 1..];
        }
        self.extend(bytes, sink);
    }

    /// Passes on what waits, as a piece of a line that may go on: a prompt without a newline is to be seen.
    pub(crate) fn flush(&mut self, sink: &mut Sink<'_>) {
        if self.is_waiting() {
            sink(self.stream, true, &self.pending);
            self.pending.clear();
            self.open = true;
        }
    }

    /// Ends the stream; an unfinished line is finished.
    pub(crate) fn finish(&mut self, sink: &mut Sink<'_>) {
        if self.is_waiting() || self.open {
            sink(self.stream, false, &self.pending);
            self.pending.clear();
            self.open = false;
        }
    }

    fn extend(&mut self, mut bytes: &[u8], sink: &mut Sink<'_>) {
        while self.pending.len() + bytes.len() > LOG_PIECE_BYTES_MAX {
            let (piece, rest) = bytes.split_at(LOG_PIECE_BYTES_MAX - self.pending.len());
            self.pending.extend_from_slice(piece);
            self.flush(sink);
            bytes = rest;
        }
        self.pending.extend_from_slice(bytes);
    }
}

/// Remembers the last lines of both streams, and the last words on standard error.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    lines: VecDeque<String>,
    last_error: Option<String>,
    /// The beginning of the line each stream is in: standard output, standard error.
    heads: [Vec<u8>; 2],
}

impl Tail {
    /// Takes in a record.
    pub(crate) fn record(&mut self, stream: LogStream, partial: bool, text: &[u8]) {
        let head = match stream {
            LogStream::Stdout => &mut self.heads[0],
            LogStream::Stderr => &mut self.heads[1],
            LogStream::Agent => return,
        };
        let room = LAST_LINE_BYTES_MAX.saturating_sub(head.len());
        head.extend_from_slice(&text[..text.len().min(room)]);
        if partial {
            return;
        }
        let line = shortened(head);
        head.clear();
        if stream == LogStream::Stderr && !line.trim().is_empty() {
            self.last_error = Some(line.clone());
        }
        if self.lines.len() == LAST_LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// The lines, oldest first, and the last line of standard error that is not empty.
    pub(crate) fn into_parts(self) -> (Vec<String>, Option<String>) {
        (self.lines.into(), self.last_error)
    }
}

/// As text within the limit; what is not UTF-8 is replaced, which may lengthen it.
fn shortened(bytes: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    text.truncate(text.floor_char_boundary(LAST_LINE_BYTES_MAX));
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Records = Vec<(bool, Vec<u8>)>;

    fn records(run: impl FnOnce(&mut Assembler, &mut Sink<'_>)) -> Records {
        let mut out = Records::new();
        let mut assembler = Assembler::new(LogStream::Stdout);
        run(&mut assembler, &mut |_, partial, text| out.push((partial, text.to_vec())));
        out
    }

    #[test]
    fn a_prompt_is_seen_before_its_newline() {
        let out = records(|assembler, sink| {
            assembler.push(b"one\ntwo? ", sink);
            assembler.flush(sink);
            assembler.flush(sink);
            assembler.push(b"yes\n", sink);
            assembler.push(b"end", sink);
            assembler.finish(sink);
            assembler.finish(sink);
        });
        let expected: [(bool, &[u8]); 4] =
            [(false, b"one"), (true, b"two? "), (false, b"yes"), (false, b"end")];
        assert_eq!(out, expected.map(|(partial, text)| (partial, text.to_vec())));
    }

    #[test]
    fn a_line_left_open_is_closed_at_the_end() {
        let out = records(|assembler, sink| {
            assembler.push(b"x", sink);
            assembler.flush(sink);
            assembler.finish(sink);
        });
        assert_eq!(out, [(true, b"x".to_vec()), (false, vec![])]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_too_long(chunks in proptest::collection::vec(
            prop_oneof![
                proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..100),
                (1usize..40_000).prop_map(|len| vec![b'x'; len]),
            ], 0..8)) {
            let out = records(|assembler, sink| {
                for chunk in &chunks {
                    assembler.push(chunk, sink);
                    assert!(assembler.pending.len() <= LOG_PIECE_BYTES_MAX);
                }
                assembler.finish(sink);
            });
            let mut joined = Vec::new();
            for (partial, text) in &out {
                prop_assert!(text.len() <= LOG_PIECE_BYTES_MAX);
                joined.extend_from_slice(text);
                if !partial {
                    joined.push(b'\n');
                }
            }
            let mut expected = chunks.concat();
            if expected.last().is_some_and(|byte| *byte != b'\n') {
                expected.push(b'\n');
            }
            prop_assert_eq!(joined, expected);
        }
    }

    #[test]
    fn only_the_last_lines_are_kept_and_they_are_short() {
        let mut tail = Tail::default();
        for number in 0..30 {
            tail.record(LogStream::Stdout, false, format!("line {number}").as_bytes());
        }
        tail.record(LogStream::Stderr, true, b"a piece, ");
        tail.record(LogStream::Agent, false, b"not the bot's");
        tail.record(LogStream::Stderr, false, &[0xff; 900]);
        tail.record(LogStream::Stderr, false, b"  ");
        let (lines, error) = tail.into_parts();
        assert_eq!(lines.len(), LAST_LINES_MAX);
        assert_eq!(lines[0], "line 12");
        assert!(lines[18].starts_with("a piece, \u{fffd}") && lines[18].len() <= LAST_LINE_BYTES_MAX);
        assert_eq!(error, Some(lines[18].clone()), "an empty line says nothing");
    }
}
