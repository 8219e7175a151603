//! What every store of bots must do, whatever is behind it. `contract_tests!` makes a test of each function here.

mod fixtures;

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use futures::future::join_all;
use serde_json::{Value, json};
use the0_model::{
    Bot, BotId, BotPhase, BotRevision, BotStatus, Generation, Secret, SegmentId, status::EVENTS_MAX,
};

use super::{BotStore, StoreError};
use fixtures::{all, bot, event, id, segments, status, with_config};

/// Where stores are made. All stores of one ground share their documents.
#[async_trait]
pub(super) trait Ground: Send + Sync {
    /// A new handle on the documents.
    async fn open(&self, per_segment_max: u32) -> Arc<dyn BotStore>;
    /// Writes a wrong number into a partition, as a crash of some other program would leave it.
    async fn miscount(&self, segment: SegmentId, count: i64);
}

/// Makes a test of every check below, each on a ground of its own.
macro_rules! contract_tests {
    ($ground:expr; $($check:ident),+ $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $check() {
            $crate::store::contract::$check(&$ground).await;
        }
    )+};
    ($ground:expr) => {
        $crate::store::contract::contract_tests!(
            $ground;
            a_bot_is_found_as_it_was_put, of_many_inserts_of_one_id_one_wins, of_many_updates_of_one_revision_one_wins,
            a_conflict_says_what_is_there, segments_are_filled_to_their_maximum, a_repeated_insert_takes_no_second_place,
            a_place_is_given_back_once, a_repair_recounts, a_scope_is_all_or_some_segments,
            only_enabled_bots_are_enabled_however_that_is_spelled, configurations_survive_to_the_last_bit,
            pages_are_complete_and_in_order, a_status_is_found_as_it_was_put, an_older_generation_is_refused,
            a_deleted_bot_is_not_brought_back, events_and_status_do_not_overwrite_each_other,
            only_the_newest_events_are_kept, the_version_counts_bots_and_not_statuses, two_handles_see_the_same,
        );
    };
}
pub(super) use contract_tests;

pub(super) async fn a_bot_is_found_as_it_was_put(ground: &dyn Ground) {
    let store = ground.open(10).await;
    assert_eq!(store.get(&id("b")).await.unwrap(), None);
    let mut given = bot("b");
    given.custom.config.rest.insert("author".into(), json!("someone"));
    given.runtime.env.insert("KEY".into(), Secret::new("value".into()));
    let put = store.put(given.clone()).await.unwrap();
    assert_eq!(put, Bot { segment_id: SegmentId(1), revision: BotRevision(1), ..given });
    assert_eq!(store.get(&id("b")).await.unwrap(), Some(put.clone()));
    drop(store);
    assert_eq!(ground.open(10).await.get(&id("b")).await.unwrap(), Some(put), "it survives a reopen");
}

pub(super) async fn of_many_inserts_of_one_id_one_wins(ground: &dyn Ground) {
    let stores = [ground.open(10).await, ground.open(10).await];
    let tries = (0..16).map(|n| {
        let mut bot = bot("same");
        bot.custom.version = format!("1.0.{n}");
        stores[n % 2].put(bot)
    });
    let results = join_all(tries).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    for error in results.iter().filter_map(|result| result.as_ref().err()) {
        assert!(matches!(error, StoreError::AlreadyExists { bot } if *bot == id("same")), "{error:?}");
    }
    assert!(stores[0].repair().await.unwrap().is_empty(), "the losers took no place");
}

pub(super) async fn of_many_updates_of_one_revision_one_wins(ground: &dyn Ground) {
    let stores = [ground.open(10).await, ground.open(10).await];
    let mut read = stores[0].put(bot("b")).await.unwrap();
    for round in 0..5 {
        let tries = (0..8).map(|n| {
            let mut bot = read.clone();
            bot.custom.version = format!("{round}.0.{n}");
            stores[n % 2].put(bot)
        });
        let results = join_all(tries).await;
        let winners: Vec<_> = results.iter().flatten().collect();
        assert_eq!(winners.len(), 1);
        let stored = stores[1].get(&read.id).await.unwrap().unwrap();
        assert_eq!(&stored, winners[0]);
        assert_eq!(stored.revision.0, read.revision.0 + 1);
        read = stored;
    }
}

