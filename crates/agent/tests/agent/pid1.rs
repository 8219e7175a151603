//! The agent as PID 1 of a process namespace, as in every unit.

use serde_json::json;
use the0_model::{Cause, LogStream};

use crate::rig::{Rig, find, skip};

/// Runs as PID 1; `None` where the machine has no bubblewrap.
fn alone(mut rig: Rig) -> Option<Rig> {
    let Some(bwrap) = find("bwrap") else {
        skip("bwrap", "THE0_TEST_BWRAP");
        return None;
    };
    let words =
        ["--unshare-pid", "--as-pid-1", "--die-with-parent", "--dev-bind", "/", "/", "--proc", "/proc"];
    rig.before = std::iter::once(bwrap.into()).chain(words.map(Into::into)).collect();
    Some(rig)
}

#[test]
fn every_zombie_is_reaped_and_none_is_taken_for_the_bot() {
    let text = "
import os, time
def state(pid):
    try: return open(f'/proc/{pid}/stat').read().rsplit(')')[1].split()[0]
    except OSError: return 'gone'
def main(bot_id, config):
    for _ in range(50):
        if os.fork() == 0:
            if os.fork() == 0: os._exit(7)
            os._exit(0)
        os.wait()
    end = time.time() + 10
    zombies = None
    while time.time() < end and zombies != 0:
        zombies = sum(state(pid) == 'Z' for pid in os.listdir('/proc') if pid.isdigit())
    print('parent', os.getppid(), 'zombies', zombies)
";
    let Some(rig) = alone(Rig::python(text)) else { return };
    let done = rig.run();
    assert_eq!((done.exit.cause, done.exit.code), (Cause::Completed, Some(0)), "{:?}", done.exit);
    assert_eq!(done.stdout(), "parent 1 zombies 0\n");
}

#[test]
fn nothing_inside_can_end_or_trace_the_agent() {
    let text = "
import os, ctypes
def main(bot_id, config):
    for signal in (9, 19, 1, 3, 10):
        try: os.kill(1, signal)
        except OSError as error: print(error.strerror)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long] * 4
    try: open('/proc/1/environ').read()
    except OSError as error: print(error.strerror)
    print('attach', libc.ptrace(16, 1, 0, 0))
";
    let Some(mut rig) = alone(Rig::python(text)) else { return };
    // As the same user as the agent, who is not root: the weakest of the arrangements it is used in.
    rig.before.extend(["--unshare-user", "--uid", "65534", "--gid", "65534"].map(Into::into));
    let done = rig.run();
    assert_eq!(done.exit.cause, Cause::Completed, "{:?}", done.exit);
    assert_eq!(done.stdout(), "Permission denied\nattach -1\n");
}

#[test]
fn a_daemon_that_left_its_group_ends_with_the_bot() {
    let text = "
import os, signal, time
def main(bot_id, config):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            print('daemon runs')
            while True: time.sleep(60)
        os._exit(0)
    os.wait()
    time.sleep(0.2)
";
    let Some(rig) = alone(Rig::python(text)) else { return };
    let done = rig.run();
    assert_eq!(
        (done.exit.cause, done.stdout().as_str()),
        (Cause::Completed, "daemon runs\n"),
        "{:?}",
        done.exit
    );
    let said = done.text(LogStream::Agent);
    assert!(!said.contains("could not be ended"), "{said}");
}

#[test]
fn a_fork_bomb_is_cleared_away_by_force() {
    // Each lives in a session of its own, so that no signal to the bot's group reaches it.
    let script = "trap '' TERM; for n in $(seq 60); do setsid sleep 300 & done; echo ready; wait";
    let Some(rig) = alone(Rig::native(script).set("stop_grace_ms", json!(300))) else { return };
    let running = rig.start();
    running.wait_for("ready");
    running.stop_inside();
    let done = running.finish();
    assert_eq!(done.exit.cause, Cause::StoppedByForce, "{:?}", done.exit);
    let said = done.text(LogStream::Agent);
    assert!(!said.contains("could not be ended"), "{said}");
}

#[test]
fn an_agent_that_is_root_in_name_alone_starts_and_stops_a_bot_of_another_user() {
    if !nix::unistd::geteuid().is_root() {
        return skip("root", "THE0_TEST_ROOT");
    }
    let text = "
import os, time
def main(bot_id, config):
    try: os.kill(1, 15)
    except OSError as error: print(error.strerror)
    with open('/' + os.environ['CODE_MOUNT_DIR'] + '/result.json', 'w') as file: file.write('{\"mine\": 1}')
    print('ready', os.getuid(), open('/proc/self/oom_score_adj').read().strip())
    time.sleep(60)
";
    let Some(mut rig) = alone(Rig::python(text)) else { return };
    let caps =
        ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_KILL"];
    rig.before.extend(caps.map(Into::into));
    let rig = rig.set("run_as", json!([65534, 65534]));
    for (name, mode) in [(".", 0o755), ("out", 0o750), ("in/config.json", 0o440)] {
        std::fs::set_permissions(rig.path(name), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    }
    std::os::unix::fs::chown(rig.path("out"), Some(65534), Some(65534)).unwrap();
    std::os::unix::fs::chown(rig.path("in/config.json"), Some(0), Some(65534)).unwrap();
    let running = rig.start();
    running.wait_for("ready 65534 1000");
    running.stop_inside();
    let done = running.finish();
    assert_eq!((done.exit.cause, done.exit.code), (Cause::Stopped, Some(0)), "{:?}", done.exit);
    assert_eq!(done.exit.result, Some(json!({"mine": 1})));
    assert_eq!(done.exit.last_lines[0], "Operation not permitted");
}
