//! What a unit may use.

use the0_model::{Cause, Limits, UnitSpec};

use super::{FOREVER, Subject, until};

const MIB: u64 = 1024 * 1024;
const EATER: &str = "kept = []\n    while True: kept.append(bytearray(1 << 20))";

/// A bot that uses too much memory is killed, and the end says why.
pub async fn too_much_memory_is_explained(subject: &Subject) {
    if !subject.protects("memory limit") {
        return;
    }
    let spec = subject.python("oom", &format!("def main(bot_id, config):\n    {EATER}\n"));
    let exit = subject.end(&small(spec)).await;
    assert_eq!(exit.cause, Cause::OutOfMemory, "{exit}");
    assert!(exit.peak_memory_bytes.is_some_and(|peak| peak > 32 * MIB), "{exit}");
}

/// So is one whose child does, even though the bot itself ended by itself.
pub async fn too_much_memory_of_a_child_is_explained(subject: &Subject) {
    if !subject.protects("memory limit") {
        return;
    }
    let script = format!(
        "import subprocess, sys\nEATER = '''{}'''\ndef main(bot_id, config):\n    \
         sys.exit(1 if subprocess.run([sys.executable, '-c', EATER]).returncode else 0)\n",
        EATER.replace("\n    ", "\n")
    );
    let exit = subject.end(&small(subject.python("oomchild", &script))).await;
    assert_eq!(exit.cause, Cause::OutOfMemory, "{exit}");
}

/// A fork bomb meets its own limit, and the machine does not notice.
pub async fn a_fork_bomb_is_held(subject: &Subject) {
    if !subject.protects("process limit") {
        return;
    }
    let script = "import os, time\ndef main(bot_id, config):\n    made = 0\n    try:\n        \
                  while made < 500:\n            if os.fork() == 0: time.sleep(600)\n            made += 1\n    \
                  except OSError as error: print('held at', made, error.errno)\n    print('up')\n    \
                  time.sleep(600)\n";
    let mut spec = subject.python("bomb", script);
    spec.limits = Limits { pids: 40, ..spec.limits };
    subject.up(&spec).await;
    let said = subject.printed(&spec.id, "held at").await;
    let made: u32 = said.split(' ').nth(2).unwrap().parse().unwrap();
    assert!((20..=40).contains(&made), "{said}");
    assert!(said.ends_with(" 11"), "EAGAIN: {said}");
    subject.stop(&spec.id).await;
    subject.assert_gone(&spec.id).await;
}

/// A bot that fills its `/tmp` fills its own, up to its limit.
pub async fn a_full_tmp_is_the_bots_own(subject: &Subject) {
    let script = "def main(bot_id, config):\n    written = 0\n    try:\n        \
                  with open('/tmp/fill', 'wb') as file:\n            \
                  while written < 200:\n                file.write(bytes(1 << 20)); file.flush(); written += 1\n    \
                  except OSError as error: print('full at', written, error.errno)\n";
    let mut spec = subject.python("full", script);
    spec.limits = Limits { tmp_bytes: 16 * MIB, ..spec.limits };
    subject.end(&spec).await;
    let said = subject.output(&spec.id).await.join("\n");
    assert_eq!(said, "full at 16 28", "ENOSPC at its limit");
}

/// What a unit uses can be asked.
pub async fn a_running_unit_is_measured(subject: &Subject) {
    let spec = subject.python("measured", FOREVER);
    subject.up(&spec).await;
    // Counters are folded in by the kernel now and then.
    let stats = until("it has used something", async || {
        subject.executor.stats(&spec.id).await.unwrap().filter(|stats| stats.cpu_micros > 0)
    })
    .await;
    assert!(stats.memory_bytes > MIB && stats.memory_bytes < 512 * MIB, "{stats:?}");
    assert!(stats.pids >= 2, "the agent and the bot: {stats:?}");
    subject.stop(&spec.id).await;
    assert_eq!(subject.executor.stats(&spec.id).await.unwrap(), None);
}

fn small(mut spec: UnitSpec) -> UnitSpec {
    spec.limits = Limits { memory_bytes: 64 * MIB, tmp_bytes: 8 * MIB, ..spec.limits };
    spec
}
