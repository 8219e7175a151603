use std::{path::Path, pin::pin, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, stream};
use the0_artifacts::{CodeCache, Format, Limits, ObjectStores, pack};
use the0_backends::sqlite::{Database, Options};
use the0_core::{Clock, DesiredState, Scope, SystemClock, Wake, fakes::FakeExecutor};
use the0_model::{BotEvent, BotEventKind, BotId, BotStatus, Generation, UnitId};
use the0_proto::bot::v1::{self as pb, DeployBotRequest, deploy_bot_request::Part};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{
    deploy::{BUNDLE_BYTES_MAX, Bundles, CHUNK_BYTES_MAX},
    execute, logs, validate, watch,
};
use crate::{BotCommands, Bots, Notice, SqliteBotStore};

type Message = Result<DeployBotRequest, Status>;

#[tokio::test]
async fn an_upload_that_breaks_off_or_lies_leaves_nothing() {
    let home = Home::new().await;
    let bundle = home.bundle("def main(bot_id, config): pass\n");
    let good = || header(&bundle);
    let half = &bundle[..bundle.len() / 2];
    let cases: Vec<(&str, Vec<Message>, Code, &str)> = vec![
        ("nothing", vec![], Code::InvalidArgument, "header"),
        ("no header", vec![chunk(&bundle)], Code::InvalidArgument, "header"),
        ("two headers", vec![head(good()), head(good())], Code::InvalidArgument, "header"),
        ("too little", vec![head(good()), chunk(half)], Code::InvalidArgument, "bundle_bytes"),
        ("too much", vec![head(good()), chunk(&bundle), chunk(b"x")], Code::InvalidArgument, "bundle_bytes"),
        (
            "other bytes",
            vec![head(good()), chunk(&vec![7; bundle.len()])],
            Code::InvalidArgument,
            "bundle_digest",
        ),
        (
            "a large chunk",
            vec![head(good()), chunk(&vec![0; CHUNK_BYTES_MAX + 1])],
            Code::ResourceExhausted,
            "",
        ),
        (
            "the client left",
            vec![head(good()), chunk(half), Err(Status::cancelled("gone"))],
            Code::Cancelled,
            "",
        ),
        (
            "a large bundle",
            vec![head(pb::DeployHeader { bundle_bytes: BUNDLE_BYTES_MAX + 1, ..good() })],
            Code::ResourceExhausted,
            "",
        ),
        (
            "no runtime",
            vec![head(pb::DeployHeader { runtime: String::new(), ..good() }), chunk(&bundle)],
            Code::InvalidArgument,
            "runtime",
        ),
    ];
    for (name, messages, code, field) in cases {
        let refused = home.bundles.deploy(&home.commands, stream::iter(messages)).await.unwrap_err();
        assert_eq!(refused.code(), code, "{name}: {refused}");
        let named = refused
            .get_details_bad_request()
            .map_or_else(String::new, |faults| faults.field_violations[0].field.clone());
        assert_eq!(named, field, "{name}");
        assert_eq!(home.files(), Vec::<String>::new(), "{name} left something");
    }
    // A client that is cut off: the call is dropped where it stands.
    let cut = stream::iter([head(good()), chunk(half)]).chain(stream::pending());
    let mut cut = Box::pin(home.bundles.deploy(&home.commands, cut));
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut cut).await.is_err());
    assert_eq!(home.files().len(), 1, "it was being spooled");
    drop(cut);
    assert_eq!(home.files(), Vec::<String>::new());
    let deployed =
        home.bundles.deploy(&home.commands, stream::iter([head(good()), chunk(&bundle)])).await.unwrap();
    assert!(deployed.created);
}

#[tokio::test]
async fn only_the_bundle_in_use_is_kept() {
    let home = Home::new().await;
    for program in ["def main(bot_id, config): pass\n", "def main(bot_id, config): print(1)\n"] {
        let bundle = home.bundle(program);
        home.bundles
            .deploy(&home.commands, stream::iter([head(header(&bundle)), chunk(&bundle)]))
            .await
            .unwrap();
        assert_eq!(home.objects().len(), 1);
    }
    let refused = pb::DeployHeader { create_only: true, ..header(b"x") };
    let refused =
        home.bundles.deploy(&home.commands, stream::iter([head(refused), chunk(b"x")])).await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    let bot = home.commands.get(&id()).await.unwrap().bot;
    home.bundles.forget(&id(), &bot.runtime.code_digest.unwrap()).await;
    assert_eq!(home.objects(), Vec::<String>::new());
}

