//! Opens the file: permissions, settings, version, health.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{
    DatabaseError,
    schema::{self, Mismatch},
};

/// Pause between two tries at a file that another process holds.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// How a database is used.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How long another process's lock is waited for.
    pub busy_timeout: Duration,
    /// How long a caller waits for an answer, the queue included. Longer than `busy_timeout`, or a lock would show as a
    /// silent database.
    pub call_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { busy_timeout: Duration::from_secs(5), call_timeout: Duration::from_secs(15) }
    }
}

/// Opens `path`, creating it if absent, and brings it to the newest version. Blocks.
pub(super) fn open(path: &Path, options: Options) -> Result<Connection, DatabaseError> {
    own_file(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection =
        Connection::open_with_flags(path, flags).map_err(|error| DatabaseError::of(path, error))?;
    while_busy(options.busy_timeout, || configure(&connection, options))
        .map_err(|error| DatabaseError::of(path, error))?;
    schema::migrate(&mut connection).map_err(|mismatch| match mismatch {
        Mismatch::Foreign(found) => DatabaseError::Foreign { path: path.to_owned(), found },
        Mismatch::TooNew(found) => {
            DatabaseError::TooNew { path: path.to_owned(), found, known: schema::VERSION }
        }
        Mismatch::Sql(error) => DatabaseError::of(path, error),
    })?;
    check(path, &connection)?;
    Ok(connection)
}

/// Creates the file for its owner alone (configurations hold exchange keys) and takes away what others may do with it.
/// SQLite gives its `-wal` and `-shm` files the same permissions.
fn own_file(path: &Path) -> Result<(), DatabaseError> {
    let denied = |error: std::io::Error| {
        let path = path.to_owned();
        if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) {
            DatabaseError::Full { path }
        } else {
            DatabaseError::NotWritable { path, reason: error.to_string() }
        }
    };
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(denied)?;
    let mode = file.metadata().map_err(denied)?.permissions().mode();
    if mode & 0o077 != 0 {
        file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(denied)?;
    }
    Ok(())
}

/// Tries again while another process holds the file: SQLite does not wait by itself where a new file becomes a WAL one.
fn while_busy(patience: Duration, mut action: impl FnMut() -> rusqlite::Result<()>) -> rusqlite::Result<()> {
    let begun = Instant::now();
    loop {
        match action() {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && begun.elapsed() < patience =>
            {
                std::thread::sleep(BUSY_PAUSE);
            }
            done => return done,
        }
    }
}

fn configure(connection: &Connection, options: Options) -> rusqlite::Result<()> {
    connection.busy_timeout(options.busy_timeout)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // FULL: what was answered is on the disk. It is about people's money, and writes are rare.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    // Reuses disk space after a burst of writes instead of keeping the largest WAL for ever.
    connection.pragma_update(None, "journal_size_limit", 16 * 1024 * 1024)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Looks for damage now, where it can be told to someone, rather than in the middle of a night.
fn check(path: &Path, connection: &Connection) -> Result<(), DatabaseError> {
    let found: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| DatabaseError::of(path, error))?;
    if found == "ok" { Ok(()) } else { Err(DatabaseError::Corrupt { path: path.to_owned(), reason: found }) }
}
