use std::{path::PathBuf, sync::Arc, time::Instant};

use async_trait::async_trait;
use serde_json::json;
use the0_backends::sqlite::{Abort, Database, DatabaseError, Options};
use the0_core::Scope;
use the0_model::{Bot, BotId, Generation, SegmentId};

use crate::store::{
    BotStore, SqliteBotStore, StoreError,
    contract::{Ground, contract_tests},
};

/// A file in a folder of its own.
struct File(tempfile::TempDir);

impl File {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("runtime.db")
    }

    async fn database(&self) -> Database {
        Database::open(self.path(), Options::default()).await.unwrap()
    }

    async fn execute(&self, sql: &'static str) {
        self.database()
            .await
            .write(move |transaction| Ok::<_, Abort<DatabaseError>>(transaction.execute_batch(sql)?))
            .await
            .unwrap();
    }
}

#[async_trait]
impl Ground for File {
    async fn open(&self, per_segment_max: u32) -> Arc<dyn BotStore> {
        Arc::new(SqliteBotStore::new(self.database().await, per_segment_max))
    }

    async fn miscount(&self, segment: SegmentId, count: i64) {
        let set = move |transaction: &rusqlite::Transaction<'_>| {
            let sql = "UPDATE partitions SET bot_count = ?2 WHERE realm = 'bot_runner' AND id = ?1";
            Ok::<_, Abort<DatabaseError>>(transaction.execute(sql, (segment.0, count))?)
        };
        assert_eq!(self.database().await.write(set).await.unwrap(), 1);
    }
}

contract_tests!(File::new());

#[tokio::test]
async fn an_unreadable_document_is_named_and_its_values_are_not_shown() {
    let file = File::new();
    let store = file.open(10).await;
    store.put(bot("b")).await.unwrap();
    file.execute("UPDATE bots SET document = json_set(document, '$.custom', 'canary-4711')").await;
    let error = store.enabled(&all()).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unreadable { bot, .. } if bot == "b"), "{error:?}");
    assert!(error.is_permanent());
    let text = error.to_string();
    assert!(!text.contains("canary") && text.contains("expected struct CustomBot"), "{text}");
    file.execute("UPDATE bots SET document = json_remove(document, '$.config')").await;
    let error = store.get(&BotId::new("b").unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("bot b"), "{error}");
}

#[tokio::test]
async fn people_can_ask_the_file_in_sql() {
    let file = File::new();
    let store = file.open(10).await;
    store.put(bot("b")).await.unwrap();
    let found: String = file
        .database()
        .await
        .read(|transaction| {
            let sql = "SELECT id FROM bots WHERE document ->> '$.custom.config.runtime' = 'python3.11'";
            Ok::<_, Abort<DatabaseError>>(transaction.query_row(sql, [], |row| row.get(0))?)
        })
        .await
        .unwrap();
    assert_eq!(found, "b");
}

/// A sanity check and no benchmark: it fails for an algorithm of the wrong order, not for a busy machine.
#[tokio::test]
async fn ten_thousand_bots_are_read_at_once() {
    let file = File::new();
    let store = file.open(10).await;
    store.put(bot("b")).await.unwrap();
    file.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9999)
         INSERT INTO bots SELECT printf('b%05d', i), i / 10 + 1, 1, 1, json_set(document, '$.id', printf('b%05d', i))
         FROM n, bots WHERE bots.id = 'b'",
    )
    .await;
    let started = Instant::now();
    assert_eq!(store.enabled(&all()).await.unwrap().len(), 10_000);
    let all_at_once = started.elapsed();
    let started = Instant::now();
    for _ in 0..100 {
        store.version().await.unwrap();
    }
    let versions = started.elapsed();
    println!("10,000 bots in {all_at_once:?}; 100 versions in {versions:?}");
    assert!(all_at_once.as_secs() < 10 && versions.as_secs() < 2);
}

fn bot(name: &str) -> Bot {
    serde_json::from_value(json!({
        "id": name, "segment_id": 0, "config": {},
        "custom": {"version": "1.0.0", "filePath": "x", "config": {"name": "bot", "runtime": "python3.11"}}
    }))
    .unwrap()
}

fn all() -> Scope {
    Scope::All { generation: Generation::default() }
}
