//! Stops, and what bots do about them.

use std::time::{Duration, Instant};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;
use the0_model::Cause;

use crate::rig::{Rig, is_alive, until};

#[test]
fn a_stop_reaches_the_bot_and_its_finally_blocks_run() {
    let text = "
import time
def main(bot_id, config):
    try:
        print('ready')
        while True:
            try: time.sleep(60)
            except Exception: pass
    finally:
        print('cleaned up')
def on_stop(reason):
    print('asked:', reason)
";
    let running = Rig::python(text).start();
    running.wait_for("ready");
    running.signal(Signal::SIGTERM);
    let done = running.finish();
    assert_eq!(
        (done.exit.cause, done.exit.code, done.code),
        (Cause::Stopped, Some(0), Some(0)),
        "{:?}",
        done.exit
    );
    assert_eq!(done.stdout(), "ready\nasked: SIGTERM\ncleaned up\n");
    assert_eq!(done.exit.result.unwrap()["status"], "terminated");
}

#[test]
fn a_stop_function_without_arguments_is_called_too_and_its_fault_is_shown() {
    let text = "
import time
def main(bot_id, config):
    print('ready')
    time.sleep(60)
def stop():
    raise RuntimeError('stop is broken')
";
    let running = Rig::python(text).start();
    running.wait_for("ready");
    running.signal(Signal::SIGINT);
    let done = running.finish();
    assert_eq!((done.exit.cause, done.exit.code), (Cause::Stopped, Some(0)));
    assert!(done.text(the0_model::LogStream::Stderr).contains("stop is broken"));
}

#[test]
fn a_second_request_does_not_interrupt_the_cleaning_up() {
    let text = "
import time
def main(bot_id, config):
    try:
        print('ready')
        time.sleep(60)
    finally:
        print('cleaning')
        time.sleep(0.5)
        print('clean')
";
    let running = Rig::python(text).start();
    running.wait_for("ready");
    running.signal(Signal::SIGTERM);
    running.wait_for("cleaning");
    running.signal(Signal::SIGTERM);
    // Nor does one that does not come through the agent.
    kill(Pid::from_raw(running.bot_pid()), Signal::SIGTERM).unwrap();
    let done = running.finish();
    assert_eq!(done.stdout(), "ready\ncleaning\nclean\n");
    assert_eq!(done.exit.cause, Cause::Stopped);
}

#[test]
fn an_async_bot_is_cancelled_and_unwinds() {
    let text = "
import asyncio
async def helper():
    try: await asyncio.sleep(60)
    finally: print('helper done')
async def main(bot_id, config):
    task = asyncio.create_task(helper())
    try:
        print('ready')
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0.01)
        print('main done')
async def on_stop(reason):
    await asyncio.sleep(0.01)
    print('asked', reason)
";
    let running = Rig::python(text).start();
    running.wait_for("ready");
    running.signal(Signal::SIGTERM);
    let done = running.finish();
    assert_eq!((done.exit.cause, done.exit.code), (Cause::Stopped, Some(0)), "{done:?}");
    assert_eq!(done.stdout(), "ready\nasked SIGTERM\nmain done\nhelper done\n");
}

#[test]
fn a_bot_that_ignores_its_stop_is_killed_after_its_grace() {
    let rig = Rig::native("trap '' TERM; sleep 300 & echo ready; while :; do wait; done")
        .set("stop_grace_ms", json!(400));
    let running = rig.start();
    running.wait_for("ready");
    let bot = running.bot_pid();
    let asked = Instant::now();
    running.signal(Signal::SIGTERM);
    running.signal(Signal::SIGTERM);
    let done = running.finish();
    assert!(asked.elapsed() >= Duration::from_millis(400), "the grace is honoured");
    assert_eq!((done.exit.cause, done.exit.signal, done.code), (Cause::StoppedByForce, Some(9), Some(137)));
    assert!(!is_alive(bot));
}

#[test]
fn a_stop_passes_to_the_whole_group() {
    let running = Rig::native(
        "sh -c 'trap \"echo child; exit\" TERM; echo ready; while :; do sleep 0.05; done' & wait",
    )
    .start();
    running.wait_for("ready");
    running.signal(Signal::SIGTERM);
    let done = running.finish();
    assert!(done.stdout().contains("child"), "{}", done.stdout());
    assert_eq!((done.exit.cause, done.exit.signal), (Cause::Stopped, Some(15)));
}

#[test]
fn what_a_bot_leaves_behind_ends_with_it_and_keeps_nobody_waiting() {
    // The helper keeps the pipe open and ignores the request.
    let running =
        Rig::native("sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1; done' & sleep 0.2").start();
    let done = running.finish();
    let helper: i32 = done.stdout().trim().parse().unwrap();
    assert_eq!(done.exit.cause, Cause::Completed);
    until("the helper to be gone", || (!is_alive(helper)).then_some(()));
}

#[test]
fn a_bot_that_was_killed_by_others_was_not_stopped() {
    let running = Rig::python("import time\ndef main(i, c):\n  print('ready')\n  time.sleep(60)\n").start();
    running.wait_for("ready");
    kill(Pid::from_raw(running.bot_pid()), Signal::SIGKILL).unwrap();
    let done = running.finish();
    assert_eq!((done.exit.cause, done.exit.signal, done.code), (Cause::Killed, Some(9), Some(137)));
}

#[test]
fn a_bot_that_left_its_work_to_a_thread_is_stopped_too() {
    let text = "
import threading
end = threading.Event()
def work():
    print('ready')
    end.wait()
    print('thread done')
def main(bot_id, config):
    threading.Thread(target=work).start()
def on_stop():
    end.set()
";
    let running = Rig::python(text).start();
    running.wait_for("ready");
    running.signal(Signal::SIGTERM);
    let done = running.finish();
    assert_eq!((done.exit.cause, done.exit.code), (Cause::Stopped, Some(0)), "{done:?}");
    assert_eq!(done.stdout(), "ready\nthread done\n");
    assert_eq!(done.exit.result.unwrap()["status"], "terminated");
}
