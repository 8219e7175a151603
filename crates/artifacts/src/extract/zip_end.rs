//! Pure: the end of a ZIP archive, read strictly, so that every reader would find the same entries.

/// Bytes of the end that must be looked at: the record, its longest comment, and the two zip64 records.
pub(crate) const TAIL: u64 = 22 + 65_535 + 20 + 56;

const END: &[u8] = b"PK\x05\x06";
const END_BYTES: usize = 22;
const LOCATOR: &[u8] = b"PK\x06\x07";
const LOCATOR_BYTES: usize = 20;
const END64: &[u8] = b"PK\x06\x06";
const END64_BYTES: usize = 56;

/// What the end says of the central directory.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Directory {
    pub(crate) entries: u64,
    pub(crate) start: u64,
    pub(crate) bytes: u64,
}

/// Reads the end of an archive of `length` bytes from its last bytes.
pub(crate) fn read(tail: &[u8], length: u64) -> Result<Directory, &'static str> {
    let at = only_end(tail)?;
    let record = &tail[at..];
    if u16_at(record, 4) != 0 || u16_at(record, 6) != 0 || u16_at(record, 8) != u16_at(record, 10) {
        return Err("it is one of several parts");
    }
    let small = Directory {
        entries: u64::from(u16_at(record, 10)),
        bytes: u64::from(u32_at(record, 12)),
        start: u64::from(u32_at(record, 16)),
    };
    let ends_at = length - (tail.len() - at) as u64;
    let (directory, ends_at) = match large(&tail[..at])? {
        Some(large) if agrees(&small, &large) => (large, ends_at - (LOCATOR_BYTES + END64_BYTES) as u64),
        Some(_) => return Err("its two end records contradict each other"),
        None => (small, ends_at),
    };
    // Anything before the first entry, or between the directory and its end, would shift this sum.
    if directory.start.checked_add(directory.bytes) != Some(ends_at) {
        return Err("its directory is not where its end says; something was put before or after it");
    }
    Ok(directory)
}

/// The place of the one end record. Two that both reach the end of the file would be read differently by different readers.
fn only_end(tail: &[u8]) -> Result<usize, &'static str> {
    let mut found = None;
    for at in 0..=tail.len().saturating_sub(END_BYTES) {
        let rest = &tail[at..];
        if rest.len() < END_BYTES || !rest.starts_with(END) {
            continue;
        }
        if END_BYTES + usize::from(u16_at(rest, 20)) != rest.len() {
            continue;
        }
        if found.is_some() {
            return Err("it has two end records");
        }
        found = Some(at);
    }
    found.ok_or("its end is missing; it was cut off, or something was appended")
}

/// The zip64 record right before the end record, if there is one.
fn large(before: &[u8]) -> Result<Option<Directory>, &'static str> {
    let Some(locator) = before.len().checked_sub(LOCATOR_BYTES).map(|at| &before[at..]) else {
        return Ok(None);
    };
    if !locator.starts_with(LOCATOR) {
        return Ok(None);
    }
    let before = &before[..before.len() - LOCATOR_BYTES];
    let record =
        before.len().checked_sub(END64_BYTES).map(|at| &before[at..]).filter(|r| r.starts_with(END64));
    let record = record.ok_or("its zip64 end record is not where it should be")?;
    Ok(Some(Directory { entries: u64_at(record, 32), bytes: u64_at(record, 40), start: u64_at(record, 48) }))
}

/// Whether the small record says the same, or that the large one counts.
fn agrees(small: &Directory, large: &Directory) -> bool {
    let same = |small: u64, large: u64, see_large: u64| small == large || small == see_large;
    same(small.entries, large.entries, u64::from(u16::MAX))
        && same(small.bytes, large.bytes, u64::from(u32::MAX))
        && same(small.start, large.start, u64::from(u32::MAX))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