pub(super) async fn a_conflict_says_what_is_there(ground: &dyn Ground) {
    let store = ground.open(10).await;
    let first = store.put(bot("b")).await.unwrap();
    store.put(first.clone()).await.unwrap();
    let found = |error: &StoreError| match error {
        StoreError::Conflict { bot, expected, found } => Some((bot.clone(), *expected, *found)),
        StoreError::AlreadyExists { .. }
        | StoreError::Stale { .. }
        | StoreError::Unreadable { .. }
        | StoreError::Database(_) => None,
    };
    let conflict = |stored| Some((id("b"), BotRevision(1), stored));
    let error = store.put(first.clone()).await.unwrap_err();
    assert_eq!(found(&error), conflict(Some(BotRevision(2))), "{error:?}");
    let error = store.remove(&id("b"), Some(BotRevision(1))).await.unwrap_err();
    assert_eq!(found(&error), conflict(Some(BotRevision(2))), "{error:?}");
    assert!(store.remove(&id("b"), Some(BotRevision(2))).await.unwrap());
    let error = store.put(first).await.unwrap_err();
    assert_eq!(found(&error), conflict(None), "an update must not bring a deleted bot back: {error:?}");
}

pub(super) async fn segments_are_filled_to_their_maximum(ground: &dyn Ground) {
    let stores = [ground.open(3).await, ground.open(3).await];
    join_all((0..10).map(|n| stores[n % 2].put(bot(&format!("b{n}"))))).await.into_iter().for_each(|put| {
        put.unwrap();
    });
    let mut sizes = [0; 4];
    for bot in stores[0].list(None, 100).await.unwrap() {
        sizes[usize::try_from(bot.segment_id.0).unwrap() - 1] += 1;
    }
    assert_eq!(sizes, [3, 3, 3, 1]);
    // A stored bot stays where it is, whatever its writer says.
    let mut moved = stores[0].get(&id("b0")).await.unwrap().unwrap();
    let before = moved.segment_id;
    moved.segment_id = SegmentId(77);
    assert_eq!(stores[0].put(moved).await.unwrap().segment_id, before);
    assert_eq!(stores[1].get(&id("b0")).await.unwrap().unwrap().segment_id, before);
}

pub(super) async fn a_repeated_insert_takes_no_second_place(ground: &dyn Ground) {
    let store = ground.open(2).await;
    let first = store.put(bot("a")).await.unwrap();
    let mut again = bot("a");
    again.custom.version = "9.9.9".into();
    assert!(matches!(store.put(again).await, Err(StoreError::AlreadyExists { .. })));
    assert_eq!(store.get(&id("a")).await.unwrap(), Some(first));
    assert_eq!(store.put(bot("b")).await.unwrap().segment_id, SegmentId(1), "the place is still free");
    assert!(store.repair().await.unwrap().is_empty());
}

pub(super) async fn a_place_is_given_back_once(ground: &dyn Ground) {
    let store = ground.open(2).await;
    for name in ["a", "b", "c"] {
        store.put(bot(name)).await.unwrap();
    }
    let (one, two) = (id("a"), id("a"));
    let (one, two) = tokio::join!(store.remove(&one, None), store.remove(&two, None));
    assert_ne!(one.unwrap(), two.unwrap(), "it is removed once");
    assert!(!store.remove(&id("a"), None).await.unwrap());
    assert!(store.repair().await.unwrap().is_empty());
    assert_eq!(store.put(bot("d")).await.unwrap().segment_id, SegmentId(1));
    assert_eq!(store.put(bot("e")).await.unwrap().segment_id, SegmentId(2));
}

pub(super) async fn a_repair_recounts(ground: &dyn Ground) {
    let store = ground.open(2).await;
    for name in ["a", "b", "c"] {
        store.put(bot(name)).await.unwrap();
    }
    ground.miscount(SegmentId(1), 0).await;
    ground.miscount(SegmentId(2), 2).await;
    assert_eq!(store.repair().await.unwrap(), [SegmentId(1), SegmentId(2)]);
    assert!(store.repair().await.unwrap().is_empty());
    assert_eq!(store.put(bot("d")).await.unwrap().segment_id, SegmentId(2));
    assert_eq!(store.put(bot("e")).await.unwrap().segment_id, SegmentId(3));
}

pub(super) async fn a_scope_is_all_or_some_segments(ground: &dyn Ground) {
    let store = ground.open(1).await;
    for name in ["c", "a", "b"] {
        store.put(bot(name)).await.unwrap();
        store.put_status(&id(name), &status(1), None).await.unwrap();
    }
    let names = |bots: Vec<Bot>| bots.into_iter().map(|bot| bot.id.to_string()).collect::<Vec<_>>();
    assert_eq!(names(store.enabled(&all()).await.unwrap()), ["a", "b", "c"]);
    assert_eq!(names(store.enabled(&segments(&[1, 2])).await.unwrap()), ["a", "c"]);
    assert_eq!(names(store.enabled(&segments(&[])).await.unwrap()), [""; 0]);
    assert_eq!(store.statuses(&all()).await.unwrap().len(), 3);
    let some: Vec<_> = store.statuses(&segments(&[3, 4])).await.unwrap().into_keys().collect();
    assert_eq!(some, [id("b")]);
}

