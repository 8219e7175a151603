//! Starting, stopping, ending, and being found again.

use std::{fs, time::Duration};

use futures::{StreamExt, future::join_all};
use serde_json::json;
use the0_core::{ExecutorError, Phase};
use the0_model::{Cause, Secret, UnitId, UnitSpec};
use tokio::time::timeout;

use super::{FOREVER, GRACE_MS, PATIENCE, SERVICE, Subject, owner};

/// A unit that runs is not started again; it is listed with all that was said of it.
pub async fn equal_starts_are_one(subject: &Subject) {
    let spec = subject.python("idem", FOREVER);
    let first = subject.executor.start(&spec, &owner()).await.unwrap();
    assert_eq!((first.attempt, first.fresh), (1, true));
    let second = subject.executor.start(&spec, &owner()).await.unwrap();
    assert_eq!((second.attempt, second.fresh), (1, false));
    let listed = subject.executor.list(SERVICE).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].id, spec.id);
    assert_eq!(listed[0].digest, spec.digest());
    assert_eq!(*listed[0].owner, owner());
    assert_eq!(listed[0].attempt, 1);
    assert_eq!(listed[0].phase, Phase::Running);
    assert!(listed[0].started_at.is_some());
}

/// Two that start the same unit at the same moment start it once, and both are told so.
pub async fn starts_at_once_are_one(subject: &Subject) {
    let spec = subject.python("once", FOREVER);
    let owner = owner();
    let started = join_all((0..8).map(|_| subject.executor.start(&spec, &owner))).await;
    let fresh = started.into_iter().map(|one| one.unwrap()).filter(|one| one.fresh).count();
    assert_eq!(fresh, 1);
    assert_eq!(subject.executor.list(SERVICE).await.unwrap().len(), 1);
}

/// Stopping what is not there is no error.
pub async fn an_absent_unit_is_stopped_already(subject: &Subject) {
    let unit = UnitId::new("bot/nobody").unwrap();
    assert_eq!(subject.executor.stop(&unit, Duration::from_secs(1)).await.unwrap(), None);
    assert_eq!(subject.executor.stats(&unit).await.unwrap(), None);
    assert_eq!(subject.executor.address(&unit, 80).await.unwrap(), None);
}

/// A service lists its own units alone.
pub async fn services_see_their_own(subject: &Subject) {
    let spec = subject.python("mine", FOREVER);
    subject.executor.start(&spec, &owner()).await.unwrap();
    assert_eq!(subject.executor.list("another").await.unwrap(), []);
}

/// A unit that runs under another specification is left alone, and the caller is told.
pub async fn another_specification_waits_for_a_stop(subject: &Subject) {
    let spec = subject.python("changed", FOREVER);
    let before = subject.up(&spec).await;
    let changed = UnitSpec { restarts_requested: 1, ..spec.clone() };
    let error = subject.executor.start(&changed, &owner()).await.unwrap_err();
    assert!(!error.is_permanent(), "{error}");
    assert_eq!(subject.find(&spec.id).await, Some(before));
}

/// How a bot ended is told: cause, code, its own words, its last lines.
pub async fn a_crash_is_explained(subject: &Subject) {
    let script = "def main(bot_id, config):\n    print('before')\n    raise ValueError('no price')\n";
    let spec = subject.python("crash", script);
    let exit = subject.end(&spec).await;
    assert_eq!((exit.cause, exit.code), (Cause::Failed, Some(1)), "{exit}");
    assert!(exit.to_string().contains("no price"), "{exit}");
    assert!(exit.last_lines.iter().any(|line| line.contains("before")), "{:?}", exit.last_lines);
    let status = subject.find(&spec.id).await.unwrap();
    assert_eq!(status.pid, None);
    assert_eq!(subject.stop(&spec.id).await, Some(exit), "removing it tells the same");
    assert_eq!(subject.find(&spec.id).await, None);
}

/// A stop reaches the bot, which has time to finish.
pub async fn a_stop_lets_the_bot_finish(subject: &Subject) {
    let script = format!("{FOREVER}\ndef on_stop():\n    print('orders cancelled')\n");
    let spec = subject.python("polite", &script);
    subject.up(&spec).await;
    let exit = subject.stop(&spec.id).await.expect("it was stopped");
    assert_eq!(exit.cause, Cause::Stopped, "{exit}");
    assert!(subject.output(&spec.id).await.contains(&"orders cancelled".to_owned()));
    assert_eq!(subject.find(&spec.id).await, None);
    assert!(subject.dir(&spec.id).state().is_dir(), "state stays");
    subject.assert_gone(&spec.id).await;
}

/// A bot that does not listen is killed when its grace is over.
pub async fn a_deaf_bot_is_stopped_by_force(subject: &Subject) {
    let script = "import signal, time\ndef main(bot_id, config):\n    \
                  signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n    print('up')\n    \
                  while True: time.sleep(60)\n";
    let spec = UnitSpec { stop_grace_ms: 300, ..subject.python("deaf", script) };
    subject.up(&spec).await;
    let exit = subject.executor.stop(&spec.id, Duration::from_millis(300)).await.unwrap().unwrap();
    assert_eq!(exit.cause, Cause::StoppedByForce, "{exit}");
    subject.assert_gone(&spec.id).await;
}

