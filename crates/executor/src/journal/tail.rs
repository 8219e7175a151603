//! Where to begin: the last lines of an attempt are found from the end, without reading what is before them.

use std::{
    fs::File,
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
};

use the0_model::agent::file;

use crate::units::open_plain;

const BLOCK: u64 = 64 * 1024;

/// Where reading begins: a file, opened, and the one after it is `output.log` if this is not it.
#[derive(Debug)]
pub(super) struct Start {
    /// The file to read first; `None` if the attempt printed nothing yet.
    pub(super) file: Option<File>,
    /// First byte to read.
    pub(super) offset: u64,
    /// Bytes there are from here to the end of the newest file.
    pub(super) budget: u64,
    /// The newest file, if it is another one.
    pub(super) then: Option<File>,
}

/// Finds where the last `lines` lines of an attempt begin; its very beginning for `None`.
pub(super) fn start(folder: &Path, lines: Option<usize>) -> io::Result<Start> {
    let (old, new) = open_both(folder)?;
    let Some(new) = new else {
        let budget = size(old.as_ref())?;
        let offset = match (&old, lines) {
            (Some(old), Some(lines)) => last_lines(old, lines)?.0,
            _ => 0,
        };
        return Ok(Start { file: old, offset, budget: budget - offset.min(budget), then: None });
    };
    let (in_new, found) = match lines {
        Some(lines) => last_lines(&new, lines)?,
        None => (0, 0),
    };
    let new_size = size(Some(&new))?;
    let Some(old) = old.filter(|_| lines.is_none_or(|lines| found < lines)) else {
        return Ok(Start {
            file: Some(new),
            offset: in_new,
            budget: new_size - in_new.min(new_size),
            then: None,
        });
    };
    let offset = match lines {
        Some(lines) => last_lines(&old, lines - found)?.0,
        None => 0,
    };
    let old_size = size(Some(&old))?;
    Ok(Start { file: Some(old), offset, budget: old_size - offset.min(old_size) + new_size, then: Some(new) })
}

/// Opens the rotated and the current file as they belong together.
fn open_both(folder: &Path) -> io::Result<(Option<File>, Option<File>)> {
    loop {
        let new = open_maybe(&folder.join(file::OUTPUT))?;
        let old = open_maybe(&folder.join(file::OUTPUT_OLD))?;
        match (&new, &old) {
            // Rotated between the two: what was the current one is the old one now.
            (Some(a), Some(b)) if a.metadata()?.ino() == b.metadata()?.ino() => {}
            _ => return Ok((old, new)),
        }
    }
}

pub(super) fn open_maybe(path: &Path) -> io::Result<Option<File>> {
    match open_plain(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn size(file: Option<&File>) -> io::Result<u64> {
    file.map_or(Ok(0), |file| Ok(file.metadata()?.len()))
}

/// Where the last `wanted` whole lines of a file begin, and how many there are from there.
fn last_lines(file: &File, wanted: usize) -> io::Result<(u64, usize)> {
    let mut high = file.metadata()?.len();
    if wanted == 0 {
        return Ok((high, 0));
    }
    let mut found = 0;
    while high > 0 {
        let low = high.saturating_sub(BLOCK);
        let mut block = vec![0; usize::try_from(high - low).unwrap_or(0)];
        file.read_exact_at(&mut block, low)?;
        let ends: Vec<usize> =
            block.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(place, _)| place).collect();
        for (nth, end) in ends.iter().enumerate().rev() {
            let begin = match nth.checked_sub(1) {
                Some(before) => ends[before] + 1,
                None if low == 0 => 0,
                // Its beginning is in the block before.
                None => continue,
            };
            if is_whole(&block[begin..*end]) {
                if found == wanted {
                    return Ok((low + *end as u64 + 1, found));
                }
                found += 1;
            }
        }
        // A block without an end of line is no record of ours; it is skipped.
        high = match ends.first() {
            Some(first) if low > 0 && *first as u64 + 1 < high - low => low + *first as u64 + 1,
            _ => low,
        };
    }
    Ok((0, found))
}

/// Whether a record ends a line (`F`), rather than being a piece of a longer one (`P`).
fn is_whole(record: &[u8]) -> bool {
    record.splitn(4, |byte| *byte == b' ').nth(2) == Some(b"F")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
        #[test]
        fn the_last_lines_are_the_last_lines(
            lines in proptest::collection::vec((any::<bool>(), 0..9000_usize), 0..60),
            wanted in 0..70_usize,
        ) {
            let mut file = tempfile::tempfile().unwrap();
            let mut ends = vec![0];
            let mut position = 0;
            for (whole, length) in &lines {
                let tag = if *whole { 'F' } else { 'P' };
                let record = format!("2026-11-21T02:24:41.000000000Z stdout {tag} {}\n", "x".repeat(*length));
                file.write_all(record.as_bytes()).unwrap();
                position += record.len() as u64;
                if *whole {
                    ends.push(position);
                }
            }
            let there = ends.len() - 1;
            let (offset, found) = last_lines(&file, wanted).unwrap();
            prop_assert_eq!(found, wanted.min(there));
            let expected = if wanted == 0 { position } else if wanted >= there { 0 } else { ends[there - wanted] };
            prop_assert_eq!(offset, expected);
        }
    }
}
