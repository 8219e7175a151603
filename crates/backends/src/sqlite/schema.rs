//! What a file of each version looks like, for all services: one file has one version.
//!
//! Documents are kept as JSON that mirrors the MongoDB documents, beside the few columns that are searched by.

use rusqlite::{Connection, TransactionBehavior};

/// Marks our files, so that another program's database is not taken for one: "the0" in ASCII.
pub(super) const APPLICATION_ID: i32 = 0x7468_6530;

/// One step per version, oldest first. Never edit a step that was released: add one.
const STEPS: [&str; 1] = [
    // 1: live bots. `changes` counts by trigger, so that a write by hand is noticed too. `realm` is the MongoDB database
    // a partition would be in: the segments of each service are its own.
    "
    CREATE TABLE partitions (
        realm TEXT NOT NULL,
        id INTEGER NOT NULL,
        bot_count INTEGER NOT NULL CHECK (bot_count >= 0),
        PRIMARY KEY (realm, id)
    ) WITHOUT ROWID;
    CREATE TABLE counters (
        realm TEXT NOT NULL,
        id TEXT NOT NULL,
        seq INTEGER NOT NULL,
        PRIMARY KEY (realm, id)
    ) WITHOUT ROWID;
    CREATE TABLE changes (name TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO changes (name, seq) VALUES ('bots', 0);

    CREATE TABLE bots (
        id TEXT PRIMARY KEY,
        segment_id INTEGER NOT NULL,
        enabled INTEGER NOT NULL,
        revision INTEGER NOT NULL,
        document TEXT NOT NULL CHECK (json_valid(document))
    );
    CREATE INDEX bots_by_segment ON bots (segment_id, enabled);
    CREATE TRIGGER bots_inserted AFTER INSERT ON bots
        BEGIN UPDATE changes SET seq = seq + 1 WHERE name = 'bots'; END;
    CREATE TRIGGER bots_updated AFTER UPDATE ON bots
        BEGIN UPDATE changes SET seq = seq + 1 WHERE name = 'bots'; END;
    CREATE TRIGGER bots_deleted AFTER DELETE ON bots
        BEGIN UPDATE changes SET seq = seq + 1 WHERE name = 'bots'; END;

    CREATE TABLE bot_statuses (
        bot_id TEXT PRIMARY KEY REFERENCES bots (id) ON DELETE CASCADE,
        term INTEGER NOT NULL,
        step INTEGER NOT NULL,
        document TEXT NOT NULL CHECK (json_valid(document)),
        events TEXT NOT NULL CHECK (json_valid(events))
    );
    ",
];

/// The newest version known: the number of steps.
pub(super) const VERSION: i64 = 1;
const _: () = assert!(STEPS.len() == 1, "VERSION is the number of steps");

/// How a migration ended other than well.
pub(super) enum Mismatch {
    /// The application id is someone else's.
    Foreign(i32),
    /// The version is beyond ours.
    TooNew(i64),
    /// SQLite failed.
    Sql(rusqlite::Error),
}

impl From<rusqlite::Error> for Mismatch {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

/// Brings a file to the newest version, in one transaction: all of it or nothing.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), Mismatch> {
    // Immediate, because two processes may open a new file at once: the second must find the first one's work.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let application: i32 = transaction.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let tables: i64 = transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let is_new = application == 0 && version == 0 && tables == 0;
    if !is_new && application != APPLICATION_ID {
        return Err(Mismatch::Foreign(application));
    }
    if version > VERSION {
        return Err(Mismatch::TooNew(version));
    }
    let done = usize::try_from(version).unwrap_or(0);
    for step in STEPS.iter().skip(done) {
        transaction.execute_batch(step)?;
    }
    if version < VERSION {
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()?;
    Ok(())
}
