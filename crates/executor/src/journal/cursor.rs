//! A place in a unit's output, and the way on from there: the rest of the file, the file after it, the next attempt.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
};

use the0_model::{LogLine, agent::file, log::LOG_PIECE_BYTES_MAX};

use super::tail::{Start, open_maybe};
use crate::units::UnitDir;

const BLOCK: usize = 64 * 1024;
/// Longest record believed to be one; the rest of a longer one is skipped.
const RECORD_MAX: usize = LOG_PIECE_BYTES_MAX + 256;

/// What a look brought.
#[derive(Debug)]
pub(super) enum Step {
    /// Lines; there may be more at once.
    Lines(Vec<LogLine>),
    /// Nothing more for now.
    Idle,
}

#[derive(Debug)]
pub(super) struct Cursor {
    attempt: u64,
    file: Option<File>,
    records: Records,
    /// What comes after the end of `file`. Known before the last read of it, so that nothing written to it is missed.
    next: Option<(u64, File)>,
    /// Where to look for what comes next; `None` to end with what was there.
    unit: Option<UnitDir>,
    /// Bytes still to read when not following, so that a unit that prints without end is read to an end.
    budget: u64,
    block: Box<[u8]>,
}

impl Cursor {
    /// Reads what is there.
    pub(super) fn once(start: Start) -> Self {
        Self::at(0, start)
    }

    /// Reads what is there of `attempt`.
    pub(super) fn at(attempt: u64, start: Start) -> Self {
        let Start { mut file, offset, budget, then } = start;
        if let Some(opened) = &mut file
            && opened.seek(SeekFrom::Start(offset)).is_err()
        {
            file = None;
        }
        Self {
            attempt,
            file,
            records: Records::default(),
            next: then.map(|newer| (attempt, newer)),
            unit: None,
            budget,
            block: vec![0; BLOCK].into(),
        }
    }

    /// Reads what is there and what comes after it.
    pub(super) fn following(unit: UnitDir, attempt: u64, start: Start) -> Self {
        Self { unit: Some(unit), budget: u64::MAX, ..Self::at(attempt, start) }
    }

    /// The attempt the last lines are of.
    pub(super) fn attempt(&self) -> u64 {
        self.attempt
    }

    /// Goes on by at most one block.
    pub(super) fn step(&mut self) -> io::Result<Step> {
        loop {
            let most = usize::try_from(self.budget).unwrap_or(BLOCK).min(BLOCK);
            let read = match &mut self.file {
                Some(file) => file.read(&mut self.block[..most])?,
                None => 0,
            };
            if read > 0 {
                self.budget = self.budget.saturating_sub(if self.unit.is_some() { 0 } else { read as u64 });
                let lines = self.records.take(&self.block[..read]);
                if !lines.is_empty() {
                    return Ok(Step::Lines(lines));
                }
            } else if let Some((attempt, file)) = self.next.take() {
                // A rest without an end is what a crash left of a record; it belongs to the attempt before.
                if let Some(rest) = self.records.rest() {
                    self.next = Some((attempt, file));
                    return Ok(Step::Lines(vec![rest]));
                }
                self.attempt = attempt;
                self.file = Some(file);
            } else {
                self.next = self.successor()?;
                if self.next.is_none() {
                    let rest = if self.unit.is_none() { self.records.rest() } else { None };
                    return Ok(rest.map_or(Step::Idle, |rest| Step::Lines(vec![rest])));
                }
            }
        }
    }

    fn successor(&self) -> io::Result<Option<(u64, File)>> {
        let Some(unit) = &self.unit else { return Ok(None) };
        let held = match &self.file {
            Some(file) => Some(file.metadata()?.ino()),
            None => None,
        };
        let folder = unit.attempt(self.attempt).attempt();
        let current = open_maybe(&folder.join(file::OUTPUT))?;
        if let Some(current) = current
            && Some(current.metadata()?.ino()) != held
        {
            // Rotated. If twice, the file between the two is the old one now.
            let between = open_maybe(&folder.join(file::OUTPUT_OLD))?;
            return match between {
                Some(old) if Some(old.metadata()?.ino()) != held => Ok(Some((self.attempt, old))),
                _ => Ok(Some((self.attempt, current))),
            };
        }
        for attempt in unit.attempts()?.into_iter().filter(|number| *number > self.attempt) {
            let folder = unit.attempt(attempt).attempt();
            for name in [file::OUTPUT_OLD, file::OUTPUT] {
                if let Some(first) = open_maybe(&folder.join(name))? {
                    return Ok(Some((attempt, first)));
                }
            }
        }
        Ok(None)
    }
}

/// Cuts bytes into records.
#[derive(Debug, Default)]
struct Records {
    /// The beginning of a record whose end is not read yet.
    open: Vec<u8>,
    /// Whether the open record is too long and is skipped to its end.
    skipping: bool,
}

impl Records {
    fn take(&mut self, mut bytes: &[u8]) -> Vec<LogLine> {
        let mut lines = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (record, rest) = bytes.split_at(end + 1);
            bytes = rest;
            let skipped = std::mem::take(&mut self.skipping);
            if self.open.is_empty() && !skipped {
                lines.extend(LogLine::decode(record));
            } else {
                self.open.extend_from_slice(&record[..record.len().min(RECORD_MAX)]);
                lines.extend(LogLine::decode(&self.open).filter(|_| !skipped));
                self.open.clear();
            }
        }
        if self.open.len() + bytes.len() > RECORD_MAX {
            self.open.clear();
            self.skipping = true;
        } else if !self.skipping {
            self.open.extend_from_slice(bytes);
        }
        lines
    }

    fn rest(&mut self) -> Option<LogLine> {
        LogLine::decode(&std::mem::take(&mut self.open))
    }
}
