//! How attempts end, and what is said of it.

use std::{fs, os::unix::fs::symlink};

use serde_json::json;
use the0_agent::{AGENT_FAULT, NOT_STARTED};
use the0_model::{Cause, LogStream};

use crate::rig::{Rig, find, skip, until};

#[test]
fn exit_code_signal_and_last_words_of_a_program_are_kept() {
    let done = Rig::native("echo out; echo 'no funds' >&2; echo >&2; exit 3").run();
    assert_eq!((done.exit.cause, done.exit.code, done.code), (Cause::Failed, Some(3), Some(3)));
    assert_eq!((done.message(), done.stdout().as_str()), ("no funds", "out\n"));
    assert!(done.exit.last_lines.contains(&"out".to_owned()));
    assert!(done.exit.peak_memory_bytes.is_some());
    let done = Rig::native("kill -SEGV $$").run();
    assert_eq!((done.exit.cause, done.exit.signal, done.code), (Cause::Killed, Some(11), Some(139)));
    let done = Rig::native("true").run();
    assert_eq!((done.exit.cause, done.exit.message, done.code), (Cause::Completed, None, Some(0)));
}

#[test]
fn a_missing_entrypoint_is_named_with_what_is_there() {
    let done = Rig::python("").file("a.py", "").set("entrypoint", json!("other.py")).run();
    assert_eq!((done.exit.cause, done.code), (Cause::NotStarted, Some(NOT_STARTED)));
    assert_eq!(done.message(), "entrypoint other.py is not in the bundle (it holds: a.py, main.py)");
    assert!(done.errors.contains("other.py"), "the agent's own fatal errors go to its stderr");
}

#[test]
fn a_missing_interpreter_is_named() {
    let done = Rig::new("dotnet8", "Bot.dll", "").set("env", json!({"PATH": "/nowhere"})).run();
    assert_eq!((done.exit.cause, done.code), (Cause::NotStarted, Some(NOT_STARTED)));
    assert_eq!(done.message(), "dotnet is not installed here (looked in /nowhere)");
    let done = Rig::python("").set("interpreter", json!("/opt/none/python3")).run();
    assert!(done.message().contains("/opt/none/python3"), "{}", done.message());
}

#[test]
fn a_file_that_is_no_program_is_named() {
    let rig = Rig::native("");
    fs::write(rig.path("code/bot"), [0; 64]).unwrap();
    let done = rig.run();
    assert_eq!(done.exit.cause, Cause::NotStarted);
    assert!(done.message().contains("bot is neither a Linux program"), "{}", done.message());
}

#[test]
fn a_specification_that_cannot_be_read_is_said() {
    let done = Rig::python("").set("runtime", json!("cobol")).run();
    assert_eq!(done.exit.cause, Cause::NotStarted);
    assert!(done.message().contains("unit.json") && done.message().contains("cobol"), "{}", done.message());
}

#[test]
fn a_bot_whose_end_could_not_be_recorded_is_not_started() {
    let rig = Rig::native("touch \"$STATE_DIR\"-ran");
    let ran = rig.path("state/.the0-state-ran");
    fs::remove_dir(rig.path("attempt")).unwrap();
    assert_eq!(rig.start().code(), Some(AGENT_FAULT));
    assert!(!ran.exists());
}

#[test]
fn a_result_that_leads_elsewhere_is_not_followed() {
    let rig = Rig::native("ln -s \"$BOT_CONFIG_FILE\" \"/$CODE_MOUNT_DIR/result.json\"");
    let done = rig.run();
    assert_eq!((done.exit.cause, done.exit.result.clone()), (Cause::Completed, None));
    assert!(
        done.text(LogStream::Agent).contains("result.json is not kept"),
        "{}",
        done.text(LogStream::Agent)
    );
}

#[test]
fn a_programs_own_report_of_an_error_is_a_failure() {
    let done =
        Rig::native("echo '{\"status\":\"error\",\"message\":\"no key\"}' > /$CODE_MOUNT_DIR/result.json")
            .run();
    assert_eq!((done.exit.cause, done.exit.code), (Cause::Failed, Some(0)));
    assert_eq!(done.message(), "no key");
}

