//! Reading and writing the lease file.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::Path,
};

use crate::lease::LeaseFile;

/// Largest lease file accepted, in bytes.
const LEASE_BYTES_MAX: u64 = 4096;

/// Replaces the file at `path` atomically: a reader sees the old lease or the new one, never a part.
///
/// Not synced to disk: after a crash of the machine no unit runs that could read it.
///
/// # Errors
/// When the directory cannot be written.
pub fn write(path: &Path, lease: &LeaseFile) -> io::Result<()> {
    let beside = path.with_extension("json.tmp");
    let text = serde_json::to_vec(lease)?;
    File::create(&beside)?.write_all(&text)?;
    fs::rename(&beside, path)
}

/// Reads the file at `path`.
///
/// # Errors
/// When it cannot be read, is larger than a lease can be, or is not one.
pub fn read(path: &Path) -> io::Result<LeaseFile> {
    let mut text = Vec::new();
    File::open(path)?.take(LEASE_BYTES_MAX).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

#[cfg(test)]
mod tests {
    use the0_model::Generation;

    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lease.json");
        assert!(read(&path).is_err());
        for deadline in [10, 20] {
            let lease = LeaseFile {
                deadline_boottime_ms: deadline,
                stop_grace_ms: 5,
                generation: Generation { term: 1, step: deadline },
            };
            write(&path, &lease).unwrap();
            assert_eq!(read(&path).unwrap(), lease);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left behind");
    }

    #[test]
    fn garbage_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lease.json");
        fs::write(&path, b"{\"deadline_boottime_ms\":1").unwrap();
        assert!(read(&path).is_err());
    }
}
