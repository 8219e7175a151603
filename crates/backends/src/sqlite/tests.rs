use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::Path, sync::mpsc, time::Duration};

use rusqlite::Connection;
use the0_model::SegmentId;

use super::{Abort, Database, DatabaseError, Options, schema, segments, terms};

type Work<T> = Result<T, Abort<DatabaseError>>;

async fn open(path: &Path) -> Database {
    Database::open(path, Options::default()).await.unwrap()
}

async fn refused(path: &Path) -> DatabaseError {
    Database::open(path, Options::default()).await.unwrap_err()
}

async fn count(database: &Database, realm: &'static str, id: &'static str) -> Result<i64, DatabaseError> {
    database
        .write(move |transaction| -> Work<i64> {
            let seq = transaction.query_row(
                "INSERT INTO counters VALUES (?1, ?2, 1) ON CONFLICT DO UPDATE SET seq = seq + 1 RETURNING seq",
                [realm, id],
                |row| row.get(0),
            )?;
            Ok(seq)
        })
        .await
}

#[tokio::test]
async fn what_was_written_is_there_after_a_reopen_and_only_for_its_owner() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("runtime.db");
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    let database = open(&path).await;
    assert_eq!(count(&database, "r", "a").await.unwrap(), 1);
    for name in ["runtime.db", "runtime.db-wal", "runtime.db-shm"] {
        let mode = fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let (mode, sync): (String, i64) = database
        .read(|transaction| -> Work<_> {
            let mode = transaction.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
            Ok((mode, transaction.pragma_query_value(None, "synchronous", |row| row.get(0))?))
        })
        .await
        .unwrap();
    assert_eq!((mode.as_str(), sync), ("wal", 2));
    database.close().await.unwrap();
    assert!(!dir.path().join("runtime.db-wal").exists(), "a closed database is one file");
    assert!(matches!(count(&database, "r", "a").await, Err(DatabaseError::Closed { .. })));
    assert_eq!(count(&open(&path).await, "r", "a").await.unwrap(), 2);
}

#[tokio::test]
async fn a_newer_or_foreign_or_damaged_file_is_refused_by_name_and_left_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("runtime.db");
    open(&path).await.close().await.unwrap();
    let raw = Connection::open(&path).unwrap();
    raw.pragma_update(None, "user_version", schema::VERSION + 1).unwrap();
    drop(raw);
    let error = refused(&path).await;
    assert!(matches!(error, DatabaseError::TooNew { found, known, .. } if found == known + 1), "{error}");
    assert!(error.is_permanent() && error.to_string().contains("runtime.db"), "{error}");

    let foreign = dir.path().join("foreign.db");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
    assert!(matches!(refused(&foreign).await, DatabaseError::Foreign { .. }));

    let garbage = dir.path().join("garbage.db");
    fs::write(&garbage, [b'x'; 8192]).unwrap();
    let error = refused(&garbage).await;
    assert!(matches!(error, DatabaseError::Corrupt { .. }), "{error:?}");
    assert!(error.to_string().contains("garbage.db") && error.to_string().contains("restore"), "{error}");
    assert_eq!(fs::read(&garbage).unwrap(), [b'x'; 8192]);
}

#[tokio::test]
async fn damage_inside_the_file_is_found_when_it_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("runtime.db");
    let database = open(&path).await;
    for id in ["a", "b", "c"] {
        count(&database, "r", id).await.unwrap();
    }
    database.close().await.unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let page = 4096;
    assert!(bytes.len() > 2 * page);
    bytes[page..].fill(0xA5);
    fs::write(&path, &bytes).unwrap();
    let error = refused(&path).await;
    assert!(matches!(error, DatabaseError::Corrupt { .. }), "{error:?}");
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    for path in [dir.path().join("absent/runtime.db"), dir.path().to_owned(), "/proc/runtime.db".into()] {
        let error = refused(&path).await;
        assert!(matches!(error, DatabaseError::NotWritable { .. }), "{error:?}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
}

#[tokio::test]
async fn a_full_disk_loses_nothing_that_was_stored() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(&dir.path().join("runtime.db")).await;
    count(&database, "r", "a").await.unwrap();
    let fill = |pages: i64| {
        let database = database.clone();
        async move {
            database
                .write(move |transaction| -> Work<()> {
                    transaction.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
                    transaction.execute("INSERT INTO changes VALUES (hex(zeroblob(500000)), 1)", [])?;
                    Ok(())
                })
                .await
        }
    };
    let error = fill(20).await.unwrap_err();
    assert!(matches!(error, DatabaseError::Full { .. }), "{error:?}");
    assert!(!error.is_permanent());
    assert_eq!(count(&database, "r", "a").await.unwrap(), 2);
    fill(10_000).await.unwrap();
}

