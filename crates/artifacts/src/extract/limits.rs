//! Pure: how large a bundle may be, packed and unpacked.

use super::inside::NameBounds;

/// How large a bundle may be, packed and unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Size of the archive, in bytes.
    pub archive_bytes: u64,
    /// Size of all files together, in bytes.
    pub total_bytes: u64,
    /// Size of one file, in bytes.
    pub file_bytes: u64,
    /// Number of entries, folders included.
    pub files: usize,
    /// Folders within folders, the file itself included.
    pub depth: usize,
    /// Unpacked size as a multiple of the packed size, counted above [`RATIO_FLOOR`].
    pub ratio: u64,
    /// Bytes of one part of a name. The whole name may have 1024.
    pub name_bytes: usize,
}

/// Below this many unpacked bytes, no ratio is too high: short texts of one letter are harmless.
pub const RATIO_FLOOR: u64 = 8 << 20;

/// Longest whole name, in bytes.
const WHOLE_NAME_BYTES: usize = 1024;

impl Default for Limits {
    fn default() -> Self {
        Self {
            archive_bytes: 256 << 20,
            total_bytes: 1 << 30,
            file_bytes: 512 << 20,
            files: 20_000,
            depth: 32,
            ratio: 200,
            name_bytes: 255,
        }
    }
}

impl Limits {
    /// The bounds on names.
    pub(crate) fn names(&self) -> NameBounds {
        NameBounds { depth: self.depth, component_bytes: self.name_bytes, total_bytes: WHOLE_NAME_BYTES }
    }

    /// How many bytes may come out of `packed` bytes.
    pub(crate) fn unpacked_from(&self, packed: u64) -> u64 {
        packed.saturating_mul(self.ratio).max(RATIO_FLOOR)
    }
}

/// A number of bytes for people: the largest unit that keeps it exact enough.
pub(crate) fn bytes_shown(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{} KiB", bytes >> 10),
        1_048_576..1_073_741_824 => format!("{} MiB", bytes >> 20),
        _ => format!("{} GiB", bytes >> 30),
    }
}
