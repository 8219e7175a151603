//! Starting, finding again, stopping.

use std::time::Duration;

use bollard::{
    models::ContainerCreateBody,
    query_parameters::{CreateContainerOptionsBuilder, KillContainerOptionsBuilder},
};
use futures::StreamExt;
use the0_core::{Executor, ExecutorError, Phase};
use the0_executor::labels::Labels;
use the0_model::{Cause, UnitSpec};

use crate::rig::{FOREVER, Rig, ended, find, owner, read_when_there, until};

const GRACE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_is_adopted_with_the_same_process_and_ends_without_a_trace() {
    let Some(rig) = Rig::new().await else { return };
    let spec = rig.spec("b1", FOREVER);
    let first = rig.executor().await;
    let started = first.start(&spec, &owner()).await.unwrap();
    assert_eq!((started.attempt, started.fresh), (1, true));
    rig.ready(&spec.id, 1).await;
    let before = find(&first, &spec.id).await.unwrap();
    assert_eq!((before.phase.clone(), before.digest, before.attempt), (Phase::Running, spec.digest(), 1));
    assert!(before.pid.is_some_and(|pid| std::path::Path::new(&format!("/proc/{pid}")).exists()));
    assert_eq!(*before.owner, owner());
    drop(first);

    let second = rig.executor().await;
    assert_eq!(find(&second, &spec.id).await.unwrap(), before);
    let again = second.start(&spec, &owner()).await.unwrap();
    assert_eq!((again.attempt, again.fresh), (1, false));
    let stats = second.stats(&spec.id).await.unwrap().unwrap();
    assert!(stats.memory_bytes > 1 << 20 && stats.pids >= 2 && stats.cpu_micros > 0, "{stats:?}");
    assert!(second.list("another-service").await.unwrap().is_empty());
    let purged = second.purge(&spec.id).await.unwrap_err().to_string();
    assert!(purged.contains("stop it first"), "{purged}");

    let exit = second.stop(&spec.id, GRACE).await.unwrap().unwrap();
    assert_eq!(exit.cause, Cause::Stopped);
    assert_eq!(second.stop(&spec.id, GRACE).await.unwrap(), None);
    assert_eq!(second.stats(&spec.id).await.unwrap(), None);
    assert_eq!(rig.containers().await, []);
    assert!(rig.units().unit(&spec.id).state().is_dir(), "state outlives the container");
    assert_eq!(rig.run(&second, &spec).await, 2);
    second.stop(&spec.id, GRACE).await.unwrap();
    second.purge(&spec.id).await.unwrap();
    rig.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_executors_at_once_start_it_once() {
    let Some(rig) = Rig::new().await else { return };
    let spec = rig.spec("b1", FOREVER);
    let (one, two) = (rig.executor().await, rig.executor().await);
    let mine = owner();
    let (a, b, c) = tokio::join!(one.start(&spec, &mine), two.start(&spec, &mine), one.start(&spec, &mine));
    let all = [a.unwrap(), b.unwrap(), c.unwrap()];
    assert_eq!(all.iter().filter(|started| started.fresh).count(), 1, "{all:?}");
    assert!(all.iter().all(|started| started.attempt == 1), "{all:?}");
    assert_eq!(rig.containers().await.len(), 1);
    assert_eq!(rig.units().unit(&spec.id).attempts().unwrap(), [1]);
    rig.ready(&spec.id, 1).await;
    let other = UnitSpec { restarts_requested: 1, ..spec.clone() };
    let refused = two.start(&other, &mine).await.unwrap_err().to_string();
    assert!(refused.contains("another specification"), "{refused}");
    one.stop(&spec.id, GRACE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_was_created_and_never_started_is_collected() {
    let Some(rig) = Rig::new().await else { return };
    let executor = rig.executor().await;
    let spec = rig.spec("b1", FOREVER);
    let labels = Labels {
        unit: spec.id.clone(),
        owner: owner(),
        digest: spec.digest(),
        attempt: 1,
        data: rig.config.data_hash.clone(),
    };
    let body = ContainerCreateBody {
        image: Some("python:3.11-slim".into()),
        cmd: Some(vec!["true".into()]),
        labels: Some(labels.encode().into_iter().collect()),
        ..ContainerCreateBody::default()
    };
    let options = CreateContainerOptionsBuilder::new().name(&rig.name(&spec.id)).build();
    rig.docker.create_container(Some(options), body).await.unwrap();

    assert_eq!(ended(&executor, &spec.id).await.cause, Cause::NotStarted);
    let refused = executor.start(&spec, &owner()).await.unwrap_err().to_string();
    assert!(refused.contains("cut short") && refused.contains("stop it first"), "{refused}");
    assert_eq!(executor.stop(&spec.id, GRACE).await.unwrap().unwrap().cause, Cause::NotStarted);
    rig.run(&executor, &spec).await;
    executor.stop(&spec.id, GRACE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_of_that_name_that_is_not_ours_is_left_alone() {
    let Some(rig) = Rig::new().await else { return };
    let executor = rig.executor().await;
    let spec = rig.spec("b1", FOREVER);
    let body = ContainerCreateBody {
        image: Some("python:3.11-slim".into()),
        cmd: Some(vec!["true".into()]),
        labels: Some([("the0.data".to_owned(), rig.config.data_hash.clone())].into_iter().collect()),
        ..ContainerCreateBody::default()
    };
    let options = CreateContainerOptionsBuilder::new().name(&rig.name(&spec.id)).build();
    rig.docker.create_container(Some(options), body).await.unwrap();
    for error in [
        executor.start(&spec, &owner()).await.unwrap_err(),
        executor.stop(&spec.id, GRACE).await.unwrap_err(),
    ] {
        assert!(error.to_string().contains(&rig.name(&spec.id)), "{error}");
    }
    assert_eq!(executor.list("bot-runner").await.unwrap(), [], "it is no unit");
    assert_eq!(rig.containers().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_unit_counts_as_running_and_can_be_stopped() {
    let Some(rig) = Rig::new().await else { return };
    let executor = rig.executor().await;
    let spec = rig.spec("b1", FOREVER);
    executor.start(&spec, &owner()).await.unwrap();
    rig.docker.pause_container(&rig.name(&spec.id)).await.unwrap();
    assert_eq!(find(&executor, &spec.id).await.unwrap().phase, Phase::Running);
    assert!(executor.stop(&spec.id, Duration::from_secs(1)).await.unwrap().is_some());
    assert_eq!(rig.containers().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_from_outside_is_told_in_words_rings_and_stays_on_record() {
    let Some(rig) = Rig::new().await else { return };
    let executor = rig.executor().await;
    let spec = rig.spec("b1", FOREVER);
    let mut bell = executor.changes();
    assert_eq!(bell.next().await, Some(()), "it rings once connected");
    executor.start(&spec, &owner()).await.unwrap();
    // The rings of create and start; an end rings after them.
    for _ in 0..2 {
        tokio::time::timeout(Duration::from_secs(10), bell.next()).await.unwrap();
    }
    let kill = KillContainerOptionsBuilder::new().signal("KILL").build();
    rig.docker.kill_container(&rig.name(&spec.id), Some(kill)).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), bell.next()).await.expect("the end rings");
    let exit = ended(&executor, &spec.id).await;
    assert_eq!((exit.cause, exit.signal), (Cause::Killed, Some(9)), "{exit}");
    assert!(exit.ran_ms < 60_000 && exit.message.is_some(), "{exit}");
    let refused = executor.start(&spec, &owner()).await.unwrap_err().to_string();
    assert!(refused.contains("has ended") && refused.contains("stop it first"), "{refused}");
    assert_eq!(executor.stop(&spec.id, GRACE).await.unwrap(), Some(exit.clone()));
    assert_eq!(rig.units().unit(&spec.id).attempt(1).exit(), Some(exit));
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_that_runs_out_is_told_from_a_crash() {
    let Some(rig) = Rig::new().await else { return };
    let executor = rig.executor().await;
    // The agent itself is killed with everything: only Docker is left to say why.
    rig.agent(b"#!/usr/bin/env python3\nhog = []\nwhile True: hog.append(bytearray(1 << 20))\n");
    let main = rig.spec("main", FOREVER);
    executor.start(&main, &owner()).await.unwrap();
    let exit = ended(&executor, &main.id).await;
    assert_eq!((exit.cause, exit.signal), (Cause::OutOfMemory, Some(9)), "{exit}");
    executor.stop(&main.id, GRACE).await.unwrap();

    // A child is killed and the agent is not: the agent's word counts.
    rig.agent(include_bytes!("agent.py"));
    let hog = "import os\nif os.fork() == 0:\n    hog = []\n    while True: hog.append(bytearray(1 << 20))\n";
    let child =
        rig.spec("child", &format!("{hog}_, status = os.wait()\nos.kill(os.getpid(), status & 127)\n"));
    executor.start(&child, &owner()).await.unwrap();
    let exit = ended(&executor, &child.id).await;
    assert_eq!((exit.cause, exit.signal), (Cause::Failed, Some(9)), "{exit}");
    executor.stop(&child.id, GRACE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_that_ignores_the_end_is_ended_by_force() {
    let Some(rig) = Rig::new().await else { return };
    let executor = rig.executor().await;
    // An agent that does not keep its promise either.
    rig.agent(
        b"#!/usr/bin/env python3\nimport signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n\
          open('/state/ready', 'w').write('1\\n')\nwhile True: time.sleep(1)\n",
    );
    let spec = rig.spec("b1", FOREVER);
    executor.start(&spec, &owner()).await.unwrap();
    read_when_there(rig.units().unit(&spec.id).state().join("ready")).await;
    let begun = std::time::Instant::now();
    let exit = executor.stop(&spec.id, Duration::from_millis(500)).await.unwrap().unwrap();
    assert!(begun.elapsed() > Duration::from_millis(500), "it has its grace");
    assert_eq!((exit.cause, exit.signal), (Cause::StoppedByForce, Some(9)), "{exit}");
    assert_eq!(rig.containers().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_with_a_network_has_an_address_and_one_without_has_none() {
    let Some(rig) = Rig::new().await else { return };
    let executor = rig.executor().await;
    let inside = rig.spec("inside", FOREVER);
    executor.start(&inside, &owner()).await.unwrap();
    assert_eq!(executor.address(&inside.id, 9476).await.unwrap(), None);
    let serve = "import http.server\nhttp.server.HTTPServer(('', 9476), http.server.BaseHTTPRequestHandler)\
                 .serve_forever()\n";
    let outside = UnitSpec { network: the0_model::Network::Outside, ..rig.spec("outside", serve) };
    executor.start(&outside, &owner()).await.unwrap();
    let address = executor.address(&outside.id, 9476).await.unwrap().expect("it has an address");
    until("the port answers", async || tokio::net::TcpStream::connect(address).await.ok()).await;
    for unit in [&inside.id, &outside.id] {
        executor.stop(unit, GRACE).await.unwrap();
        assert_eq!(executor.address(unit, 9476).await.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn output_is_not_there_before_the_first_start() {
    let Some(rig) = Rig::new().await else { return };
    let executor = rig.executor().await;
    let spec = rig.spec("b1", FOREVER);
    let query = the0_core::executor::LogQuery {
        attempt: the0_core::executor::AttemptRef::Latest,
        tail: None,
        follow: false,
    };
    let Err(ExecutorError::NotFound { .. }) = executor.logs(&spec.id, query).await.map(|_| ()) else {
        panic!("there is nothing to read");
    };
}