#[test]
fn the_environment_is_the_contracts_and_nothing_else() {
    let done = Rig::native("env").set("env", json!({"KEY": "k1"})).run();
    let text = done.stdout();
    for line in
        ["BOT_ID=b1", "KEY=k1", "RUN_GENERATION=3.4", "RUN_ATTEMPT=2", "RUN_RESUMED=true", "HOME=/tmp"]
    {
        assert!(text.lines().any(|shown| shown == line), "{line} in {text}");
    }
    assert!(text.contains(r#"BOT_CONFIG={"pair":"BTC/USD"}"#), "{text}");
    assert!(!text.contains("THE0_CANARY") && !text.contains("CARGO"), "{text}");
}

#[test]
fn a_configuration_too_large_for_the_environment_is_left_to_its_file_and_that_is_said() {
    let rig = Rig::native("wc -c < $BOT_CONFIG_FILE; echo \"[$BOT_CONFIG]\"");
    let done = rig.config(&json!({"text": "x".repeat(1 << 20)})).run();
    assert_eq!(done.stdout(), format!("{}\n[]\n", (1 << 20) + 11));
    assert!(done.text(LogStream::Agent).contains("BOT_CONFIG_FILE"));
}

#[test]
fn limits_reach_the_bot_and_no_privilege_does() {
    let text = r"
import resource, os
def main(bot_id, config):
    for name in ('NOFILE', 'CORE', 'FSIZE'):
        print(name, resource.getrlimit(getattr(resource, 'RLIMIT_' + name)))
    print([line.split()[1] for line in open('/proc/self/status') if line.startswith('NoNewPrivs')])
    print(os.getpgid(0) == os.getpid(), open('/proc/self/oom_score_adj').read().strip(), oct(os.umask(0)))
    print(os.read(0, 1))
    try:
        open(os.environ['STATE_DIR'] + '-big', 'wb').truncate(3 << 20)
    except OSError as error:
        print(error.strerror)
";
    let limits = json!({"open_files": 64, "file_bytes": 2 << 20, "log_bytes": 1 << 16});
    let done = Rig::python(text).set("limits", limits).run();
    let own = (64 << 10) + (4 << 20);
    let expected = format!(
        "NOFILE (64, 64)\nCORE (0, 0)\nFSIZE (2097152, {own})\n['1']\nTrue 1000 0o27\nb''\nFile too large\n"
    );
    assert_eq!(done.stdout(), expected, "{:?}", done.exit);
}

#[test]
fn another_user_runs_the_bot_where_that_is_asked_for() {
    if !nix::unistd::geteuid().is_root() {
        return skip("root", "THE0_TEST_ROOT");
    }
    let rig = Rig::native("id -u; id -g; id -G").set("run_as", json!([65534, 65534]));
    // The directory of the test is closed to others.
    fs::set_permissions(rig.path("."), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(rig.run().stdout(), "65534\n65534\n65534\n");
}

#[test]
fn the_kernels_kill_at_the_memory_limit_is_told_from_others() {
    let Some(group) = memory_group() else { return skip("a memory cgroup of our own", "THE0_TEST_CGROUP") };
    let join = |text: &str| {
        let mut rig = Rig::python(text).set("limits", json!({"memory_bytes": 48 << 20}));
        let script = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", group.display());
        rig.before = ["sh", "-c", &script, "sh"].map(Into::into).to_vec();
        rig.run()
    };
    let eat = "x = []\n  while True: x.append(bytearray(1 << 20))\n";
    let itself = join(&format!("def main(i, c):\n  {eat}"));
    let child = join(&format!(
        "import os\ndef eat():\n  {eat}\ndef main(i, c):\n  pid = os.fork()\n  if pid == 0: eat()\n  status = os.waitpid(pid, 0)[1]\n  raise RuntimeError(f'helper died: {{status}}')\n"
    ));
    let others = join("import os\ndef main(i, c): os.kill(os.getpid(), 9)\n");
    until("the group to be empty", || fs::remove_dir(&group).ok());
    assert_eq!((itself.exit.cause, itself.exit.signal), (Cause::OutOfMemory, Some(9)), "{:?}", itself.exit);
    assert_eq!(itself.message(), "it reached its memory limit of 48 MiB");
    assert!(itself.exit.peak_memory_bytes.unwrap() > 40 << 20);
    assert_eq!((child.exit.cause, child.exit.code), (Cause::OutOfMemory, Some(1)), "{:?}", child.exit);
    assert!(
        child.message().contains("child process") && child.message().contains("helper died: 9"),
        "{:?}",
        child.exit
    );
    assert_eq!((others.exit.cause, others.exit.signal), (Cause::Killed, Some(9)));
}

/// A memory cgroup below our own with a limit of 48 MiB, where the machine lets us make one.
fn memory_group() -> Option<std::path::PathBuf> {
    let membership = fs::read_to_string("/proc/self/cgroup").ok()?;
    let name = format!("the0-agent-test-{}", std::process::id());
    let limit = (48 << 20).to_string();
    for line in membership.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?.trim_start_matches('/'));
        let (root, file) = match controllers {
            "memory" => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ => continue,
        };
        let group = std::path::Path::new(root).join(path).join(&name);
        if fs::create_dir(&group).is_err() {
            continue;
        }
        if fs::write(group.join(file), &limit).is_ok() {
            // Else the bot would move to swap instead of ending.
            let _ = fs::write(group.join("memory.memsw.limit_in_bytes"), &limit);
            let _ = fs::write(group.join("memory.swap.max"), "0");
            return Some(group);
        }
        let _ = fs::remove_dir(&group);
    }
    None
}

#[test]
fn a_full_disk_keeps_neither_the_bot_from_running_nor_its_end_from_being_recorded() {
    let Some(bwrap) = find("bwrap") else { return skip("bwrap", "THE0_TEST_BWRAP") };
    // Line by line, so that the disk is filled to its last page.
    let line = "x".repeat(100);
    let mut rig = Rig::native(&format!(
        "for a in 1 2 3 4 5 6 7 8 9; do for b in $(seq 200); do echo {line}; done; done; exit 7"
    ));
    let (attempt, kept) = (rig.path("attempt"), rig.path("state/attempt"));
    let script = format!("\"$@\"; cp -r {} {}", attempt.display(), kept.display());
    let mut before: Vec<std::ffi::OsString> = vec![bwrap.into()];
    before.extend(["--dev-bind", "/", "/", "--size", "131072", "--tmpfs"].map(Into::into));
    before.push(attempt.clone().into());
    before.extend(["sh", "-c", &script, "sh"].map(Into::into));
    rig.before = before;
    // What the sandbox leaves is looked at where it was copied to.
    let running = rig.start();
    let exit = until("the recorded end", || {
        fs::read(running.path("state/attempt/exit.json")).ok().filter(|text| !text.is_empty())
    });
    let exit: the0_model::Exit = serde_json::from_slice(&exit).unwrap();
    assert_eq!((exit.cause, exit.code), (Cause::Failed, Some(7)));
}

#[test]
fn output_that_no_disk_takes_does_not_stop_the_bot() {
    let rig = Rig::native("head -c 3000000 /dev/zero | tr '\\0' 'x' | fold -w 100; echo; echo the end");
    symlink("/dev/full", rig.path("attempt/output.log")).unwrap();
    let running = rig.start();
    until("the end", || running.path("attempt/exit.json").exists().then_some(()));
    std::fs::remove_file(running.path("attempt/output.log")).unwrap();
    let done = running.finish();
    assert_eq!((done.exit.cause, done.code), (Cause::Completed, Some(0)));
    assert_eq!(done.exit.last_lines.last().unwrap(), "the end");
}

#[test]
fn a_pipe_in_place_of_its_records_does_not_hold_up_the_agent() {
    let rig = Rig::native(
        "cd \"$(dirname \"$BOT_CONFIG_FILE\")/../attempt\" && rm exit.json.tmp output.log && mkfifo exit.json.tmp output.log",
    );
    assert_eq!(rig.start().code(), Some(AGENT_FAULT));
}
