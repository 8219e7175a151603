//! From rows to documents and back.

use rusqlite::{OptionalExtension, Row, Transaction, params};
use the0_backends::sqlite::Abort;
use the0_core::Scope;
use the0_model::{Bot, BotEvent, BotId, BotRevision, BotStatus, Generation, SegmentId, status::EVENTS_MAX};

use crate::store::StoreError;

/// Statement that reads bots; what follows it says which.
pub(super) const BOTS: &str = "SELECT id, segment_id, revision, document FROM bots";

/// What a piece of work in the database comes to.
pub(super) type Work<T> = Result<T, Abort<StoreError>>;

pub(super) fn find(transaction: &Transaction<'_>, id: &BotId) -> Work<Option<Bot>> {
    let mut statement = transaction.prepare_cached(&format!("{BOTS} WHERE id = ?1"))?;
    let mut rows = statement.query([id.as_str()])?;
    rows.next()?.map(bot).transpose()
}

/// Segment and revision of a bot, without its document.
pub(super) fn place(transaction: &Transaction<'_>, bot: &BotId) -> Work<Option<(SegmentId, BotRevision)>> {
    let found = transaction
        .prepare_cached("SELECT segment_id, revision FROM bots WHERE id = ?1")?
        .query_row([bot.as_str()], |row| Ok((SegmentId(row.get(0)?), BotRevision(row.get(1)?))))
        .optional()?;
    Ok(found)
}

pub(super) fn find_status(transaction: &Transaction<'_>, bot: &BotId) -> Work<Option<BotStatus>> {
    let found: Option<(String, String)> = transaction
        .prepare_cached("SELECT document, events FROM bot_statuses WHERE bot_id = ?1")?
        .query_row([bot.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((document, events)) = found else { return Ok(None) };
    let status: BotStatus = parse("status", bot.as_str(), &document)?;
    let events = parse("events", bot.as_str(), &events)?;
    Ok(Some(BotStatus { events, ..status }))
}

pub(super) fn stored_generation(transaction: &Transaction<'_>, bot: &BotId) -> Work<Generation> {
    let found = transaction
        .prepare_cached("SELECT term, step FROM bot_statuses WHERE bot_id = ?1")?
        .query_row([bot.as_str()], |row| {
            let (term, step): (i64, i64) = (row.get(0)?, row.get(1)?);
            Ok(Generation { term: term.unsigned_abs(), step: step.unsigned_abs() })
        })
        .optional()?;
    Ok(found.unwrap_or_default())
}

/// Appends an event to the row that is there and drops the oldest beyond [`EVENTS_MAX`].
pub(super) fn append(transaction: &Transaction<'_>, bot: &BotId, event: Option<BotEvent>) -> Work<()> {
    let Some(event) = event else { return Ok(()) };
    let events: String = transaction
        .prepare_cached("SELECT events FROM bot_statuses WHERE bot_id = ?1")?
        .query_row([bot.as_str()], |row| row.get(0))?;
    let mut events: Vec<BotEvent> = parse("events", bot.as_str(), &events)?;
    events.push(event);
    let surplus = events.len().saturating_sub(EVENTS_MAX);
    events.drain(..surplus);
    transaction
        .prepare_cached("UPDATE bot_statuses SET events = ?2 WHERE bot_id = ?1")?
        .execute(params![bot.as_str(), text("events", bot, &events)?])?;
    Ok(())
}

/// The columns are what is searched and counted by, so they win over what the document says of the same.
pub(super) fn bot(row: &Row<'_>) -> Work<Bot> {
    let (id, document): (String, String) = (row.get(0)?, row.get(3)?);
    let mut bot: Bot = parse("document", &id, &document)?;
    bot.id = parse_id(&id)?;
    bot.segment_id = SegmentId(row.get(1)?);
    bot.revision = BotRevision(row.get(2)?);
    Ok(bot)
}

pub(super) fn segments_of(scope: &Scope) -> Option<Vec<SegmentId>> {
    match scope {
        Scope::All { .. } => None,
        Scope::Segments(grants) => Some(grants.iter().map(|grant| grant.segment).collect()),
    }
}

/// SQLite counts in signed 64 bits; no counter comes near.
pub(super) fn column(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn parse_id(id: &str) -> Work<BotId> {
    BotId::new(id).or_else(|error| {
        refuse(StoreError::Unreadable { what: "id", bot: id.to_owned(), reason: error.to_string() })
    })
}

pub(super) fn parse<T: serde::de::DeserializeOwned>(
    what: &'static str,
    bot: &str,
    document: &str,
) -> Work<T> {
    serde_json::from_str(document).or_else(|error| {
        // "invalid type: string "…", expected …" quotes what it found, which may be somebody's key.
        let text = error.to_string();
        let reason =
            text.split_once(", expected").map_or(text.clone(), |(_, rest)| format!("expected{rest}"));
        refuse(StoreError::Unreadable { what, bot: bot.to_owned(), reason })
    })
}

pub(super) fn text<T: serde::Serialize>(what: &'static str, bot: &BotId, value: &T) -> Work<String> {
    serde_json::to_string(value).or_else(|error| {
        refuse(StoreError::Unreadable { what, bot: bot.to_string(), reason: error.to_string() })
    })
}

pub(super) fn refuse<T>(error: StoreError) -> Work<T> {
    Err(Abort::Refused(error))
}