/// What a bot keeps is there in its next attempt, which knows that it is not the first.
pub async fn state_outlives_attempts(subject: &Subject) {
    let script = "import os\ndef main(bot_id, config):\n    \
                  path = os.environ['STATE_DIR'] + '/count'\n    \
                  count = int(open(path).read()) if os.path.exists(path) else 0\n    \
                  open(path, 'w').write(str(count + 1))\n    \
                  print('count', count, os.environ['RUN_ATTEMPT'], os.environ['RUN_RESUMED'])\n";
    let spec = subject.python("state", script);
    for expected in ["count 0 1 false", "count 1 2 true"] {
        let exit = subject.end(&spec).await;
        assert_eq!(exit.cause, Cause::Completed, "{exit}");
        assert_eq!(subject.output(&spec.id).await, [expected]);
        subject.stop(&spec.id).await;
    }
}

/// A configuration of a megabyte reaches the bot whole.
pub async fn a_large_config_arrives(subject: &Subject) {
    let script = "def main(bot_id, config):\n    print('size', len(config['data']), config['data'][-3:])\n";
    let mut spec = subject.python("large", script);
    spec.config = Secret::new(json!({ "data": format!("{}end", "x".repeat(1 << 20)) }));
    assert_eq!(subject.end(&spec).await.cause, Cause::Completed);
    assert_eq!(subject.output(&spec.id).await, [format!("size {} end", (1 << 20) + 3)]);
}

/// What cannot be started is refused, named, and leaves nothing behind.
pub async fn a_missing_entrypoint_leaves_nothing(subject: &Subject) {
    let spec = UnitSpec { entrypoint: "bot.py".into(), ..subject.python("missing", FOREVER) };
    let error = subject.executor.start(&spec, &owner()).await.unwrap_err();
    assert!(matches!(error, ExecutorError::Refused { .. }), "{error}");
    assert!(error.to_string().contains("bot.py"), "{error}");
    assert_eq!(subject.executor.list(SERVICE).await.unwrap(), []);
    assert!(!subject.dir(&spec.id).path().exists(), "no folder is left");
    subject.assert_gone(&spec.id).await;
}

/// A unit goes on when the executor is dropped, and the next one finds it: the same process.
pub async fn units_outlive_the_executor(subject: &Subject) {
    let spec = subject.python("adopted", FOREVER);
    let before = subject.up(&spec).await;
    let again = (subject.reopen)().await;
    assert_eq!(again.list(SERVICE).await.unwrap(), std::slice::from_ref(&before));
    assert!(!again.start(&spec, &owner()).await.unwrap().fresh);
    let mut changes = again.changes();
    let exit = again.stop(&spec.id, Duration::from_millis(GRACE_MS)).await.unwrap().unwrap();
    assert_eq!(exit.cause, Cause::Stopped);
    timeout(PATIENCE, changes.next()).await.expect("the end of an adopted unit rings");
    assert_eq!(subject.executor.list(SERVICE).await.unwrap(), []);
}

/// The end of a unit rings, without anyone asking.
pub async fn an_end_rings(subject: &Subject) {
    let script = "import os, time\ndef main(bot_id, config):\n    print('up')\n    \
                  while not os.path.exists('/state/go'): time.sleep(0.01)\n";
    let spec = subject.python("rings", script);
    subject.up(&spec).await;
    let mut changes = subject.executor.changes();
    // Rings of the start may still be on their way; they may be early but not late.
    while timeout(Duration::from_millis(500), changes.next()).await.is_ok() {}
    fs::write(subject.dir(&spec.id).state().join("go"), "").unwrap();
    timeout(PATIENCE, changes.next()).await.expect("it rings");
    assert_eq!(subject.ended(&spec.id).await.cause, Cause::Completed);
}

/// An agent killed from outside is noticed, takes its bot with it, and the end is a failure.
pub async fn a_killed_agent_is_noticed(subject: &Subject) {
    let spec = subject.python("killed", FOREVER);
    let status = subject.up(&spec).await;
    let mut changes = subject.executor.changes();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(status.pid.expect("it has a process")).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL).unwrap();
    timeout(PATIENCE, changes.next()).await.expect("it rings");
    let exit = subject.ended(&spec.id).await;
    assert!(exit.cause.is_failure(), "{exit}");
    assert_eq!(subject.ended(&spec.id).await, exit, "told the same twice");
    assert_eq!(subject.stop(&spec.id).await, Some(exit));
    subject.assert_gone(&spec.id).await;
}

/// A unit that is purged leaves no folder; one that runs is not purged.
pub async fn a_purged_unit_leaves_nothing(subject: &Subject) {
    let spec = subject.python("purged", FOREVER);
    subject.up(&spec).await;
    subject.executor.purge(&spec.id).await.expect_err("it runs");
    subject.stop(&spec.id).await;
    subject.executor.purge(&spec.id).await.unwrap();
    assert!(!subject.dir(&spec.id).path().exists());
    subject.executor.purge(&spec.id).await.unwrap();
}

/// Attempts are numbered on; a start that was refused takes no number.
pub async fn another_attempt_counts_on(subject: &Subject) {
    let spec = subject.python("counted", FOREVER);
    subject.up(&spec).await;
    subject.stop(&spec.id).await;
    let bad = UnitSpec { entrypoint: "no.py".into(), ..spec.clone() };
    subject.executor.start(&bad, &owner()).await.unwrap_err();
    assert_eq!(subject.executor.start(&spec, &owner()).await.unwrap().attempt, 2);
    assert!(!subject.dir(&spec.id).attempt(1).input().exists(), "the first keeps no keys");
}
