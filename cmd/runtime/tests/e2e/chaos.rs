//! The service is killed again and again while bots are deployed, changed and stopped, and bots witness what became of
//! them: none runs twice, none is lost, nothing stays behind.
//!
//! `THE0_TEST_CHAOS_ROUNDS` sets how often it is killed, `THE0_TEST_CHAOS_SEED` what happens in between; the seed of a
//! failure is in its message.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use crate::{
    files,
    rig::{Service, dev, is_here, run, runtime, soon, within},
};

/// Rounds in an ordinary run; each takes about a second.
const ROUNDS: u64 = 6;
/// The bot nobody touches.
const STEADY: &str = "steady";
/// Bots that are changed all the time.
const RESTLESS: [&str; 3] = ["a", "b", "c"];
/// Longest wait for bots to be back: what was killed while it started counts as failed, so backoff comes on top.
const BACK: Duration = Duration::from_mins(1);

/// Holds a lock as long as it lives and says so in lines: `start`, `beat`, `end`, or `twice` if another has the lock.
/// A name of its own tells its lines from others', whatever their attempts and process ids are called.
const WITNESS: &str = r#"
import fcntl, os, threading, time
stopping = threading.Event()
def main(bot_id, config):
    folder = os.environ["STATE_DIR"]
    me = os.urandom(4).hex()
    log = open(os.path.join(folder, "witness"), "a", buffering=1)
    def say(what):
        log.write(f"{what} {me} {time.clock_gettime_ns(time.CLOCK_BOOTTIME)}\n")
    try:
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        say("twice")
        return
    say("start")
    while not stopping.wait(0.01):
        say("beat")
    say("end")
def on_stop(reason):
    stopping.set()
"#;

#[test]
fn no_crash_makes_a_bot_run_twice_in_the_sandbox() {
    if is_here("sandbox") {
        chaos("sandbox");
    }
}

#[test]
fn no_crash_makes_a_bot_run_twice_in_docker() {
    if is_here("docker") {
        chaos("docker");
    }
}

