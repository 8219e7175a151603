//! The life of a bot, from its deployment to its removal.

use std::{fs, path::Path, time::Duration};

use crate::{
    files,
    rig::{Following, Service, executors, is_here, signal, soon, within},
};

#[test]
fn a_bot_lives_in_the_sandbox() {
    if is_here("sandbox") {
        a_bot_lives("sandbox");
    }
}

#[test]
fn a_bot_lives_in_docker() {
    if is_here("docker") {
        a_bot_lives("docker");
    }
}

fn a_bot_lives(executor: &'static str) {
    let bots = tempfile::tempdir().unwrap();
    let dir = files::counter(bots.path(), "life");
    let source = dir.to_str().unwrap();
    let mut service = Service::start(executor);

    // Deployed, it runs, and its output is seen as it comes.
    service.run(&["bots", "deploy", source, "--wait"]);
    let first = service.status("life");
    assert_eq!((&first["phase"], &first["attempt"]), (&"running".into(), &1.into()));
    let follower = Following::start(service.command(&["bots", "logs", "-f", "life"]));
    follower.until("hello from life with step 1 at 0");
    follower.until("count 3");

    // The same again changes nothing.
    let same = service.json(&["bots", "deploy", source]);
    assert_eq!((&same["changed"], &same["created"]), (&false.into(), &false.into()));
    assert_eq!(service.status("life")["attempt"], 1);

    // Another configuration restarts it, with its state; the follower goes on.
    service.run(&["bots", "config", "set", "life", "step=2"]);
    let second = service.running_after("life", 1);
    let hello = follower.until("hello from life with step 2");
    assert!(!hello.ends_with("at 0"), "the state was lost: {hello}");
    assert!(
        service.run(&["bots", "logs", "life", "--previous"]).contains("hello from life with step 1 at 0")
    );

    // Its process is killed: it is back soon, and the reason is known.
    let killed = second["attempt"].as_u64().unwrap();
    kill_bot(&second);
    let back = within(Duration::from_secs(3), "the bot is back", || {
        let status = service.status("life");
        (status["phase"] == "running" && status["attempt"].as_u64() > Some(killed)).then_some(status)
    });
    assert!(back["last_exit"]["summary"].as_str().unwrap().contains("SIGKILL"), "{back}");
    assert!(service.run(&["bots", "why", "life"]).contains("SIGKILL"));

    // The service is killed and comes back: the bot does not notice; who follows is told that it is cut off.
    let before = service.running_after("life", killed);
    service.kill();
    assert_eq!(follower.ended(), Some(5));
    let mut service = service.again();
    let after = service.running_after("life", 0);
    assert_eq!((&after["pid"], &after["attempt"]), (&before["pid"], &before["attempt"]));
    let follower = Following::start(service.command(&["bots", "logs", "-f", "--tail", "1", "life"]));
    let line = follower.until("count ");

    // Ended in order, it leaves bots running too; who follows is told.
    assert_eq!(service.end(), Some(0), "{}", service.log());
    assert_eq!(follower.ended(), Some(5), "after {line}");
    let service = service.again();
    assert_eq!(service.running_after("life", 0)["pid"], before["pid"]);

    // Stopped, it stays stopped; removed, nothing is left of it.
    service.run(&["bots", "stop", "life"]);
    let stopped = service.status("life");
    assert_eq!(
        (&stopped["phase"], &stopped["enabled"], &stopped["pid"]),
        (&"stopped".into(), &false.into(), &0.into())
    );
    service.run(&["bots", "rm", "life", "--yes"]);
    assert_eq!(service.try_run(&["bots", "status", "life"]).code, 3);
    assert_eq!(remains(&service.dir), Vec::<String>::new());
}