pub(super) async fn only_enabled_bots_are_enabled_however_that_is_spelled(ground: &dyn Ground) {
    let store = ground.open(100).await;
    let spellings = [
        (None, None, true),
        (Some(true), None, true),
        (Some(false), None, false),
        (Some(false), Some(json!(true)), false),
        (None, Some(json!(false)), false),
        (None, Some(json!("false")), false),
        (None, Some(json!("0")), false),
        (None, Some(json!(0)), false),
        (Some(true), Some(json!(0.0)), false),
        (None, Some(json!(null)), true),
        (None, Some(json!("yes")), true),
        (None, Some(json!(1)), true),
    ];
    let mut expected = BTreeSet::new();
    for (n, (root, config, enabled)) in spellings.into_iter().enumerate() {
        let mut bot =
            with_config(&format!("b{n:02}"), &config.map_or(json!({}), |value| json!({"enabled": value})));
        bot.enabled = root;
        let bot = store.put(bot).await.unwrap();
        if enabled {
            expected.insert(bot.id);
        }
    }
    let found: BTreeSet<_> = store.enabled(&all()).await.unwrap().into_iter().map(|bot| bot.id).collect();
    assert_eq!(found, expected);
    // Switching counts at once.
    let mut bot = store.get(&id("b00")).await.unwrap().unwrap();
    bot.enabled = Some(false);
    store.put(bot).await.unwrap();
    assert_eq!(store.enabled(&all()).await.unwrap().len(), expected.len() - 1);
}

pub(super) async fn configurations_survive_to_the_last_bit(ground: &dyn Ground) {
    let store = ground.open(10).await;
    // As text, because that is how they come.
    let numbers: Value = serde_json::from_str(
        "[0.1, 0.30000000000000004, 1e-300, 1.7976931348623157e308, 5e-324, -0.0, 123456789.123456789,
          9007199254740993, 18446744073709551615, -9223372036854775808, 1.0, 1, 1e20]",
    )
    .unwrap();
    let given = with_config(
        "b",
        &json!({
            "numbers": numbers,
            "text": "žluťoučký 🐎 \u{0} \u{1f} \u{2028} \"quoted\" \\ שלום",
            "ключ": {"": [null, true, {"deep": []}]},
            "big": "x".repeat(1024 * 1024),
        }),
    );
    let digest = given.unit_spec().unwrap().digest();
    store.put(given.clone()).await.unwrap();
    let read = store.get(&id("b")).await.unwrap().unwrap();
    assert!(read.config == given.config, "it comes back as it was given");
    assert_eq!(read.unit_spec().unwrap().digest(), digest);
    let again = store.put(read).await.unwrap();
    assert_eq!(again.unit_spec().unwrap().digest(), digest, "writing it back changes nothing");
    assert_eq!(store.enabled(&all()).await.unwrap()[0].unit_spec().unwrap().digest(), digest);
}

pub(super) async fn pages_are_complete_and_in_order(ground: &dyn Ground) {
    let store = ground.open(3).await;
    for n in (0..25).rev() {
        store.put(bot(&format!("b{n:02}"))).await.unwrap();
    }
    let mut seen: Vec<BotId> = Vec::new();
    loop {
        let page = store.list(seen.last(), 10).await.unwrap();
        assert!(page.len() <= 10);
        if page.is_empty() {
            break;
        }
        seen.extend(page.into_iter().map(|bot| bot.id));
    }
    assert_eq!(seen, (0..25).map(|n| id(&format!("b{n:02}"))).collect::<Vec<_>>());
}

pub(super) async fn a_status_is_found_as_it_was_put(ground: &dyn Ground) {
    let store = ground.open(10).await;
    store.put(bot("a")).await.unwrap();
    store.put(bot("b")).await.unwrap();
    assert_eq!(store.status(&id("a")).await.unwrap(), None);
    let put = status(3);
    assert!(store.put_status(&id("a"), &put, Some(&event(1))).await.unwrap());
    let read = store.status(&id("a")).await.unwrap().unwrap();
    assert_eq!(read, BotStatus { events: vec![event(1)], ..put.clone() });
    let newer = BotStatus { phase: BotPhase::Running, ..put };
    assert!(store.put_status(&id("a"), &newer, None).await.unwrap());
    let of = store.statuses_of(&[id("a"), id("b"), id("absent")]).await.unwrap();
    assert_eq!(
        of.into_iter().collect::<Vec<_>>(),
        [(id("a"), BotStatus { events: vec![event(1)], ..newer })]
    );
}

