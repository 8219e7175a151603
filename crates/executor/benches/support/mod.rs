//! What the benchmarks of starts share: their options, a row of the result, and whether the machine is quiet enough.

use std::{
    fs,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

/// Most of the processor that others may use while we do nothing, in percent.
const OTHERS_MAX: u64 = 25;
/// Watched at a time, to see what others use.
const LOOK: Duration = Duration::from_secs(1);
/// Longest wait for a quiet machine.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often a measurement in which it became noisy is repeated.
const TRIES: usize = 3;

/// Measures and judges.
#[derive(Debug)]
pub(crate) struct Judge {
    check: bool,
    rounds: usize,
    missed: bool,
    noisy: bool,
}

impl Judge {
    /// Reads the command line: `--rounds N`, `--quick` for fewer, `--check` to fail on a miss.
    pub(crate) fn from_args(rounds: usize) -> Self {
        let args: Vec<String> = std::env::args().collect();
        let has = |name: &str| args.iter().any(|arg| arg == name);
        let given =
            args.iter().position(|arg| arg == "--rounds").and_then(|at| args.get(at + 1)?.parse().ok());
        let rounds = given.unwrap_or(if has("--quick") { rounds.div_ceil(3) } else { rounds });
        Self { check: has("--check"), rounds, missed: false, noisy: false }
    }

    /// How often each side is measured.
    pub(crate) fn rounds(&self) -> usize {
        self.rounds
    }

    /// Measures on a quiet machine: waits for one, and measures again if it was not quiet afterwards. The result of the
    /// last try counts, but is not judged if no try was quiet.
    pub(crate) async fn quietly<T>(&mut self, mut measure: impl AsyncFnMut() -> T) -> T {
        for _ in 1..TRIES {
            let quiet = wait_for_quiet();
            let measured = measure().await;
            if quiet && others() <= OTHERS_MAX {
                self.noisy = false;
                return measured;
            }
        }
        let quiet = wait_for_quiet();
        let measured = measure().await;
        self.noisy = !(quiet && others() <= OTHERS_MAX);
        measured
    }

    /// Prints what was measured last, and holds the ratio to its target if there is one.
    pub(crate) fn row(&mut self, name: &str, ours: Duration, base: Duration, target: Option<f64>) {
        let ratio = ours.as_secs_f64() / base.as_secs_f64();
        let verdict = match target {
            None => "-",
            Some(_) if self.noisy => "not judged: others use more than a quarter of the CPU",
            Some(target) if ratio <= target => "ok",
            Some(_) => {
                self.missed = true;
                "MISSED"
            }
        };
        let target = target.map_or(String::from("-"), |target| format!("<= {target} x"));
        println!(
            "| {name:<44} | {:>8.1} ms | {:>8.1} ms | {ratio:>6.3} x | {target:>9} | {verdict}",
            ms(ours),
            ms(base)
        );
    }

    /// 0; with `--check` 1 after a miss and 2 if something could not be judged.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match (self.check, self.missed, self.noisy) {
            (true, true, _) => ExitCode::FAILURE,
            (true, false, true) => ExitCode::from(2),
            (true, false, false) | (false, _, _) => ExitCode::SUCCESS,
        }
    }
}

/// The middle one.
pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn wait_for_quiet() -> bool {
    let end = Instant::now() + PATIENCE;
    loop {
        if others() <= OTHERS_MAX {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
    }
}

/// How much of the processor is in use while this process does nothing, in percent.
fn others() -> u64 {
    let before = ticks();
    thread::sleep(LOOK);
    let after = ticks();
    let (all, idle) = (after.0.saturating_sub(before.0), after.1.saturating_sub(before.1));
    100 * all.saturating_sub(idle) / all.max(1)
}

/// All and idle ticks of all processors since boot.
fn ticks() -> (u64, u64) {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().next().unwrap_or_default();
    // user nice system idle iowait irq softirq steal; guests are part of user.
    let fields: Vec<u64> = line.split_ascii_whitespace().skip(1).take(8).flat_map(str::parse).collect();
    (fields.iter().sum(), fields.iter().skip(3).take(2).sum())
}
