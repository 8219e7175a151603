//! What can go wrong with the file, in words that name it and the way out.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Why the database could not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The file or its directory cannot be created or written.
    #[error(
        "database {} cannot be written: {reason}; give the service a data directory it owns and may write",
        path.display()
    )]
    NotWritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The disk is full. What was being written is not stored; what was stored before is unharmed.
    #[error("database {} cannot grow: the disk is full; free some space, nothing stored is lost", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// The file is damaged, or is no database at all.
    #[error(
        "database {} is damaged: {reason}; stop the service, move the file away together with its -wal and -shm files, \
         and restore a backup or start anew (`sqlite3 FILE .recover` may save its contents)",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What SQLite found.
        reason: String,
    },
    /// The file is a database of some other program.
    #[error("database {} belongs to another program (application id {found:#010x}); choose another file", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Its application id.
        found: i32,
    },
    /// The file was written by a newer version of this program.
    #[error(
        "database {} has schema version {found}, this program knows up to {known}; use the newer program that wrote it, \
         or another data directory",
        path.display()
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version known.
        known: i64,
    },
    /// Another process kept the file locked for longer than the busy timeout.
    #[error("database {} is locked by another process; close whatever else has it open", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// No answer in time. What was asked may still come to pass.
    #[error("database {} gave no answer within {after_ms} ms", path.display())]
    Timeout {
        /// The file.
        path: PathBuf,
        /// How long the caller waited, in milliseconds.
        after_ms: u128,
    },
    /// The database was closed.
    #[error("database {} is closed", path.display())]
    Closed {
        /// The file.
        path: PathBuf,
    },
    /// Anything else.
    #[error("database {} failed: {source}", path.display())]
    Sql {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
}

impl DatabaseError {
    /// Whether trying again, without someone mending something first, is pointless.
    pub const fn is_permanent(&self) -> bool {
        match self {
            Self::NotWritable { .. }
            | Self::Corrupt { .. }
            | Self::Foreign { .. }
            | Self::TooNew { .. }
            | Self::Closed { .. } => true,
            Self::Full { .. } | Self::Busy { .. } | Self::Timeout { .. } | Self::Sql { .. } => false,
        }
    }

    /// Sorts an error of SQLite by what its reader can do about it.
    pub(super) fn of(path: &Path, error: rusqlite::Error) -> Self {
        let path = path.to_owned();
        let reason = error.to_string();
        let code = error.sqlite_error_code();
        match code {
            Some(ErrorCode::DiskFull) => Self::Full { path },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt { path, reason },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { path },
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                Self::NotWritable { path, reason }
            }
            Some(_) | None => Self::Sql { path, source: error },
        }
    }
}
