//! What goes wrong between us and Docker, and what must be true afterwards.

use std::{os::unix::net::UnixListener, time::Duration};

use futures::StreamExt;
use the0_core::{Executor, ExecutorError, Phase};
use the0_executor::docker::{DockerConfig, DockerExecutor, PullPolicy};
use the0_model::{Cause, UnitSpec};

use crate::{
    proxy::{Proxy, Then},
    rig::{FOREVER, Rig, ended, find, owner, until},
};

const SOCKET: &str = "/var/run/docker.sock";
const GRACE: Duration = Duration::from_secs(5);
/// Nothing listens there: a registry that is out of reach, on every machine.
const NO_REGISTRY: &str = "127.0.0.1:1/nope:1";

#[tokio::test]
async fn a_daemon_that_is_not_there_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("absent.sock");
    let deaf = folder.path().join("deaf.sock");
    drop(UnixListener::bind(&deaf).unwrap());
    for (socket, word) in [(&absent, "no socket"), (&deaf, "nothing listens")] {
        let config =
            DockerConfig { host: Some(format!("unix://{}", socket.display())), ..DockerConfig::new("0") };
        let units = the0_executor::UnitsDir::new(folder.path().join("units"));
        let provision = the0_executor::Provision::new(
            units,
            std::sync::Arc::new(NoCode),
            folder.path().into(),
            the0_executor::RunAs::for_service(),
        );
        let error = DockerExecutor::connect(config, provision).await.unwrap_err();
        assert!(matches!(error, ExecutorError::Unreachable { executor: "docker", .. }), "{error}");
        let text = error.to_string();
        for part in [socket.to_str().unwrap(), word, "systemctl start docker", "--executor sandbox"] {
            assert!(text.contains(part), "{part:?} is not in: {text}");
        }
    }
}

#[derive(Debug)]
struct NoCode;

