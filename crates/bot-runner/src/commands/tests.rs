use std::{collections::BTreeSet, time::Duration};

use futures::future::join_all;
use serde_json::json;
use the0_backends::sqlite::{Database, Options};
use the0_core::{
    DesiredState, OnError, Scope, SystemClock, Tasks,
    fakes::FakeExecutor,
    reconcile::{Reconciler, ReconcilerConfig},
};
use the0_model::{BotPhase, Cause, Generation, Secret, WorkerId};
use tokio::sync::watch;

use super::*;
use crate::SqliteBotStore;

#[tokio::test]
async fn a_bot_lives_through_every_verb() {
    let home = Home::new().await;
    let deployed = home.deploy("b").await;
    assert!(deployed.created && deployed.changed);
    let running = home.until("b", |view| view.status.phase == BotPhase::Running).await;
    assert_eq!((running.status.attempt, running.bot.revision), (1, BotRevision(1)));
    let again = home.deploy("b").await;
    assert!(!again.created && !again.changed, "the same once more changes nothing");
    assert_eq!(again.view.bot.revision, BotRevision(1));

    let change = ConfigChange::parse("config_json", r#"{"a": 2, "b": null}"#, true).unwrap();
    home.commands.set_config(&id("b"), &change, None).await.unwrap();
    let changed =
        home.until("b", |view| view.status.attempt == 2 && view.status.phase == BotPhase::Running).await;
    assert_eq!(*changed.bot.config.expose(), object(&json!({"a": 2})));
    home.commands.restart(&id("b"), None).await.unwrap();
    home.until("b", |view| view.status.attempt == 3 && view.status.phase == BotPhase::Running).await;
    let stopped = home.commands.stop(&id("b"), None).await.unwrap();
    assert_eq!((stopped.status.phase, stopped.bot.is_enabled()), (BotPhase::Stopped, false));
    assert!(home.executor.running().is_empty());
    home.commands.set_enabled(&id("b"), true, None).await.unwrap();
    let last =
        home.until("b", |view| view.status.attempt == 4 && view.status.phase == BotPhase::Running).await;
    let kinds: BTreeSet<_> = last.status.events.iter().map(|event| event.kind).collect();
    for kind in [
        BotEventKind::Deployed,
        BotEventKind::Configured,
        BotEventKind::RestartRequested,
        BotEventKind::Disabled,
        BotEventKind::Enabled,
        BotEventKind::Started,
        BotEventKind::Stopped,
    ] {
        assert!(kinds.contains(&kind), "{kind}");
    }
    home.commands.delete(&id("b"), false).await.unwrap();
    assert!(matches!(home.commands.get(&id("b")).await, Err(CommandError::NotFound { .. })));
    assert!(home.executor.units().is_empty());
    let fresh = home.deploy("b").await;
    assert!(fresh.created);
    let fresh = home.until("b", |view| view.status.phase == BotPhase::Running).await;
    assert_eq!(fresh.status.attempt, 1, "what the deleted one left is gone");
    assert!(fresh.status.events.iter().all(|event| event.kind != BotEventKind::Configured));
}

#[tokio::test]
async fn a_deletion_waits_for_a_start_that_is_under_way() {
    let home = Home::new().await;
    home.executor.slow_start(&UnitId::bot(&id("b")), Duration::from_millis(300));
    home.deploy("b").await;
    home.until("b", |view| view.status.phase == BotPhase::Starting).await;
    home.commands.delete(&id("b"), false).await.unwrap();
    assert!(home.executor.units().is_empty());
    let ran = home.executor.history().len();
    home.deploy("other").await;
    home.until("other", |view| view.status.phase == BotPhase::Running).await;
    let later: Vec<_> = home.executor.history().split_off(ran);
    assert!(later.iter().all(|event| event.unit == UnitId::bot(&id("other"))), "{later:?}");
}

#[tokio::test]
async fn a_start_that_is_not_listed_yet_counts_as_a_bot_that_is_still_there() {
    let dir = tempfile::tempdir().unwrap();
    let bots = bots(dir.path()).await;
    let commands = BotCommands::new(&bots, Arc::new(FakeExecutor::new(Arc::new(SystemClock))), Wake::new());
    commands.deploy(&request("b").check().unwrap(), Some(&place())).await.unwrap();
    let (b, unit, all) = (id("b"), UnitId::bot(&id("b")), Scope::All { generation: Generation::default() });
    let stop = |wait_ms| commands.stop(&b, Some(Duration::from_millis(wait_ms)));
    let passes = async {
        loop {
            bots.desired(&all).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::pin!(passes);
    assert!(stop(50).await.is_err(), "nobody has looked");
    bots.report(&unit, the0_core::Outcome::Starting).await.unwrap();
    let early = tokio::select! { ended = stop(50) => ended, () = &mut passes => unreachable!() };
    assert!(matches!(early, Err(CommandError::StillStopping { .. })), "{early:?}");
    bots.report(&unit, the0_core::Outcome::Refused { reason: "no".into(), permanent: false }).await.unwrap();
    let ended = tokio::select! { ended = stop(10_000) => ended, () = &mut passes => unreachable!() };
    assert_eq!(ended.unwrap().status.phase, BotPhase::Stopped);
}

#[tokio::test]
async fn a_bot_that_does_not_go_away_is_not_removed() {
    let home = Home::new().await;
    home.deploy("b").await;
    home.until("b", |view| view.status.phase == BotPhase::Running).await;
    home.executor.slow_stop(&UnitId::bot(&id("b")), Duration::from_hours(1));
    let error = home.commands.stop(&id("b"), Some(Duration::from_millis(50))).await.unwrap_err();
    assert!(matches!(error, CommandError::StillStopping { .. }), "{error:?}");
    let view = home.commands.get(&id("b")).await.unwrap();
    assert!(!view.bot.is_enabled());
    home.executor.set_unreachable(true);
    assert!(matches!(home.commands.delete(&id("b"), false).await, Err(CommandError::Executor(_))));
    assert!(home.commands.get(&id("b")).await.is_ok());
}

#[tokio::test]
async fn of_verbs_at_once_none_is_lost_unless_a_revision_was_named() {
    let home = Home::new().await;
    let deployed = home.deploy("b").await;
    let b = id("b");
    let restarts = join_all((0..4).map(|_| home.commands.restart(&b, None))).await;
    assert!(restarts.iter().all(Result::is_ok), "{restarts:?}");
    assert_eq!(home.commands.get(&id("b")).await.unwrap().bot.runtime.restarts_requested, 4);
    let stale =
        home.commands.set_enabled(&id("b"), false, Some(deployed.view.bot.revision)).await.unwrap_err();
    assert!(matches!(stale, CommandError::Conflict { found: Some(BotRevision(5)), .. }), "{stale:?}");
    let creators = join_all((0..4).map(|_| {
        let request = DeployBot { create_only: true, ..request("c") };
        let commands = home.commands.clone();
        async move { commands.deploy(&request.check().unwrap(), Some(&place())).await }
    }))
    .await;
    assert_eq!(creators.iter().filter(|result| result.is_ok()).count(), 1);
    for error in creators.into_iter().filter_map(Result::err) {
        assert!(matches!(error, CommandError::AlreadyExists { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn absent_bots_are_not_found_by_any_verb() {
    let home = Home::new().await;
    let b = id("absent");
    let replace = ConfigChange::Replace(Secret::default());
    let errors = [
        home.commands.get(&b).await.err(),
        home.commands.set_config(&b, &replace, None).await.err(),
        home.commands.set_enabled(&b, true, None).await.err(),
        home.commands.restart(&b, None).await.err(),
        home.commands.stop(&b, None).await.err(),
        home.commands.delete(&b, false).await.err(),
        home.commands.explain(&b).await.err(),
    ];
    for error in errors {
        assert!(matches!(&error, Some(CommandError::NotFound { bot }) if *bot == b), "{error:?}");
    }
}

#[tokio::test]
async fn a_merged_configuration_cannot_outgrow_its_limit() {
    let home = Home::new().await;
    home.deploy("b").await;
    let patch = |key: &str| {
        let text = json!({key: "x".repeat(600 * 1024)}).to_string();
        ConfigChange::parse("config_json", &text, true).unwrap()
    };
    home.commands.set_config(&id("b"), &patch("one"), None).await.unwrap();
    let error = home.commands.set_config(&id("b"), &patch("two"), None).await.unwrap_err();
    assert!(
        matches!(&error, CommandError::Invalid { faults } if faults[0].field == "config_json"),
        "{error}"
    );
}

#[tokio::test]
async fn enabling_overcomes_a_configuration_that_disables() {
    let home = Home::new().await;
    let request =
        DeployBot { config_json: Some(r#"{"enabled": "false"}"#.to_owned().into()), ..request("b") };
    home.commands.deploy(&request.check().unwrap(), Some(&place())).await.unwrap();
    let view = home.commands.get(&id("b")).await.unwrap();
    assert_eq!(view.status.phase, BotPhase::Stopped);
    home.commands.set_enabled(&id("b"), true, None).await.unwrap();
    home.until("b", |view| view.status.phase == BotPhase::Running).await;
}

#[tokio::test]
async fn a_crash_is_explained_and_told_to_watchers() {
    let home = Home::new().await;
    home.deploy("b").await;
    home.until("b", |view| view.status.phase == BotPhase::Running).await;
    let mut watcher = home.commands.watch();
    assert!(home.executor.end(&UnitId::bot(&id("b")), Cause::OutOfMemory));
    let told = async {
        loop {
            let notice = watcher.recv().await.unwrap();
            if notice.event.is_some_and(|event| event.kind == BotEventKind::Exited) {
                return notice.status;
            }
        }
    };
    let status = tokio::time::timeout(Duration::from_secs(10), told).await.unwrap();
    assert_eq!(status.phase, BotPhase::BackingOff);
    let why = home.commands.explain(&id("b")).await.unwrap();
    assert!(why.summary.contains("memory limit of 512.0 MiB"), "{}", why.summary);
    assert!(why.details.iter().any(|line| line.contains("next attempt")), "{:?}", why.details);
    let back =
        home.until("b", |view| view.status.attempt == 2 && view.status.phase == BotPhase::Running).await;
    assert_eq!(back.status.restarts, 1);
}

#[tokio::test]
async fn a_list_is_paged_and_shows_statuses() {
    let home = Home::new().await;
    for name in ["a", "b", "c"] {
        home.deploy(name).await;
        home.until(name, |view| view.status.phase == BotPhase::Running).await;
    }
    let first = home.commands.list(None, 2).await.unwrap();
    let rest = home.commands.list(Some(&first[1].bot.id), 0).await.unwrap();
    let seen: Vec<_> =
        first.iter().chain(&rest).map(|view| (view.bot.id.as_str(), view.status.phase)).collect();
    assert_eq!(seen, [("a", BotPhase::Running), ("b", BotPhase::Running), ("c", BotPhase::Running)]);
}

/// Bots in a file, under a real reconciler and a fake executor.
struct Home {
    commands: BotCommands,
    executor: FakeExecutor,
    tasks: Tasks,
    _dir: tempfile::TempDir,
    _scope: watch::Sender<Scope>,
}

impl Home {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bots = Arc::new(bots(dir.path()).await);
        let executor = FakeExecutor::new(Arc::new(SystemClock));
        let wake = Wake::new();
        let commands = BotCommands::new(&bots, Arc::new(executor.clone()), wake.clone());
        let (scope, scopes) = watch::channel(Scope::All { generation: Generation { term: 1, step: 0 } });
        let reconciler = Reconciler::new(
            Arc::new(executor.clone()),
            bots as Arc<dyn DesiredState>,
            scopes,
            WorkerId::new("test").unwrap(),
            Arc::new(SystemClock),
            wake,
            ReconcilerConfig::default(),
        );
        let tasks = Tasks::new();
        tasks.spawn("reconciler", OnError::Shutdown, reconciler.run(tasks.cancelled()));
        Self { commands, executor, tasks, _dir: dir, _scope: scope }
    }

    async fn deploy(&self, name: &str) -> Deployed {
        self.commands.deploy(&request(name).check().unwrap(), Some(&place())).await.unwrap()
    }

    async fn until(&self, name: &str, holds: impl Fn(&BotView) -> bool) -> BotView {
        let mut watcher = self.commands.watch();
        let seen = async {
            loop {
                let view = self.commands.get(&id(name)).await.unwrap();
                if holds(&view) {
                    return view;
                }
                let _ = watcher.recv().await;
            }
        };
        let Ok(view) = tokio::time::timeout(Duration::from_secs(10), seen).await else {
            panic!("still {:?}", self.commands.get(&id(name)).await.unwrap().status)
        };
        view
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.tasks.cancelled().cancel();
    }
}

async fn bots(dir: &std::path::Path) -> Bots {
    let database = Database::open(dir.join("runtime.db"), Options::default()).await.unwrap();
    Bots::new(Arc::new(SqliteBotStore::new(database, 10)), Arc::new(SystemClock))
}

fn request(name: &str) -> DeployBot {
    DeployBot {
        bot_id: name.to_owned(),
        runtime: Some("python3.11".to_owned()),
        config_json: Some(r#"{"a": 1, "b": {"c": 1}}"#.to_owned().into()),
        ..DeployBot::default()
    }
}

fn place() -> CodePlace {
    CodePlace { location: "deployed/b/00".to_owned(), digest: Some("0".repeat(64)) }
}

fn id(text: &str) -> BotId {
    BotId::new(text).unwrap()
}

fn object(value: &serde_json::Value) -> serde_json::Map<String, serde_json::Value> {
    value.as_object().unwrap().clone()
}
