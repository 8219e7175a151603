//! How long a bot takes to print in a sandbox, against `bwrap --unshare-all python3` taking turns in one run: both from
//! the request to the first byte that comes out of Python's pipe.
//!
//! `cargo build --release -p the0-runtime && cargo bench -p the0-executor --bench sandbox_start [-- --check]`

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing better to do than to say so")]

mod support;

use std::{
    ffi::OsString,
    fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::StreamExt;
use jiff::Timestamp;
use the0_agent::wrappers;
use the0_core::{
    Clock, Executor, SystemClock, Tasks,
    executor::{AttemptRef, LogQuery},
};
use the0_executor::{
    Provision, RunAs, UnitsDir,
    contract::{Folders, bundle, owner},
    sandbox::{SandboxConfig, SandboxExecutor},
};
use the0_model::{BotId, CodeRef, Limits, Network, Runtime, Secret, UnitId, UnitKind, UnitSpec};

use support::{Judge, median};

const BWRAP: &str = "/usr/bin/bwrap";
const PYTHON: &str = "/usr/bin/python3";
const TARGET: f64 = 1.5;

#[tokio::main]
async fn main() -> ExitCode {
    let mut judge = Judge::from_args(41);
    let bench = match Bench::new().await {
        Ok(bench) => bench,
        Err(reason) => {
            println!("skipped: {reason}");
            return ExitCode::SUCCESS;
        }
    };
    let rounds = judge.rounds();
    let taken = judge.quietly(async || bench.compare(rounds).await).await;
    let plain = median(taken.plain);
    judge.row("sandbox: first byte of a bot | bwrap python3", median(taken.first_byte), plain, Some(TARGET));
    judge.row("  its start has returned", median(taken.started), plain, None);
    judge.row("  a follower has its first line", median(taken.followed), plain, None);
    judge.exit_code()
}

#[derive(Default)]
struct Taken {
    plain: Vec<Duration>,
    first_byte: Vec<Duration>,
    started: Vec<Duration>,
    followed: Vec<Duration>,
}

struct Bench {
    folder: tempfile::TempDir,
    executor: SandboxExecutor,
    tasks: Tasks,
}

impl Bench {
    async fn new() -> Result<Self, String> {
        let folder = tempfile::Builder::new().prefix("the0-bench-").tempdir().unwrap();
        // Users of bots must get in.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let (tools, code) = (folder.path().join("tools"), folder.path().join("code"));
        fs::create_dir(&tools).unwrap();
        fs::copy(binary()?, tools.join("runtime")).unwrap();
        for wrapper in wrappers::ALL {
            fs::write(tools.join(wrapper.file), wrapper.text).unwrap();
        }
        bundle(&code, "bot", "main.py", "def main(bot_id, config):\n    print('up')\n");
        let units = UnitsDir::new(folder.path().join("units"));
        let tasks = Tasks::new();
        let config = SandboxConfig {
            provision: Provision::new(units, Arc::new(Folders(code)), tools, RunAs::for_service()),
            bwrap: BWRAP.into(),
            search_path: OsString::from("/usr/bin:/bin"),
            data_hash: "be9c0000".into(),
            leased: false,
            clock: Arc::new(SystemClock),
            tasks: tasks.clone(),
        };
        let executor = SandboxExecutor::new(config).await.map_err(|error| error.to_string())?;
        Ok(Self { folder, executor, tasks })
    }

    async fn compare(&self, rounds: usize) -> Taken {
        let mut taken = Taken::default();
        // The first of each is a warm-up; who goes first changes every round.
        for round in 0..=rounds {
            let mut this = Taken::default();
            for side in [round % 2, (round + 1) % 2] {
                if side == 0 {
                    self.ours(round, &mut this).await;
                } else {
                    this.plain.push(plain());
                }
            }
            if round > 0 {
                taken.plain.append(&mut this.plain);
                taken.first_byte.append(&mut this.first_byte);
                taken.started.append(&mut this.started);
                taken.followed.append(&mut this.followed);
            }
        }
        taken
    }

    async fn ours(&self, round: usize, taken: &mut Taken) {
        let spec = spec(round);
        let (begun, begun_at) = (Instant::now(), SystemClock.now());
        self.executor.start(&spec, &owner()).await.unwrap();
        taken.started.push(begun.elapsed());
        let query = LogQuery { attempt: AttemptRef::Latest, tail: None, follow: true };
        let mut lines = self.executor.logs(&spec.id, query).await.unwrap();
        let first = lines.next().await.unwrap().unwrap().line;
        taken.followed.push(begun.elapsed());
        assert_eq!(&first.text[..], b"up");
        // The agent notes the time when the byte comes out of the pipe, as we do for the other side.
        taken.first_byte.push(since(begun_at, first.at));
        drop(lines);
        self.executor.stop(&spec.id, Duration::from_secs(5)).await.unwrap();
        self.executor.purge(&spec.id).await.unwrap();
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.tasks.cancelled().cancel();
        let _ = fs::remove_dir_all(self.folder.path());
    }
}

/// From the request to the first byte.
fn plain() -> Duration {
    let begun = Instant::now();
    let mut bwrap = Command::new(BWRAP)
        .args([
            "--unshare-all",
            "--ro-bind",
            "/",
            "/",
            "--proc",
            "/proc",
            "--dev",
            "/dev",
            PYTHON,
            "-c",
            "print('up')",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = bwrap.stdout.take().unwrap();
    out.read_exact(&mut [0]).unwrap();
    let took = begun.elapsed();
    assert!(bwrap.wait().unwrap().success());
    took
}

fn since(start: Timestamp, end: Timestamp) -> Duration {
    end.duration_since(start).unsigned_abs()
}

/// What is mounted into units: the release build of the whole binary, beside this benchmark.
fn binary() -> Result<PathBuf, String> {
    let here = std::env::current_exe().unwrap();
    let built = here.ancestors().nth(2).unwrap_or(Path::new("/")).join("runtime");
    if built.is_file() {
        Ok(built)
    } else {
        Err(format!("{} is missing; run `cargo build --release -p the0-runtime`", built.display()))
    }
}

fn spec(round: usize) -> UnitSpec {
    UnitSpec {
        id: UnitId::bot(&BotId::new(format!("b{round}")).unwrap()),
        kind: UnitKind::Service,
        runtime: Runtime::Python311,
        entrypoint: "main.py".into(),
        code: CodeRef { location: "bot".into(), version: "1.0.0".into(), digest: None },
        config: Secret::new(serde_json::json!({})),
        env: [].into(),
        limits: Limits { cpu_millis: 2000, ..Limits::default() },
        network: Network::None,
        image: None,
        stop_grace_ms: 1_000,
        restarts_requested: 0,
    }
}