#[async_trait::async_trait]
impl the0_executor::provision::CodeSource for NoCode {
    async fn fetch(&self, code: &the0_model::CodeRef) -> Result<std::path::PathBuf, ExecutorError> {
        Err(ExecutorError::NotFound { what: code.location.clone() })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_cannot_be_started_leaves_nothing() {
    let Some(rig) = Rig::new().await else { return };
    let executor = rig.executor().await;
    let spec = rig.spec("b1", FOREVER);
    // Created without complaint, and then there is nothing to run.
    std::fs::remove_file(rig.path().join("tools/runtime")).unwrap();
    let error = executor.start(&spec, &owner()).await.unwrap_err().to_string();
    assert!(error.contains("/the0/runtime"), "{error}");
    rig.assert_nothing_left().await;
    // A network that is not there.
    rig.agent(include_bytes!("agent.py"));
    let outside = UnitSpec { network: the0_model::Network::Outside, ..spec.clone() };
    let config = DockerConfig { network: "the0-no-such-network".into(), ..rig.config.clone() };
    let elsewhere = rig.executor_with(config).await;
    let error = elsewhere.start(&outside, &owner()).await.unwrap_err().to_string();
    assert!(error.contains("the0-no-such-network"), "{error}");
    rig.assert_nothing_left().await;
    // And it can still be started rightly.
    assert_eq!(rig.run(&executor, &spec).await, 1);
    executor.stop(&spec.id, GRACE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_the_machine_cannot_run_is_told_in_words() {
    let Some(rig) = Rig::new().await else { return };
    let executor = rig.executor().await;
    let spec = rig.spec("b1", FOREVER);
    rig.agent(b"\x7fELF is what this is not");
    // Whether Docker notices at once differs between its versions.
    let text = match executor.start(&spec, &owner()).await {
        Ok(_) => {
            let exit = ended(&executor, &spec.id).await;
            assert!(exit.cause.is_failure(), "{exit}");
            format!("{exit} {:?}", exit.last_lines)
        }
        Err(error) => error.to_string(),
    };
    assert!(text.contains("exec format error"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_not_there_is_named_with_what_to_do() {
    let Some(rig) = Rig::new().await else { return };
    let spec = UnitSpec { image: Some(NO_REGISTRY.into()), ..rig.spec("b1", FOREVER) };
    let error = rig.executor().await.start(&spec, &owner()).await.unwrap_err();
    assert!(!error.is_permanent(), "a registry may come back: {error}");
    for part in [NO_REGISTRY, "docker pull", "docker load"] {
        assert!(error.to_string().contains(part), "{part:?} is not in: {error}");
    }
    rig.assert_nothing_left().await;
    let never = DockerConfig { pull: PullPolicy::Never, ..rig.config.clone() };
    let error = rig.executor_with(never).await.start(&spec, &owner()).await.unwrap_err();
    assert!(error.is_permanent() && error.to_string().contains(NO_REGISTRY), "{error}");
    let crooked = UnitSpec { image: Some("../containers".into()), ..spec.clone() };
    let error = rig.executor().await.start(&crooked, &owner()).await.unwrap_err();
    assert!(error.is_permanent() && error.to_string().contains("../containers"), "{error}");
    rig.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn units_that_need_one_image_share_one_pull() {
    let Some(mut rig) = Rig::new().await else { return };
    let proxy = Proxy::new(rig.path(), SOCKET);
    rig.config.host = Some(proxy.host());
    proxy.next("POST /images/create", Then::Delay(Duration::from_secs(2)));
    let executor = rig.executor().await;
    let progress = executor.pulling();
    let specs: Vec<_> = (0..3)
        .map(|n| UnitSpec { image: Some(NO_REGISTRY.into()), ..rig.spec(&format!("b{n}"), FOREVER) })
        .collect();
    let mine = owner();
    let starts = futures::future::join_all(specs.iter().map(|spec| executor.start(spec, &mine)));
    for outcome in starts.await {
        assert!(outcome.unwrap_err().to_string().contains(NO_REGISTRY));
    }
    assert_eq!(proxy.count("POST /images/create"), 1);
    assert!(progress.borrow().is_empty(), "nothing is pulled any more");
    rig.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_whose_answer_is_lost_leaves_nothing() {
    let Some(mut rig) = Rig::new().await else { return };
    let proxy = Proxy::new(rig.path(), SOCKET);
    let direct = rig.executor().await;
    rig.config.host = Some(proxy.host());
    let executor = rig.executor().await;
    let spec = rig.spec("b1", FOREVER);

    proxy.next("POST /containers/create", Then::LoseAnswer);
    let error = executor.start(&spec, &owner()).await.unwrap_err();
    assert!(matches!(error, ExecutorError::Unreachable { .. }), "{error}");
    rig.assert_nothing_left().await;

    // Docker is gone for good right after: the container is there, and the next listing has it collected.
    proxy.next("POST /containers/create", Then::LoseAnswerAndDie);
    let error = executor.start(&spec, &owner()).await.unwrap_err();
    assert!(matches!(error, ExecutorError::Unreachable { .. }), "{error}");
    assert_eq!(rig.containers().await.len(), 1);
    assert_eq!(ended(&direct, &spec.id).await.cause, Cause::NotStarted);
    direct.stop(&spec.id, GRACE).await.unwrap();
    assert_eq!(rig.containers().await, []);
    assert!(direct.start(&spec, &owner()).await.unwrap().fresh);
    direct.stop(&spec.id, GRACE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_loses_the_race_for_the_name_takes_what_runs() {
    let Some(mut rig) = Rig::new().await else { return };
    let proxy = Proxy::new(rig.path(), SOCKET);
    let direct = rig.executor().await;
    // Another directory, so that the lock does not keep them apart.
    rig.config.host = Some(proxy.host());
    let elsewhere = the0_executor::UnitsDir::new(rig.path().join("elsewhere"));
    let slow =
        DockerExecutor::connect(rig.config.clone(), rig.provision_in(elsewhere.clone())).await.unwrap();
    proxy.next("POST /containers/create", Then::Delay(Duration::from_secs(1)));
    let spec = rig.spec("b1", FOREVER);
    let mine = owner();
    let late = async {
        until("the slow one is about to create", async || {
            (proxy.count("POST /containers/create") > 0).then_some(())
        })
        .await;
        direct.start(&spec, &mine).await
    };
    let (lost, won) = tokio::join!(slow.start(&spec, &mine), late);
    assert!(won.unwrap().fresh);
    assert!(!lost.unwrap().fresh);
    assert!(!elsewhere.unit(&spec.id).path().exists(), "what the loser prepared is gone");
    rig.ready(&spec.id, 1).await;
    assert_eq!(direct.stop(&spec.id, GRACE).await.unwrap().unwrap().cause, Cause::Stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_whose_answer_is_lost_is_looked_at_and_never_taken_for_failed() {
    let Some(mut rig) = Rig::new().await else { return };
    let proxy = Proxy::new(rig.path(), SOCKET);
    let direct = rig.executor().await;
    rig.config.host = Some(proxy.host());
    let executor = rig.executor().await;

    let seen = rig.spec("seen", FOREVER);
    proxy.next("/start", Then::LoseAnswer);
    assert!(executor.start(&seen, &owner()).await.unwrap().fresh, "it runs, so it was started");
    assert_eq!(find(&direct, &seen.id).await.unwrap().phase, Phase::Running);
    direct.stop(&seen.id, GRACE).await.unwrap();

    let unseen = rig.spec("unseen", FOREVER);
    proxy.next("/start", Then::LoseAnswerAndDie);
    let error = executor.start(&unseen, &owner()).await.unwrap_err();
    assert!(matches!(error, ExecutorError::Unreachable { .. }), "{error}");
    assert_eq!(find(&direct, &unseen.id).await.unwrap().phase, Phase::Running);
    rig.ready(&unseen.id, 1).await;
    assert_eq!(
        direct.stop(&unseen.id, GRACE).await.unwrap().unwrap().cause,
        Cause::Stopped,
        "its folders are whole"
    );

    // Docker never heard of it: nothing runs, nothing is left.
    proxy.set_dead(false);
    let unheard = rig.spec("unheard", FOREVER);
    proxy.next("/start", Then::Refuse);
    executor.start(&unheard, &owner()).await.unwrap_err();
    assert_eq!(find(&direct, &unheard.id).await, None);
    assert!(!rig.units().unit(&unheard.id).path().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_does_not_answer_stops_nothing_and_rings_when_it_is_back() {
    let Some(mut rig) = Rig::new().await else { return };
    let proxy = Proxy::new(rig.path(), SOCKET);
    let direct = rig.executor().await;
    rig.config.host = Some(proxy.host());
    let executor = rig.executor().await;
    let spec = rig.spec("b1", FOREVER);
    executor.start(&spec, &owner()).await.unwrap();
    let mut bell = executor.changes();
    proxy.set_dead(true);
    for error in [
        executor.list("bot-runner").await.unwrap_err(),
        executor.stop(&spec.id, GRACE).await.unwrap_err(),
        executor.start(&spec, &owner()).await.unwrap_err(),
        executor.stats(&spec.id).await.unwrap_err(),
    ] {
        assert!(matches!(error, ExecutorError::Unreachable { .. }), "{error}");
    }
    let silent = tokio::time::timeout(Duration::from_secs(1), bell.next()).await;
    assert!(silent.is_err(), "there is nobody to ring");
    proxy.set_dead(false);
    tokio::time::timeout(Duration::from_secs(20), bell.next()).await.expect("it rings when it is back");
    assert_eq!(find(&direct, &spec.id).await.unwrap().phase, Phase::Running);
    direct.stop(&spec.id, GRACE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_under_way_is_no_failed_one_for_another_process_either() {
    let Some(mut rig) = Rig::new().await else { return };
    let proxy = Proxy::new(rig.path(), SOCKET);
    let other = rig.executor().await;
    rig.config.host = Some(proxy.host());
    let executor = rig.executor().await;
    proxy.next("/start", Then::Delay(Duration::from_secs(1)));
    let spec = rig.spec("b1", FOREVER);
    let mine = owner();
    let looked = async {
        let first = until("it is listed", async || find(&other, &spec.id).await).await;
        assert_eq!(first.phase, Phase::Starting);
    };
    let (started, ()) = tokio::join!(executor.start(&spec, &mine), looked);
    assert!(started.unwrap().fresh);
    assert_eq!(find(&other, &spec.id).await.unwrap().phase, Phase::Running);
    executor.stop(&spec.id, GRACE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_costs_one_call_however_many_units_there_are() {
    let Some(mut rig) = Rig::new().await else { return };
    let proxy = Proxy::new(rig.path(), SOCKET);
    rig.config.host = Some(proxy.host());
    let executor = rig.executor().await;
    for id in ["b1", "b2", "b3"] {
        rig.run(&executor, &rig.spec(id, FOREVER)).await;
    }
    let ends = rig.spec("ends", "pass\n");
    executor.start(&ends, &owner()).await.unwrap();
    ended(&executor, &ends.id).await;
    let before = proxy.count("");
    for _ in 0..3 {
        assert_eq!(executor.list("bot-runner").await.unwrap().len(), 4);
    }
    assert_eq!(proxy.count("") - before, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_docker_refuses_is_an_error() {
    let Some(mut rig) = Rig::new().await else { return };
    let proxy = Proxy::new(rig.path(), SOCKET);
    rig.config.host = Some(proxy.host());
    let executor = rig.executor().await;
    let spec = rig.spec("b1", FOREVER);
    rig.run(&executor, &spec).await;
    proxy.next("/stop", Then::Refuse);
    let error = executor.stop(&spec.id, GRACE).await.unwrap_err();
    assert!(matches!(error, ExecutorError::Unreachable { .. }), "{error}");
    assert_eq!(find(&executor, &spec.id).await.unwrap().phase, Phase::Running);
    proxy.next("DELETE /containers", Then::Refuse);
    executor.stop(&spec.id, GRACE).await.unwrap_err();
    assert_eq!(ended(&executor, &spec.id).await.cause, Cause::Stopped, "it ended and is still there");
    executor.stop(&spec.id, GRACE).await.unwrap();
    until("it is gone", async || rig.containers().await.is_empty().then_some(())).await;
}
