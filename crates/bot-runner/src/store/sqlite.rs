//! Bots in SQLite. A row holds the document as JSON, just as MongoDB would, and the columns it is found by.

mod rows;

use std::collections::BTreeMap;

use async_trait::async_trait;
use rusqlite::{Row, Transaction, params};
use the0_backends::sqlite::{Database, segments};
use the0_core::Scope;
use the0_model::{Bot, BotEvent, BotId, BotRevision, BotStatus, SegmentId};

use super::{BotStore, StoreError};
use rows::{
    BOTS, Work, append, bot, column, find, find_status, parse, parse_id, place, refuse, segments_of,
    stored_generation, text,
};

/// The MongoDB database whose `partitions` and `counters` these rows mirror.
const REALM: &str = "bot_runner";
const STATUSES: &str = "SELECT s.bot_id, s.document FROM bot_statuses s";

/// Bots in a SQLite file. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SqliteBotStore {
    database: Database,
    per_segment_max: u32,
}

impl SqliteBotStore {
    /// Bots in `database`, at most `per_segment_max` (`MAX_BOTS_PER_PARTITION`) in each segment.
    pub fn new(database: Database, per_segment_max: u32) -> Self {
        Self { database, per_segment_max: per_segment_max.max(1) }
    }
}

#[async_trait]
impl BotStore for SqliteBotStore {
    async fn get(&self, bot: &BotId) -> Result<Option<Bot>, StoreError> {
        let bot = bot.clone();
        self.database.read(move |transaction| find(transaction, &bot)).await
    }

    async fn enabled(&self, scope: &Scope) -> Result<Vec<Bot>, StoreError> {
        let segments = segments_of(scope);
        self.database
            .read(move |transaction| {
                let mut found = Vec::new();
                let Some(segments) = segments else {
                    let sql = format!("{BOTS} WHERE enabled ORDER BY id");
                    let mut statement = transaction.prepare_cached(&sql)?;
                    let mut rows = statement.query([])?;
                    while let Some(row) = rows.next()? {
                        found.push(bot(row)?);
                    }
                    return Ok(found);
                };
                let mut statement =
                    transaction.prepare_cached(&format!("{BOTS} WHERE segment_id = ?1 AND enabled"))?;
                for segment in segments {
                    let mut rows = statement.query([segment.0])?;
                    while let Some(row) = rows.next()? {
                        found.push(bot(row)?);
                    }
                }
                found.sort_by(|a, b| a.id.cmp(&b.id));
                Ok(found)
            })
            .await
    }

    async fn list(&self, after: Option<&BotId>, limit: u32) -> Result<Vec<Bot>, StoreError> {
        // No id is empty, so every id is greater than "".
        let after = after.map_or_else(String::new, ToString::to_string);
        self.database
            .read(move |transaction| {
                let sql = format!("{BOTS} WHERE id > ?1 ORDER BY id LIMIT ?2");
                let mut statement = transaction.prepare_cached(&sql)?;
                let mut rows = statement.query(params![after, limit])?;
                let mut found = Vec::new();
                while let Some(row) = rows.next()? {
                    found.push(bot(row)?);
                }
                Ok(found)
            })
            .await
    }

    async fn put(&self, bot: Bot) -> Result<Bot, StoreError> {
        let max = self.per_segment_max;
        self.database
            .write(move |transaction| {
                if bot.revision == BotRevision(0) {
                    insert(transaction, bot, max)
                } else {
                    replace(transaction, bot)
                }
            })
            .await
    }

    async fn remove(&self, bot: &BotId, revision: Option<BotRevision>) -> Result<bool, StoreError> {
        let bot = bot.clone();
        self.database
            .write(move |transaction| {
                let Some((segment, found)) = place(transaction, &bot)? else { return Ok(false) };
                if let Some(expected) = revision.filter(|expected| *expected != found) {
                    return refuse(StoreError::Conflict { bot, expected, found: Some(found) });
                }
                transaction.execute("DELETE FROM bots WHERE id = ?1", [bot.as_str()])?;
                segments::release(transaction, REALM, segment)?;
                Ok(true)
            })
            .await
    }

    async fn status(&self, bot: &BotId) -> Result<Option<BotStatus>, StoreError> {
        let bot = bot.clone();
        self.database.read(move |transaction| find_status(transaction, &bot)).await
    }

    async fn statuses_of(&self, bots: &[BotId]) -> Result<BTreeMap<BotId, BotStatus>, StoreError> {
        let bots = bots.to_vec();
        self.database
            .read(move |transaction| {
                let mut found = BTreeMap::new();
                for bot in bots {
                    if let Some(status) = find_status(transaction, &bot)? {
                        found.insert(bot, status);
                    }
                }
                Ok(found)
            })
            .await
    }

