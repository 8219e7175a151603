//! The dead man's switch, with real processes.

use std::{fs, path::Path};

use nix::sys::signal::Signal;
use serde_json::json;
use the0_agent::{FENCED, boottime_ms, lease::LeaseFile, lease_file};
use the0_model::{Cause, Generation};

use crate::rig::{Rig, Running, is_alive, until};

const DEAF: &str = "trap '' TERM; echo ready; while :; do sleep 0.05; done";

fn write(path: &Path, left_ms: u64, stop_grace_ms: u64) -> u64 {
    let deadline_boottime_ms = boottime_ms() + left_ms;
    let generation = Generation { term: 3, step: 4 };
    lease_file::write(path, &LeaseFile { deadline_boottime_ms, stop_grace_ms, generation }).unwrap();
    deadline_boottime_ms
}

fn leased(script: &str) -> Rig {
    Rig::native(script).set("leased", json!(true)).set("stop_grace_ms", json!(600_000))
}

fn start(script: &str, left_ms: u64, grace_ms: u64) -> (Running, u64) {
    let rig = leased(script);
    let deadline = write(&rig.path("lease/lease.json"), left_ms, grace_ms);
    let running = rig.start();
    running.wait_for("ready");
    (running, deadline)
}

#[test]
fn without_a_valid_lease_no_bot_starts() {
    let script = "touch \"$STATE_DIR\"-ran";
    for content in [
        None,
        Some("garbage"),
        Some(r#"{"deadline_boottime_ms":1,"stop_grace_ms":1,"generation":{"term":1,"step":1}}"#),
    ] {
        let rig = leased(script);
        if let Some(content) = content {
            fs::write(rig.path("lease/lease.json"), content).unwrap();
        }
        let mut running = rig.start();
        running.code();
        let ran = running.path("state/.the0-state-ran");
        assert!(!ran.exists(), "{content:?}");
        let done = running.finish();
        assert_eq!((done.exit.cause, done.code), (Cause::Fenced, Some(FENCED)), "{content:?}");
        assert!(done.message().contains("lease"), "{}", done.message());
    }
}

#[test]
fn at_the_deadline_a_bot_is_asked_and_after_the_grace_killed() {
    let (running, deadline) = start(DEAF, 700, 300);
    let bot = running.bot_pid();
    until("the bot to be gone", || (!is_alive(bot)).then_some(()));
    let gone = boottime_ms();
    let done = running.finish();
    assert!(gone >= deadline + 300, "gone {gone}, deadline {deadline}: its grace is the bot's");
    assert_eq!((done.exit.cause, done.exit.signal, done.code), (Cause::Fenced, Some(9), Some(FENCED)));
    assert!(done.message().contains("generation 3.4"), "{}", done.message());
}

#[test]
fn a_bot_that_obeys_ends_at_the_deadline() {
    let (running, deadline) =
        start("trap 'echo asked; exit 0' TERM; echo ready; while :; do sleep 0.02; done", 600, 60_000);
    let done = running.finish();
    assert!(boottime_ms() >= deadline);
    assert_eq!((done.exit.cause, done.exit.code, done.code), (Cause::Fenced, Some(0), Some(FENCED)));
    assert_eq!(done.stdout(), "ready\nasked\n");
}

#[test]
fn a_renewed_lease_keeps_a_bot_running() {
    let (running, first) = start(DEAF, 600, 0);
    let bot = running.bot_pid();
    write(&running.path("lease/lease.json"), 60_000, 0);
    until("the first deadline to pass", || (boottime_ms() > first + 300).then_some(()));
    assert!(is_alive(bot));
    // Unreadable for a while: what was read last counts.
    fs::remove_file(running.path("lease/lease.json")).unwrap();
    let later = boottime_ms() + 500;
    until("some looks", || (boottime_ms() > later).then_some(()));
    assert!(is_alive(bot));
    // Shortened: what is read now counts.
    write(&running.path("lease/lease.json"), 0, 0);
    assert_eq!(running.finish().exit.cause, Cause::Fenced);
}

#[test]
fn an_agent_that_was_frozen_past_the_deadline_acts_when_it_wakes() {
    let (running, deadline) = start(DEAF, 500, 100);
    let bot = running.bot_pid();
    running.signal(Signal::SIGSTOP);
    until("the deadline and the grace to pass", || (boottime_ms() > deadline + 400).then_some(()));
    assert!(is_alive(bot), "nobody could act");
    running.signal(Signal::SIGCONT);
    let woken = boottime_ms();
    until("the bot to be gone", || (!is_alive(bot)).then_some(()));
    let took = boottime_ms() - woken;
    // 200 ms is promised; the rest is for a busy machine.
    assert!(took < 1_000, "{took} ms");
    assert_eq!(running.finish().exit.cause, Cause::Fenced);
}
