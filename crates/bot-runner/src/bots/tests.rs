use std::path::Path;

use jiff::Timestamp;
use serde_json::json;
use the0_backends::sqlite::{Database, Options};
use the0_core::{Grant, StopReason, fakes};
use the0_model::{Bot, BotEventKind, BotPhase, Cause, SegmentId};
use tokio::sync::broadcast::error::TryRecvError;

use super::*;
use crate::SqliteBotStore;

#[tokio::test]
async fn nothing_is_read_again_while_nothing_changed() {
    let home = Home::new().await;
    let one = home.put("one").await;
    let first = home.bots.desired(&all(1)).await.unwrap();
    assert!(Arc::ptr_eq(&first, &home.bots.desired(&all(1)).await.unwrap()));
    home.report(&one, Outcome::Starting).await;
    home.report(&one, Outcome::Started { attempt: 1 }).await;
    assert!(
        Arc::ptr_eq(&first, &home.bots.desired(&all(1)).await.unwrap()),
        "a status is no change of what is wanted"
    );
    home.put("two").await;
    assert_eq!(home.bots.desired(&all(1)).await.unwrap().len(), 2);
    let none = Scope::Segments([Grant { segment: SegmentId(9), generation: Generation::default() }].into());
    assert!(home.bots.desired(&none).await.unwrap().is_empty());
    assert_eq!(home.bots.desired(&all(1)).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_bot_that_failed_waits_even_if_the_service_was_restarted() {
    let home = Home::new().await;
    let (sick, well) = (home.put("sick").await, home.put("well").await);
    home.bots.desired(&all(1)).await.unwrap();
    home.report(&sick, Outcome::Starting).await;
    home.report(&sick, finished(1, Cause::Failed)).await;
    let until = Some(later(1));
    let not_before = |wanted: &Wanted, unit| wanted[unit].not_before;
    let wanted = home.bots.desired(&all(1)).await.unwrap();
    assert_eq!((not_before(&wanted, &sick), not_before(&wanted, &well)), (until, None));
    let restarted = home.restarted().await;
    let wanted = restarted.bots.desired(&all(2)).await.unwrap();
    assert_eq!((not_before(&wanted, &sick), not_before(&wanted, &well)), (until, None));
    // A change is tried at once.
    let mut bot = restarted.get("sick").await;
    bot.runtime.restarts_requested += 1;
    restarted.bots.store().put(bot).await.unwrap();
    assert_eq!(not_before(&restarted.bots.desired(&all(2)).await.unwrap(), &sick), None);
}

#[tokio::test]
async fn a_bot_that_was_switched_off_and_on_does_not_wait() {
    let home = Home::new().await;
    let sick = home.put("sick").await;
    home.bots.desired(&all(1)).await.unwrap();
    home.report(&sick, finished(1, Cause::Failed)).await;
    assert!(home.bots.desired(&all(1)).await.unwrap()[&sick].not_before.is_some());
    home.enable("sick", false).await;
    home.bots.desired(&all(1)).await.unwrap();
    home.enable("sick", true).await;
    assert_eq!(home.bots.desired(&all(1)).await.unwrap()[&sick].not_before, None);
}

#[tokio::test]
async fn a_bot_that_cannot_run_is_refused_and_stops_no_other() {
    let home = Home::new().await;
    home.put("good").await;
    let bad = home.put("bad").await;
    home.bots.desired(&all(1)).await.unwrap();
    home.report(&bad, Outcome::Started { attempt: 1 }).await;
    let mut bot = home.get("bad").await;
    bot.custom.config.runtime = "cobol".into();
    home.bots.store().put(bot).await.unwrap();
    let wanted = home.bots.desired(&all(1)).await.unwrap();
    assert_eq!(wanted.len(), 1);
    assert_eq!(home.status(&bad).await.phase, BotPhase::Running, "it still runs");
    home.report(&bad, Outcome::Stopped { reason: StopReason::NotWanted, exit: None }).await;
    let status = home.status(&bad).await;
    assert_eq!(status.phase, BotPhase::Refused);
    assert!(status.reason.contains("cobol"), "{}", status.reason);
    let events = status.events.len();
    let restarted = home.restarted().await;
    restarted.bots.desired(&all(2)).await.unwrap();
    assert_eq!(restarted.status(&bad).await.events.len(), events, "it is said once");
}

#[tokio::test]
async fn a_deleted_bot_is_not_brought_back_but_watchers_learn_of_its_end() {
    let home = Home::new().await;
    let unit = home.put("b").await;
    home.bots.desired(&all(1)).await.unwrap();
    home.report(&unit, Outcome::Started { attempt: 1 }).await;
    home.bots.store().remove(&unit.as_bot().unwrap(), None).await.unwrap();
    home.bots.desired(&all(1)).await.unwrap();
    let mut watcher = home.bots.notices().listen();
    home.report(&unit, Outcome::Stopped { reason: StopReason::NotWanted, exit: None }).await;
    let notice = watcher.try_recv().unwrap();
    assert_eq!((notice.status.phase, notice.event.unwrap().kind), (BotPhase::Stopped, BotEventKind::Stopped));
    assert_eq!(home.bots.store().status(&unit.as_bot().unwrap()).await.unwrap(), None);
}

#[tokio::test]
async fn the_status_of_a_bot_that_someone_else_answers_for_is_left_alone() {
    let home = Home::new().await;
    let unit = home.put("b").await;
    home.bots.desired(&all(1)).await.unwrap();
    let successor = home.restarted().await;
    successor.bots.desired(&all(2)).await.unwrap();
    successor.report(&unit, Outcome::Started { attempt: 7 }).await;
    let mut watcher = home.bots.notices().listen();
    let before = home.status(&unit).await;
    // Read, applied and refused by the store: the successor's generation is newer.
    let applied = Applied {
        status: BotStatus { generation: Generation { term: 1, step: 0 }, ..BotStatus::default() },
        event: None,
    };
    let bot = unit.as_bot().unwrap();
    assert_eq!(home.bots.record(&bot, &before, applied).await.unwrap(), None);
    assert_eq!(home.status(&unit).await, before);
    assert_eq!(watcher.try_recv().unwrap_err(), TryRecvError::Empty);
}

#[tokio::test]
async fn what_did_not_change_is_not_written_and_not_told() {
    let home = Home::new().await;
    let unit = home.put("b").await;
    home.bots.desired(&all(1)).await.unwrap();
    home.report(&unit, Outcome::Started { attempt: 1 }).await;
    let mut watcher = home.bots.notices().listen();
    home.report(&unit, Outcome::Started { attempt: 1 }).await;
    assert_eq!(watcher.try_recv().unwrap_err(), TryRecvError::Empty);
    home.report(&UnitId::new("run/x/1").unwrap(), Outcome::Starting).await;
    assert_eq!(watcher.try_recv().unwrap_err(), TryRecvError::Empty);
}

/// Bots in a file.
struct Home {
    dir: Arc<tempfile::TempDir>,
    bots: Bots,
}

impl Home {
    async fn new() -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        Self { bots: bots(dir.path()).await, dir }
    }

    /// The same bots under a service that remembers nothing.
    async fn restarted(&self) -> Self {
        Self { bots: bots(self.dir.path()).await, dir: Arc::clone(&self.dir) }
    }

    async fn put(&self, name: &str) -> UnitId {
        let bot: Bot = serde_json::from_value(json!({
            "id": name, "segment_id": 0, "config": {},
            "custom": {"filePath": "x", "config": {"runtime": "python3.11"}}
        }))
        .unwrap();
        UnitId::bot(&self.bots.store().put(bot).await.unwrap().id)
    }

    async fn get(&self, name: &str) -> Bot {
        self.bots.store().get(&BotId::new(name).unwrap()).await.unwrap().unwrap()
    }

    async fn enable(&self, name: &str, enabled: bool) {
        let bot = Bot { enabled: Some(enabled), ..self.get(name).await };
        self.bots.store().put(bot).await.unwrap();
    }

    async fn status(&self, unit: &UnitId) -> BotStatus {
        self.bots.store().status(&unit.as_bot().unwrap()).await.unwrap().unwrap()
    }

    async fn report(&self, unit: &UnitId, outcome: Outcome) {
        self.bots.report(unit, outcome).await.unwrap();
    }
}

async fn bots(dir: &Path) -> Bots {
    let database = Database::open(dir.join("runtime.db"), Options::default()).await.unwrap();
    Bots::new(Arc::new(SqliteBotStore::new(database, 10)), Arc::new(Stopped))
}

fn all(term: u64) -> Scope {
    Scope::All { generation: Generation { term, step: 0 } }
}

fn finished(attempt: u64, cause: Cause) -> Outcome {
    Outcome::Finished { attempt, exit: Box::new(fakes::exit(cause, later(0), 100)) }
}

fn later(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

/// A clock that stands still.
#[derive(Debug)]
struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        later(0)
    }
}
