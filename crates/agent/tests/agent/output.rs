//! What bots print, and how it is kept.

use std::{fs, time::Duration};

use serde_json::json;
use the0_model::{Cause, LogStream};

use crate::rig::{Rig, until};

#[test]
fn both_streams_are_kept_line_by_line_with_their_times() {
    let done = Rig::native("echo one; echo two >&2; echo three").run();
    assert_eq!(done.stdout(), "one\nthree\n");
    assert_eq!(done.text(LogStream::Stderr), "two\n");
    assert!(done.log.iter().all(|line| !line.partial && line.at <= done.exit.at));
}

#[test]
fn a_prompt_without_its_newline_is_seen() {
    let running = Rig::native("printf 'name? '; sleep 0.5; echo Ada; printf 'end'").start();
    let prompt = running.wait_for("name? ");
    assert!(prompt.partial);
    let done = running.finish();
    assert_eq!(done.stdout(), "name? Ada\nend\n");
}

#[test]
fn lines_are_seen_soon_after_they_are_printed() {
    let text =
        "import time\ndef main(i, c):\n  for n in range(20):\n    print(time.time())\n    time.sleep(0.01)\n";
    let done = Rig::python(text).run();
    let mut delays: Vec<f64> = done
        .log
        .iter()
        .map(|line| {
            let printed: f64 = std::str::from_utf8(&line.text).unwrap().parse().unwrap();
            Duration::from_nanos(line.at.as_nanosecond().try_into().unwrap()).as_secs_f64() - printed
        })
        .collect();
    delays.sort_by(f64::total_cmp);
    assert_eq!(delays.len(), 20);
    assert!(delays[10] < 0.005, "median {} s", delays[10]);
}

#[test]
fn bytes_that_are_no_text_are_kept_as_they_are() {
    let text = "import sys\ndef main(i, c):\n  sys.stdout.buffer.write(bytes(range(256)) + b'\\n')\n  sys.stdout.flush()\n";
    let done = Rig::python(text).run();
    let all: Vec<u8> = (0..=255).collect();
    let mut lines = all.split(|byte| *byte == b'\n');
    assert_eq!(done.log[0].text, lines.next().unwrap());
    assert_eq!(done.log[1].text, lines.next().unwrap());
}

#[test]
fn a_line_without_end_comes_in_pieces() {
    let done = Rig::native("head -c 100000 /dev/zero | tr '\\0' 'x'; echo; echo next").run();
    let longest = done.log.iter().map(|line| line.text.len()).max().unwrap();
    assert_eq!(longest, the0_model::log::LOG_PIECE_BYTES_MAX);
    assert_eq!(done.stdout(), format!("{}\nnext\n", "x".repeat(100_000)));
    assert_eq!(done.exit.last_lines, ["x".repeat(500), "next".to_owned()]);
}

#[test]
fn a_hundred_megabytes_neither_fill_the_disk_nor_the_memory() {
    let script = "head -c 100000000 /dev/zero | tr '\\0' 'x' | fold -w 1000; echo; echo the end; read x < $STATE_DIR-go";
    let rig = Rig::native(script).set("limits", json!({"log_bytes": 4 << 20}));
    nix::unistd::mkfifo(&rig.path("state/.the0-state-go"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let running = rig.start();
    running.wait_for("the end");
    let status = fs::read_to_string(format!("/proc/{}/status", running.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kib < 24 * 1024, "the agent took {kib} KiB");
    fs::write(running.path("state/.the0-state-go"), "go\n").unwrap();
    let sizes = ["attempt/output.log", "attempt/output.1.log"].map(|name| running.path(name));
    until("the end", || running.path("attempt/exit.json").exists().then_some(()));
    let total: u64 = sizes.iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(total <= 4 << 20, "{total}");
    let done = running.finish();
    assert_eq!(done.exit.cause, Cause::Completed, "{:?}", done.exit);
    assert!(done.text(LogStream::Agent).contains("bytes of older output were dropped"));
}
