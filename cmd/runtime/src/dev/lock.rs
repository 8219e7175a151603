//! One service per data directory.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
};

use serde::{Deserialize, Serialize};

use super::data_dir::DataDir;
use crate::exit::{Exit, Failure};

/// The lock, held until it is dropped or the process ends, however it ends. What the file says is only for messages: the
/// kernel's lock counts, so a file left by a crash keeps nobody out.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Holder {
    pid: u32,
    address: Option<SocketAddr>,
}

impl Lock {
    pub(super) fn take(data: &DataDir) -> Result<Self, Failure> {
        let path = data.lock();
        let named = |error: std::io::Error| Failure::failed(format!("{}: {error}", path.display()));
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(&path)
            .map_err(named)?;
        match file.try_lock() {
            Ok(()) => {
                let mut lock = Self { file };
                lock.write(&Holder { pid: std::process::id(), address: None });
                Ok(lock)
            }
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let _ = (&mut file).take(4096).read_to_string(&mut text);
                let holder: Holder = serde_json::from_str(&text).unwrap_or_default();
                let at = holder.address.map_or_else(String::new, |address| format!(" at {address}"));
                let dir = data.path().display();
                Err(Failure::new(
                    Exit::Conflict,
                    format!("another runtime (pid {}{at}) uses {dir}", holder.pid),
                )
                .and("use that one, stop it, or choose another directory with --data-dir"))
            }
            Err(TryLockError::Error(error)) => Err(named(error)),
        }
    }

    /// Notes where this service can be reached.
    pub(super) fn tell(&mut self, address: SocketAddr) {
        self.write(&Holder { pid: std::process::id(), address: Some(address) });
    }

    fn write(&mut self, holder: &Holder) {
        let text = serde_json::to_vec(holder).unwrap_or_default();
        // Only messages depend on it.
        let _ = self.file.rewind();
        let _ = self.file.set_len(0);
        let _ = self.file.write_all(&text);
    }
}