pub(super) async fn an_older_generation_is_refused(ground: &dyn Ground) {
    let store = ground.open(10).await;
    store.put(bot("b")).await.unwrap();
    let newest = BotStatus { generation: Generation { term: 2, step: 1 }, ..status(5) };
    store.put_status(&id("b"), &newest, None).await.unwrap();
    for generation in [Generation { term: 2, step: 0 }, Generation { term: 1, step: 900 }] {
        let late = BotStatus { generation, ..status(4) };
        let error = store.put_status(&id("b"), &late, Some(&event(1))).await.unwrap_err();
        let says = matches!(error, StoreError::Stale { written, stored, .. }
            if written == generation && stored == newest.generation);
        assert!(says, "{error:?}");
    }
    assert_eq!(store.status(&id("b")).await.unwrap(), Some(newest.clone()));
    assert!(store.put_status(&id("b"), &newest, None).await.unwrap(), "the same generation may write again");
}

pub(super) async fn a_deleted_bot_is_not_brought_back(ground: &dyn Ground) {
    let store = ground.open(10).await;
    store.put(bot("b")).await.unwrap();
    store.put_status(&id("b"), &status(1), Some(&event(1))).await.unwrap();
    store.remove(&id("b"), None).await.unwrap();
    assert!(!store.put_status(&id("b"), &status(2), Some(&event(2))).await.unwrap());
    assert!(!store.push_event(&id("b"), &event(3)).await.unwrap());
    assert_eq!(store.status(&id("b")).await.unwrap(), None);
    store.put(bot("b")).await.unwrap();
    assert_eq!(store.status(&id("b")).await.unwrap(), None, "a new bot of the same id starts afresh");
}

pub(super) async fn events_and_status_do_not_overwrite_each_other(ground: &dyn Ground) {
    let stores = [ground.open(10).await, ground.open(10).await];
    stores[0].put(bot("b")).await.unwrap();
    let b = id("b");
    let verbs = join_all((0..20).map(|n| {
        let (store, b) = (&stores[0], &b);
        async move { store.push_event(b, &event(n)).await.unwrap() }
    }));
    let reports = join_all((1..=20).map(|n| {
        let (store, b) = (&stores[1], &b);
        async move { store.put_status(b, &status(n), Some(&event(100 + n))).await.unwrap() }
    }));
    tokio::join!(verbs, reports);
    let read = stores[0].status(&b).await.unwrap().unwrap();
    assert_eq!(read.events.len(), 40);
    assert!(read.attempt >= 1);
}

pub(super) async fn only_the_newest_events_are_kept(ground: &dyn Ground) {
    let store = ground.open(10).await;
    store.put(bot("b")).await.unwrap();
    let most = EVENTS_MAX as u64;
    for n in 0..most + 5 {
        store.push_event(&id("b"), &event(n)).await.unwrap();
    }
    let events = store.status(&id("b")).await.unwrap().unwrap().events;
    assert_eq!(
        events.iter().map(|event| event.attempt).collect::<Vec<_>>(),
        (5..most + 5).collect::<Vec<_>>()
    );
}

pub(super) async fn the_version_counts_bots_and_not_statuses(ground: &dyn Ground) {
    let (store, other) = (ground.open(10).await, ground.open(10).await);
    let mut versions = vec![store.version().await.unwrap()];
    let put = store.put(bot("b")).await.unwrap();
    versions.push(store.version().await.unwrap());
    other.put(put).await.unwrap();
    versions.push(store.version().await.unwrap());
    store.put_status(&id("b"), &status(1), Some(&event(1))).await.unwrap();
    store.push_event(&id("b"), &event(2)).await.unwrap();
    assert!(store.put(bot("b")).await.is_err());
    assert_eq!(store.version().await.unwrap(), versions[2]);
    other.remove(&id("b"), None).await.unwrap();
    versions.push(store.version().await.unwrap());
    assert_eq!(versions.iter().collect::<BTreeSet<_>>().len(), 4, "{versions:?}");
}

pub(super) async fn two_handles_see_the_same(ground: &dyn Ground) {
    let (one, two) = (ground.open(10).await, ground.open(10).await);
    let mut bot = one.put(bot("b")).await.unwrap();
    for round in 0..10 {
        let (writer, reader) = if round % 2 == 0 { (&two, &one) } else { (&one, &two) };
        bot.custom.version = format!("1.0.{round}");
        bot = writer.put(bot).await.unwrap();
        assert_eq!(reader.get(&bot.id).await.unwrap(), Some(bot.clone()));
    }
}
