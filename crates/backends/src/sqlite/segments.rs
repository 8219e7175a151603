//! Segments: `partitions` of at most so many documents each, counted here and repaired from the documents.
//!
//! All of it works inside the caller's transaction: a document and its place are stored together or not at all.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, Transaction, params};
use the0_model::SegmentId;

/// What a repair found, per segment: the number stored and the number of documents.
pub type Repaired = BTreeMap<SegmentId, Miscount>;

/// A segment whose number was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Miscount {
    /// What was stored; `None` if the partition was missing.
    pub stored: Option<i64>,
    /// What there is.
    pub counted: i64,
}

/// Takes a place in the first segment of `realm` with less than `max` documents, or in a new one. Numbers start at 1 and
/// are never used again.
pub fn allocate(transaction: &Transaction<'_>, realm: &str, max: u32) -> rusqlite::Result<SegmentId> {
    let roomy: Option<i32> = transaction
        .prepare_cached("SELECT id FROM partitions WHERE realm = ?1 AND bot_count < ?2 ORDER BY id LIMIT 1")?
        .query_row(params![realm, max], |row| row.get(0))
        .optional()?;
    if let Some(id) = roomy {
        transaction
            .prepare_cached("UPDATE partitions SET bot_count = bot_count + 1 WHERE realm = ?1 AND id = ?2")?
            .execute(params![realm, id])?;
        return Ok(SegmentId(id));
    }
    let id: i32 = transaction
        .prepare_cached(
            "INSERT INTO counters (realm, id, seq) VALUES (?1, 'partition_id', 1)
             ON CONFLICT (realm, id) DO UPDATE SET seq = seq + 1 RETURNING seq",
        )?
        .query_row([realm], |row| row.get(0))?;
    transaction
        .prepare_cached("INSERT INTO partitions (realm, id, bot_count) VALUES (?1, ?2, 1)")?
        .execute(params![realm, id])?;
    Ok(SegmentId(id))
}

/// Gives a place back. Never goes below zero: a wrong count is a matter for [`repair`], not a reason to keep a document.
pub fn release(transaction: &Transaction<'_>, realm: &str, segment: SegmentId) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "UPDATE partitions SET bot_count = max(bot_count - 1, 0) WHERE realm = ?1 AND id = ?2",
        )?
        .execute(params![realm, segment.0])?;
    Ok(())
}

/// Segments of `realm` that hold a document.
pub fn active(transaction: &Transaction<'_>, realm: &str) -> rusqlite::Result<Vec<SegmentId>> {
    transaction
        .prepare_cached("SELECT id FROM partitions WHERE realm = ?1 AND bot_count > 0 ORDER BY id")?
        .query_map([realm], |row| row.get(0).map(SegmentId))?
        .collect()
}

/// Makes the numbers of `realm` what the documents say, and returns those that were wrong.
pub fn repair(
    transaction: &Transaction<'_>,
    realm: &str,
    documents: &BTreeMap<SegmentId, i64>,
) -> rusqlite::Result<Repaired> {
    let stored: BTreeMap<SegmentId, i64> = transaction
        .prepare("SELECT id, bot_count FROM partitions WHERE realm = ?1")?
        .query_map([realm], |row| Ok((SegmentId(row.get(0)?), row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut repaired = Repaired::new();
    let segments = stored.keys().chain(documents.keys()).copied();
    for segment in segments.collect::<std::collections::BTreeSet<_>>() {
        let miscount = Miscount {
            stored: stored.get(&segment).copied(),
            counted: documents.get(&segment).copied().unwrap_or(0),
        };
        if miscount.stored != Some(miscount.counted) {
            transaction.execute(
                "INSERT INTO partitions (realm, id, bot_count) VALUES (?1, ?2, ?3)
                 ON CONFLICT (realm, id) DO UPDATE SET bot_count = excluded.bot_count",
                params![realm, segment.0, miscount.counted],
            )?;
            repaired.insert(segment, miscount);
        }
        // A segment in use whose number the counter has not reached yet would be given out a second time.
        transaction.execute(
            "INSERT INTO counters (realm, id, seq) VALUES (?1, 'partition_id', ?2)
             ON CONFLICT (realm, id) DO UPDATE SET seq = max(seq, excluded.seq)",
            params![realm, segment.0],
        )?;
    }
    Ok(repaired)
}