#[test]
fn a_following_reader_may_leave_at_any_time() {
    let Some(executor) = executors().first().copied() else { return };
    let bots = tempfile::tempdir().unwrap();
    let dir = files::counter(bots.path(), "read");
    let service = Service::start(executor);
    service.run(&["bots", "deploy", dir.to_str().unwrap(), "--wait"]);
    let follower = Following::start(service.command(&["bots", "logs", "-f", "read"]));
    follower.until("count 1");
    assert_eq!(follower.interrupt(), Some(130));
    // A reader that closes the pipe ends the command without a word.
    let shell = format!("{} bots logs -f read | head -n 1", crate::rig::RUNTIME);
    let ended = crate::rig::run(
        std::process::Command::new("sh").args(["-c", &shell]).env("THE0_SERVER", &service.url),
    );
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{}", ended.out);
    // Deleted, there is nothing left to follow.
    let follower = Following::start(service.command(&["bots", "logs", "-f", "read"]));
    follower.until("count 1");
    service.run(&["bots", "rm", "read", "--yes"]);
    assert_eq!(follower.ended(), Some(0));
}

#[test]
fn a_bot_that_raises_says_why_and_a_restart_clears_its_backoff() {
    for executor in executors() {
        let bots = tempfile::tempdir().unwrap();
        let program = "def main(bot_id, config):\n    raise ValueError('no price for ' + config['symbol'])\n";
        let dir = files::bot(bots.path(), "raise", program, "");
        let service = Service::start(executor);
        let ended = service.try_run(&["bots", "deploy", dir.to_str().unwrap(), "--set", "symbol=BTC/USDT"]);
        assert_eq!(ended.code, 0, "{}", ended.err);
        let why = soon("the reason is known", || {
            let why = service.run(&["bots", "why", "raise"]);
            why.contains("no price for BTC/USDT").then_some(why)
        });
        assert!(why.contains("ValueError"), "{why}");
        let attempt = service.status("raise")["attempt"].as_u64().unwrap();
        service.run(&["bots", "restart", "raise"]);
        soon("another attempt", || {
            (service.status("raise")["attempt"].as_u64() > Some(attempt)).then_some(())
        });
        let events = service.run(&["bots", "events", "raise"]);
        for kind in ["deployed", "started", "exited", "restart requested"] {
            assert!(events.contains(kind), "{kind} is missing in {events}");
        }
    }
}

#[test]
fn keys_are_shown_to_nobody_who_does_not_ask() {
    let Some(executor) = executors().first().copied() else { return };
    let bots = tempfile::tempdir().unwrap();
    let dir = files::counter(bots.path(), "keys");
    let service = Service::start(executor);
    let config = r#"{"api_key": "canary-4711", "step": 7, "nested": {"secret": ["canary-4712"]}}"#;
    service.run(&[
        "bots",
        "deploy",
        dir.to_str().unwrap(),
        "--config",
        config,
        "--env",
        "TOKEN=canary-4713",
        "--wait",
    ]);
    for args in [
        &["bots", "show", "keys"][..],
        &["bots", "show", "keys", "--json"],
        &["bots", "config", "get", "keys"],
        &["bots", "ls", "--json"],
        &["bots", "why", "keys", "--json"],
        &["status", "--json"],
    ] {
        let shown = service.run(args);
        assert!(!shown.contains("canary"), "{args:?}: {shown}");
    }
    assert!(!service.log().contains("canary"));
    let all = service.run(&["bots", "config", "get", "keys", "--show-secrets"]);
    assert!(all.contains("canary-4711") && all.contains("canary-4712"), "{all}");
    assert_eq!(service.json(&["bots", "config", "get", "keys"])["step"], 7);
    service.run(&["bots", "config", "set", "keys", "order=9007199254740993"]);
    let exact = service.json(&["bots", "config", "get", "keys"])["order"].as_u64();
    assert_eq!(exact, Some(9_007_199_254_740_993), "more digits than a double holds");
}

/// Kills the bot itself, the child of its supervisor.
fn kill_bot(status: &serde_json::Value) {
    let supervisor = status["pid"].as_u64().unwrap();
    let pid = soon("the bot's process", || {
        let children = fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children")).ok()?;
        children.split_whitespace().next()?.parse().ok()
    });
    signal("KILL", pid);
}

/// Files of bots that are left in a data directory. Unpacked code is a cache, shared and pruned by itself.
fn remains(data: &Path) -> Vec<String> {
    let mut found = vec![];
    for folder in ["units", "objects/custom-bots", "cache/uploads"] {
        collect(&data.join(folder), &mut found);
    }
    found
}

fn collect(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        if entry.path().is_dir() && !name.contains("life") {
            collect(&entry.path(), found);
        } else {
            found.push(entry.path().display().to_string());
        }
    }
}