fn chaos(executor: &'static str) {
    let seed = number("THE0_TEST_CHAOS_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    eprintln!("chaos on {executor} with THE0_TEST_CHAOS_SEED={seed}");
    let mut dice = Dice(seed);
    let bots = Bots::write(executor, seed);
    let mut service = Service::start(executor);
    for bot in bots.all() {
        service.run(&["bots", "deploy", bots.source(&bot), "--id", &bot, "--wait"]);
    }
    let steady = bots.id(STEADY);
    let pid = service.status(&steady)["pid"].clone();
    for _ in 0..number("THE0_TEST_CHAOS_ROUNDS").unwrap_or(ROUNDS) {
        change_until_killed(&mut service, &bots, &mut dice);
        if dice.below(3) == 0 {
            crash_at_start(&service.dir, executor, dice.below(150));
        }
        service = service.again();
        assert_eq!(service.running_after(&steady, 0)["pid"], pid, "seed {seed}: nobody touched it");
    }

    // Everything that should run does, within its backoff.
    for bot in bots.all() {
        service.run(&["bots", "start", &bot]);
        let witness = witness(&service.dir, &bot);
        within(BACK, &format!("{bot} is back (seed {seed})\n{}", service.log()), || {
            let before = beats(&witness);
            thread::sleep(Duration::from_millis(50));
            (service.status(&bot)["phase"] == "running" && beats(&witness) > before).then_some(())
        });
    }
    for bot in bots.all() {
        let lives = lives(&fs::read_to_string(witness(&service.dir, &bot)).unwrap())
            .unwrap_or_else(|line| panic!("seed {seed}: {bot} ran twice at {line}"));
        assert!(bot != steady || lives == 1, "seed {seed}: nobody touched it, and it had {lives} lives");
        service.run(&["bots", "rm", "--yes", &bot]);
    }
    let left = soon("what bots left is gone", || {
        let left = leftovers(&service.dir, &bots.prefix, executor);
        (left.is_empty() || service.json(&["status"])["units_running"] == 0).then_some(left)
    });
    assert!(left.is_empty(), "seed {seed}: left behind: {left:#?}");
}

/// Changes bots from two sides at once, until the service is killed in the middle of it.
fn change_until_killed(service: &mut Service, bots: &Bots, dice: &mut Dice) {
    let killed = AtomicBool::new(false);
    let url = service.url.clone();
    thread::scope(|scope| {
        for mut dice in [dice.split(), dice.split()] {
            let (killed, url) = (&killed, &url);
            scope.spawn(move || {
                while !killed.load(Relaxed) {
                    let change = bots.some_change(&mut dice);
                    let change: Vec<&str> = change.iter().map(String::as_str).collect();
                    // What comes of it is not the point: many of them are cut off, or meet what the other one did.
                    run(runtime(&change).env("THE0_SERVER", url));
                }
            });
        }
        thread::sleep(Duration::from_millis(50 + dice.below(700)));
        service.kill();
        killed.store(true, Relaxed);
    });
}

/// Starts the service and kills it before it has found its feet.
fn crash_at_start(dir: &Path, executor: &str, after_ms: u64) {
    let mut command = dev(dir, &["--listen", "127.0.0.1:0", "--executor", executor]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    thread::sleep(Duration::from_millis(after_ms));
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Sources of the bots, under names no other test uses.
struct Bots {
    /// Removed with this.
    _dir: tempfile::TempDir,
    prefix: String,
    sources: Vec<(String, PathBuf)>,
}

impl Bots {
    fn write(executor: &str, seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let prefix = format!("chaos-{executor}-{}-{seed}", std::process::id());
        let write = |name: &str| {
            let more = "stop_grace_ms: 1000\n";
            (format!("{prefix}-{name}"), files::bot(dir.path(), name, WITNESS, more))
        };
        let sources = [STEADY].into_iter().chain(RESTLESS).map(write).collect();
        Self { _dir: dir, prefix, sources }
    }

    fn id(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    fn all(&self) -> Vec<String> {
        self.sources.iter().map(|(id, _)| id.clone()).collect()
    }

    fn source(&self, id: &str) -> &str {
        self.sources.iter().find(|(known, _)| known == id).and_then(|(_, dir)| dir.to_str()).unwrap()
    }

    /// A command that changes one of the restless bots.
    fn some_change(&self, dice: &mut Dice) -> Vec<String> {
        let bot = self.id(RESTLESS[usize::try_from(dice.below(3)).unwrap()]);
        let step = format!("step={}", dice.below(1_000_000));
        let words: Vec<&str> = match dice.below(10) {
            0..=3 => vec!["bots", "config", "set", &bot, &step],
            4..=5 => vec!["bots", "deploy", self.source(&bot), "--id", &bot, "--set", &step],
            6 => vec!["bots", "stop", &bot],
            7 => vec!["bots", "restart", &bot],
            _ => vec!["bots", "start", &bot],
        };
        words.into_iter().map(str::to_owned).collect()
    }
}

/// The file a bot writes its lines to.
fn witness(data: &Path, bot: &str) -> PathBuf {
    data.join(format!("units/bot-{bot}/state/.the0-state/witness"))
}

fn beats(witness: &Path) -> usize {
    fs::read_to_string(witness).unwrap_or_default().lines().count()
}

/// How many processes wrote the lines, one after the other. `Err` with the line at which there were two.
fn lives(lines: &str) -> Result<usize, String> {
    let (mut over, mut now) = (BTreeSet::new(), None);
    for line in lines.lines() {
        let (what, who) = line
            .split_once(' ')
            .and_then(|(what, rest)| Some((what, rest.split_once(' ')?.0)))
            .ok_or_else(|| line.to_owned())?;
        if what == "start" {
            over.extend(now.replace(who));
        }
        if what == "twice" || over.contains(who) || now != Some(who) {
            return Err(line.to_owned());
        }
    }
    Ok(over.len() + usize::from(now.is_some()))
}

/// Whatever still speaks of these bots: folders, processes, control groups, containers.
fn leftovers(data: &Path, prefix: &str, executor: &str) -> Vec<String> {
    let mut found = Vec::new();
    let folders = fs::read_dir(data.join("units")).into_iter().flatten().flatten().map(|entry| entry.path());
    found.extend(
        folders.filter(|path| path.to_string_lossy().contains(prefix)).map(|path| path.display().to_string()),
    );
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(&format!("units/bot-{prefix}")) {
            found.push(format!("process {}: {line}", process.file_name().display()));
        }
    }
    let groups =
        Command::new("find").args(["/sys/fs/cgroup", "-type", "d", "-name", &format!("*{prefix}*")]).output();
    found.extend(String::from_utf8_lossy(&groups.unwrap().stdout).lines().map(str::to_owned));
    if executor == "docker" {
        let filter = format!("name={prefix}");
        let listed =
            Command::new("docker").args(["ps", "--all", "--quiet", "--filter", &filter]).output().unwrap();
        found.extend(String::from_utf8_lossy(&listed.stdout).lines().map(|id| format!("container {id}")));
    }
    found
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Chance that can be had again.
struct Dice(u64);

impl Dice {
    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn split(&mut self) -> Self {
        Self(self.next())
    }
}

#[test]
fn two_lives_at_once_are_noticed() {
    assert_eq!(lives("start a 1\nbeat a 2\nstart b 3\nend b 4\n"), Ok(2));
    assert_eq!(lives("start a 1\nstart b 2\nbeat a 3\n"), Err("beat a 3".into()));
    assert_eq!(lives("start a 1\ntwice b 2\n"), Err("twice b 2".into()));
    assert_eq!(lives("beat a 1\n"), Err("beat a 1".into()));
}