#[tokio::test]
async fn a_slow_watcher_is_told_what_it_missed_and_the_end() {
    let home = Home::new().await;
    home.deploy().await;
    let mut events = pin!(watch::events(home.commands.clone(), Some(id()), false).await.unwrap());
    // More than a watcher may be behind, of a bot it does not even watch.
    home.flood();
    home.commands.set_enabled(&id(), false, None).await.unwrap();
    let next = tokio::time::timeout(Duration::from_secs(10), events.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(next.kind(), pb::EventKind::Deployed, "the gap is filled from the store");
    let next = events.next().await.unwrap().unwrap();
    assert_eq!(next.kind(), pb::EventKind::Disabled);
    home.delete().await;
    home.flood();
    let rest = tokio::time::timeout(Duration::from_secs(10), events.collect::<Vec<_>>()).await.unwrap();
    let last = rest.last().unwrap().as_ref();
    assert!(last.is_ok_and(|event| event.kind() == pb::EventKind::Deleted), "{rest:?}");
}

#[tokio::test]
async fn an_execution_ends_when_its_bot_is_stopped_however_much_was_missed() {
    let home = Home::new().await;
    home.deploy().await;
    let request =
        pb::ExecuteBotRequest { bot_id: "b1".into(), execution_id: "mine".into(), ..Default::default() };
    let execution = validate::execute(request).unwrap();
    let results = execute::results(home.commands.clone(), Arc::new(SystemClock), execution).await.unwrap();
    let mut results = pin!(results);
    assert_eq!(results.next().await.unwrap().unwrap().phase(), pb::Phase::Pending);
    assert!(results.next().now_or_never().is_none(), "nothing changed");
    home.commands.set_enabled(&id(), false, None).await.unwrap();
    home.flood();
    let rest = tokio::time::timeout(Duration::from_secs(10), results.collect::<Vec<_>>()).await.unwrap();
    let last = rest.last().unwrap().as_ref().unwrap();
    assert_eq!((last.phase(), last.execution_id.as_str()), (pb::Phase::Stopped, "mine"));
}

#[tokio::test]
async fn output_of_a_bot_that_has_not_started_is_empty_or_waited_for() {
    let home = Home::new().await;
    home.deploy().await;
    let ask = |follow| {
        let request = pb::StreamLogsRequest { bot_id: "b1".into(), follow, ..Default::default() };
        let (bot, query) = validate::logs(&request).unwrap();
        logs::lines(home.commands.clone(), home.executor.clone(), bot, query)
    };
    assert_eq!(ask(false).await.unwrap().count().await, 0);
    let following = tokio::time::timeout(Duration::from_millis(200), ask(true)).await;
    assert!(following.is_err(), "there is nothing yet");
    let (followed, ()) =
        tokio::join!(tokio::time::timeout(Duration::from_secs(10), ask(true)), home.delete());
    assert_eq!(followed.unwrap().err().unwrap().code(), Code::NotFound);
}

struct Home {
    dir: tempfile::TempDir,
    bots: Arc<Bots>,
    executor: Arc<FakeExecutor>,
    commands: BotCommands,
    bundles: Bundles,
}

impl Home {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path().join("runtime.db"), Options::default()).await.unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let bots = Arc::new(Bots::new(Arc::new(SqliteBotStore::new(database, 10)), Arc::clone(&clock)));
        let executor = Arc::new(FakeExecutor::new(clock));
        let commands = BotCommands::new(&bots, executor.clone(), Wake::new());
        let stores = Arc::new(ObjectStores::directory(dir.path().join("objects")));
        let cache = CodeCache::new(stores, dir.path().join("cache"), Limits::default()).unwrap();
        let bundles = Bundles::new(Arc::new(cache), dir.path().join("spool")).unwrap();
        Self { dir, bots, executor, commands, bundles }
    }

    /// Deploys a bot that nobody starts.
    async fn deploy(&self) {
        let bundle = self.bundle("def main(bot_id, config): pass\n");
        self.bundles
            .deploy(&self.commands, stream::iter([head(header(&bundle)), chunk(&bundle)]))
            .await
            .unwrap();
        assert!(self.executor.units().iter().all(|unit| unit.id != UnitId::bot(&id())));
    }

    /// Deletes it. Only a pass can tell that nothing of it is being started, and nobody else reconciles here.
    async fn delete(&self) {
        let all = Scope::All { generation: Generation::default() };
        let passes = async {
            loop {
                self.bots.desired(&all).await.unwrap();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let id = id();
        tokio::select! {
            deleted = self.commands.delete(&id, false) => deleted.unwrap(),
            () = passes => {}
        }
    }

    fn bundle(&self, program: &str) -> Vec<u8> {
        let source = tempfile::tempdir_in(self.dir.path()).unwrap();
        std::fs::write(source.path().join("main.py"), program).unwrap();
        let archive = self.dir.path().join("bundle");
        let _ = std::fs::remove_file(&archive);
        pack(source.path(), &archive, Format::TarGz, &Limits::default(), &mut |_| ()).unwrap();
        std::fs::read(archive).unwrap()
    }

    /// Tells watchers of more than any may be behind.
    fn flood(&self) {
        let event =
            BotEvent { at: SystemClock.now(), kind: BotEventKind::Exited, attempt: 1, reason: String::new() };
        for _ in 0..10_000 {
            let (bot, status) = (BotId::new("other").unwrap(), Arc::new(BotStatus::default()));
            self.bots.notices().tell(Notice { bot, status, event: Some(event.clone()) });
        }
    }

    /// Spooled, stored and unpacked files.
    fn files(&self) -> Vec<String> {
        ["spool", "objects", "cache"].iter().flat_map(|folder| below(&self.dir.path().join(folder))).collect()
    }

    fn objects(&self) -> Vec<String> {
        below(&self.dir.path().join("objects"))
    }
}

fn id() -> BotId {
    BotId::new("b1").unwrap()
}

fn header(bundle: &[u8]) -> pb::DeployHeader {
    pb::DeployHeader {
        bot_id: "b1".into(),
        runtime: "python3.11".into(),
        bundle_bytes: bundle.len() as u64,
        bundle_digest: blake3::hash(bundle).to_hex().to_string(),
        ..pb::DeployHeader::default()
    }
}

#[expect(clippy::unnecessary_wraps, reason = "a stream of messages also holds errors")]
fn head(header: pb::DeployHeader) -> Message {
    Ok(DeployBotRequest { part: Some(Part::Header(header)) })
}

#[expect(clippy::unnecessary_wraps, reason = "a stream of messages also holds errors")]
fn chunk(bytes: &[u8]) -> Message {
    Ok(DeployBotRequest { part: Some(Part::Chunk(bytes.to_vec())) })
}

fn below(folder: &Path) -> Vec<String> {
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            found.extend(below(&entry.path()));
        } else {
            found.push(entry.path().display().to_string());
        }
    }
    found
}
