//! Scripts in `tests/scripts/*.txt`, played on the real reconciler, against their recorded outcome: what the engine does,
//! as prose. Read `01-*.txt` and its `.snap` first. Record anew with `INSTA_UPDATE=always cargo test -p the0-core`.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex},
    time::Duration,
};

use common::{Stage, job, service, settle, unit};
use jiff::SignedDuration;
use the0_core::{Clock, ExecutorError, Grant, Outcome, Scope, reconcile::Wanted};
use the0_model::{Cause, Generation, SegmentId, UnitSpec};
use tokio::time::sleep;

struct Play {
    stage: Stage,
    passes: Arc<Mutex<Vec<String>>>,
    forgotten: Option<Wanted>,
    out: String,
}

impl Play {
    fn new() -> Self {
        let mut play =
            Self { stage: Stage::new(), passes: Arc::default(), forgotten: None, out: String::new() };
        play.start();
        play
    }

    /// Starts the reconciler and writes down what its passes decide.
    fn start(&mut self) {
        let (mut status, passes) = (self.stage.start(), self.passes.clone());
        #[expect(clippy::disallowed_methods, reason = "the test owns it")]
        tokio::spawn(async move {
            while status.changed().await.is_ok() {
                let seen = status.borrow_and_update().clone();
                let mut passes = passes.lock().unwrap();
                passes.extend(
                    (!seen.plan.is_empty() && seen.plan != "nothing to do")
                        .then(|| format!("plan   {}", seen.plan)),
                );
                passes.extend(seen.held.map(|held| format!("guard  {held}")));
                passes.extend(seen.error.map(|error| format!("error  {error}")));
                passes.dedup();
            }
        });
    }

    async fn perform(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let stage = &mut self.stage;
        match words[..] {
            ["add", "bot", who] => numbers(who).for_each(|number| stage.desired.want(service(number))),
            ["add", "job", who, deadline] => {
                numbers(who).for_each(|number| stage.desired.want(job(number, duration(deadline))));
            }
            ["remove", who] => numbers(who).for_each(|number| stage.desired.forget(&unit(number))),
            ["config", who] => numbers(who).for_each(|number| {
                let spec = stage.desired.wanted(&unit(number)).expect("it is wanted").spec;
                let restarts_requested = spec.restarts_requested + 1;
                stage.desired.want(UnitSpec { restarts_requested, ..(*spec).clone() });
            }),
            ["crash", who] => {
                numbers(who).for_each(|number| assert!(stage.executor.end(&unit(number), Cause::Failed)));
            }
            ["finish", who] => {
                numbers(who).for_each(|number| assert!(stage.executor.end(&unit(number), Cause::Completed)));
            }
            ["refuse", who, ref reason @ ..] => numbers(who).for_each(|number| {
                let error = ExecutorError::Refused { reason: reason.join(" ") };
                stage.executor.fail_next_start(&unit(number), error);
            }),
            ["slow", who, takes] => {
                numbers(who).for_each(|number| stage.executor.slow_start(&unit(number), duration(takes)));
            }
            ["advance", time] => sleep(duration(time)).await,
            ["clock", "back", time] => stage.clock.step(-SignedDuration::try_from(duration(time)).unwrap()),
            ["empty"] => self.forgotten = Some(stage.desired.replace(Wanted::default())),
            ["refill"] => drop(stage.desired.replace(self.forgotten.take().expect("`empty` came before"))),
            ["store", state] => stage.desired.set_silent(state == "down"),
            ["reports", "fail", count] => stage.desired.refuse_reports(count.parse().unwrap()),
            ["executor", state] => stage.executor.set_unreachable(state == "down"),
            ["scope", who] => {
                let generation = Generation { term: 1, step: 1 };
                let grant =
                    |number: u32| Grant { segment: SegmentId(i32::try_from(number).unwrap()), generation };
                stage.scope.send_replace(Scope::Segments(numbers(who).map(grant).collect()));
            }
            ["restart"] => {
                stage.kill();
                self.start();
            }
            ["shutdown"] => stage.stop().await,
            ["show"] => return self.show(),
            _ => panic!("no such command: {line}"),
        }
        if words[0] != "advance" {
            settle().await;
        }
        for pass in std::mem::take(&mut *self.passes.lock().unwrap()) {
            writeln!(self.out, "  {pass}").unwrap();
        }
        for (unit, outcome) in self.stage.desired.take_reports() {
            writeln!(self.out, "  {unit}  {}", said(&outcome)).unwrap();
        }
    }

    fn show(&mut self) {
        writeln!(self.out, "  at {}", self.stage.clock.now()).unwrap();
        for unit in self.stage.executor.units() {
            let phase = match &unit.phase {
                the0_core::Phase::Starting => "starting".to_owned(),
                the0_core::Phase::Running => "running".to_owned(),
                the0_core::Phase::Exited(exit) => exit.to_string(),
            };
            writeln!(self.out, "  {}  {phase}, attempt {}", unit.id, unit.attempt).unwrap();
        }
    }
}

fn said(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Starting => "starting".into(),
        Outcome::Started { attempt } => format!("started, attempt {attempt}"),
        Outcome::Stopping(reason) => format!("stopping: {reason}"),
        Outcome::Stopped { reason, exit } => {
            let exit = exit.as_ref().map_or("nothing ran".to_owned(), ToString::to_string);
            format!("stopped: {reason}; {exit}")
        }
        Outcome::Finished { attempt, exit } => format!("ended, attempt {attempt}: {exit}"),
        Outcome::Refused { reason, permanent } => {
            format!("refused{}: {reason}", if *permanent { " for good" } else { "" })
        }
    }
}

/// `3`, `1..4` (both ends included) or `none`.
fn numbers(text: &str) -> impl Iterator<Item = u32> + use<> {
    let (first, last) = match text.split_once("..") {
        _ if text == "none" => (1, 0),
        Some((first, last)) => (first.parse().unwrap(), last.parse().unwrap()),
        None => (text.parse().unwrap(), text.parse().unwrap()),
    };
    first..=last
}

fn duration(text: &str) -> Duration {
    Duration::try_from(text.parse::<SignedDuration>().unwrap()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn scripts_play_as_recorded() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts");
    let mut scripts: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    for script in scripts {
        let mut play = Play::new();
        settle().await;
        for line in std::fs::read_to_string(&script).unwrap().lines() {
            match line {
                "" => play.out.push('\n'),
                comment if comment.starts_with('#') => writeln!(play.out, "{comment}").unwrap(),
                command => {
                    writeln!(play.out, "> {command}").unwrap();
                    play.perform(command).await;
                }
            }
        }
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("scripts");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        let name = script.file_stem().unwrap().to_str().unwrap();
        settings.bind(|| insta::assert_snapshot!(name, play.out));
    }
}