    async fn statuses(&self, scope: &Scope) -> Result<BTreeMap<BotId, BotStatus>, StoreError> {
        let segments = segments_of(scope);
        self.database
            .read(move |transaction| {
                let mut found = BTreeMap::new();
                let mut take = |row: &Row<'_>| -> Work<()> {
                    let (id, document): (String, String) = (row.get(0)?, row.get(1)?);
                    let bot = parse_id(&id)?;
                    let status = parse("status", &id, &document)?;
                    found.insert(bot, status);
                    Ok(())
                };
                let Some(segments) = segments else {
                    let mut statement = transaction.prepare_cached(STATUSES)?;
                    let mut rows = statement.query([])?;
                    while let Some(row) = rows.next()? {
                        take(row)?;
                    }
                    return Ok(found);
                };
                let sql = format!("{STATUSES} JOIN bots b ON b.id = s.bot_id WHERE b.segment_id = ?1");
                let mut statement = transaction.prepare_cached(&sql)?;
                for segment in segments {
                    let mut rows = statement.query([segment.0])?;
                    while let Some(row) = rows.next()? {
                        take(row)?;
                    }
                }
                Ok(found)
            })
            .await
    }

    async fn put_status(
        &self,
        bot: &BotId,
        status: &BotStatus,
        event: Option<&BotEvent>,
    ) -> Result<bool, StoreError> {
        let bot = bot.clone();
        let status = BotStatus { events: Vec::new(), ..status.clone() };
        let event = event.cloned();
        self.database
            .write(move |transaction| {
                if place(transaction, &bot)?.is_none() {
                    return Ok(false);
                }
                let (written, stored) = (status.generation, stored_generation(transaction, &bot)?);
                if stored > written {
                    return refuse(StoreError::Stale { bot, written, stored });
                }
                let document = text("status", &bot, &status)?;
                transaction
                    .prepare_cached(
                        "INSERT INTO bot_statuses (bot_id, term, step, document, events)
                         VALUES (?1, ?2, ?3, ?4, '[]')
                         ON CONFLICT (bot_id) DO UPDATE
                         SET term = excluded.term, step = excluded.step, document = excluded.document",
                    )?
                    .execute(params![bot.as_str(), column(written.term), column(written.step), document])?;
                append(transaction, &bot, event)?;
                Ok(true)
            })
            .await
    }

    async fn push_event(&self, bot: &BotId, event: &BotEvent) -> Result<bool, StoreError> {
        let (bot, event) = (bot.clone(), event.clone());
        self.database
            .write(move |transaction| {
                if place(transaction, &bot)?.is_none() {
                    return Ok(false);
                }
                let document = text("status", &bot, &BotStatus::default())?;
                transaction
                    .prepare_cached(
                        "INSERT INTO bot_statuses (bot_id, term, step, document, events)
                         VALUES (?1, 0, 0, ?2, '[]') ON CONFLICT (bot_id) DO NOTHING",
                    )?
                    .execute(params![bot.as_str(), document])?;
                append(transaction, &bot, Some(event))?;
                Ok(true)
            })
            .await
    }

    async fn version(&self) -> Result<u64, StoreError> {
        self.database
            .read(|transaction| {
                let version: i64 = transaction
                    .prepare_cached("SELECT seq FROM changes WHERE name = 'bots'")?
                    .query_row([], |row| row.get(0))?;
                Ok(version.unsigned_abs())
            })
            .await
    }

    async fn repair(&self) -> Result<Vec<SegmentId>, StoreError> {
        self.database
            .write(|transaction| {
                let documents: BTreeMap<SegmentId, i64> = transaction
                    .prepare("SELECT segment_id, count(*) FROM bots GROUP BY segment_id")?
                    .query_map([], |row| Ok((SegmentId(row.get(0)?), row.get(1)?)))?
                    .collect::<rusqlite::Result<_>>()?;
                let repaired = segments::repair(transaction, REALM, &documents)?;
                Ok(repaired.into_keys().collect())
            })
            .await
    }
}

fn insert(transaction: &Transaction<'_>, mut bot: Bot, max: u32) -> Work<Bot> {
    if place(transaction, &bot.id)?.is_some() {
        return refuse(StoreError::AlreadyExists { bot: bot.id });
    }
    bot.segment_id = segments::allocate(transaction, REALM, max)?;
    bot.revision = BotRevision(1);
    let document = text("bot", &bot.id, &bot)?;
    transaction
        .prepare_cached(
            "INSERT INTO bots (id, segment_id, enabled, revision, document) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![bot.id.as_str(), bot.segment_id.0, bot.is_enabled(), bot.revision.0, document])?;
    Ok(bot)
}

fn replace(transaction: &Transaction<'_>, mut bot: Bot) -> Work<Bot> {
    let expected = bot.revision;
    let found = place(transaction, &bot.id)?;
    let Some((segment, _)) = found.filter(|(_, revision)| *revision == expected) else {
        let found = found.map(|(_, revision)| revision);
        return refuse(StoreError::Conflict { bot: bot.id, expected, found });
    };
    bot.segment_id = segment;
    bot.revision = BotRevision(expected.0 + 1);
    let document = text("bot", &bot.id, &bot)?;
    transaction
        .prepare_cached("UPDATE bots SET enabled = ?2, revision = ?3, document = ?4 WHERE id = ?1")?
        .execute(params![bot.id.as_str(), bot.is_enabled(), bot.revision.0, document])?;
    Ok(bot)
}

#[cfg(test)]
mod tests;