#[tokio::test]
async fn failed_work_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(&dir.path().join("runtime.db")).await;
    let path = database.path().to_owned();
    let result: Result<(), DatabaseError> = database
        .write(move |transaction| {
            transaction.execute("INSERT INTO counters VALUES ('r', 'a', 7)", [])?;
            Err(Abort::Refused(DatabaseError::Busy { path }))
        })
        .await;
    assert!(matches!(result, Err(DatabaseError::Busy { .. })));
    assert_eq!(count(&database, "r", "a").await.unwrap(), 1);
}

#[tokio::test]
async fn a_caller_who_gave_up_is_not_surprised_later() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { call_timeout: Duration::from_millis(100), ..Options::default() };
    let database = Database::open(dir.path().join("runtime.db"), options).await.unwrap();
    let (release, held) = mpsc::channel::<()>();
    let slow = database.read(move |_| -> Work<()> {
        let _ = held.recv_timeout(Duration::from_secs(10));
        Ok(())
    });
    let queued = count(&database, "r", "a");
    let (slow, queued) = tokio::join!(slow, queued);
    assert!(matches!(slow, Err(DatabaseError::Timeout { .. })));
    assert!(matches!(queued, Err(DatabaseError::Timeout { .. })));
    release.send(()).unwrap();
    assert_eq!(count(&database, "r", "a").await.unwrap(), 1, "the queued write was dropped");
}

#[tokio::test]
async fn a_lock_of_another_process_is_waited_for_and_then_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("runtime.db");
    let options = Options { busy_timeout: Duration::from_millis(50), ..Options::default() };
    let database = Database::open(&path, options).await.unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = count(&database, "r", "a").await.unwrap_err();
    assert!(matches!(error, DatabaseError::Busy { .. }), "{error:?}");
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(count(&database, "r", "a").await.unwrap(), 1);
}

#[tokio::test]
async fn two_handles_on_a_new_file_do_not_disturb_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("runtime.db");
    let (one, two) = tokio::join!(open(&path), open(&path));
    for _ in 0..20 {
        let (a, b) = tokio::join!(count(&one, "r", "a"), count(&two, "r", "a"));
        assert_ne!(a.unwrap(), b.unwrap());
    }
    assert_eq!(count(&one, "r", "a").await.unwrap(), 41);
}

#[tokio::test]
async fn terms_grow_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("runtime.db");
    for expected in 1..4 {
        let database = open(&path).await;
        assert_eq!(terms::next_term(&database).await.unwrap(), expected);
        database.close().await.unwrap();
    }
}

#[tokio::test]
async fn segments_are_filled_reused_and_never_numbered_twice() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(&dir.path().join("runtime.db")).await;
    let numbers: Vec<i32> = database
        .write(|transaction| -> Work<_> {
            let mut numbers = Vec::new();
            for _ in 0..5 {
                numbers.push(segments::allocate(transaction, "r", 2)?.0);
            }
            segments::release(transaction, "r", SegmentId(1))?;
            numbers.push(segments::allocate(transaction, "r", 2)?.0);
            // Other services have segments of their own.
            numbers.push(segments::allocate(transaction, "other", 2)?.0);
            for _ in 0..3 {
                segments::release(transaction, "r", SegmentId(3))?;
            }
            transaction.execute("DELETE FROM partitions WHERE realm = 'r' AND id = 3", [])?;
            numbers.push(segments::allocate(transaction, "r", 2)?.0);
            Ok(numbers)
        })
        .await
        .unwrap();
    assert_eq!(numbers, [1, 1, 2, 2, 3, 1, 1, 4]);
}

#[tokio::test]
async fn a_repair_believes_the_documents() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(&dir.path().join("runtime.db")).await;
    let documents = BTreeMap::from([(SegmentId(1), 3), (SegmentId(9), 1)]);
    let (first, second, active, next) = database
        .write(move |transaction| -> Work<_> {
            for _ in 0..2 {
                segments::allocate(transaction, "r", 1)?;
            }
            let first = segments::repair(transaction, "r", &documents)?;
            let second = segments::repair(transaction, "r", &documents)?;
            let active = segments::active(transaction, "r")?;
            segments::allocate(transaction, "r", 1)?;
            Ok((first, second, active, segments::allocate(transaction, "r", 1)?))
        })
        .await
        .unwrap();
    assert_eq!(first.keys().map(|segment| segment.0).collect::<Vec<_>>(), [1, 2, 9]);
    assert_eq!(first[&SegmentId(9)], segments::Miscount { stored: None, counted: 1 });
    assert!(second.is_empty());
    assert_eq!(active, [SegmentId(1), SegmentId(9)]);
    assert_eq!(next, SegmentId(10), "a number in use is not given out again");
}
