//! Pure: says in words why a bot is in the state it is in, what happens next, and what can be done.

use jiff::{SignedDuration, Timestamp};
use the0_core::{Phase, UnitStatus, executor::Description};
use the0_model::{
    Bot, BotPhase, BotStatus, Exit, Limits,
    exit::{Cause, signal_name},
};

/// All there is to know about a bot at one moment.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The bot.
    pub bot: &'a Bot,
    /// Its status, as shown.
    pub status: &'a BotStatus,
    /// Its unit as the executor sees it, or why the executor could not be asked.
    pub unit: Result<Option<&'a UnitStatus>, String>,
    /// The executor.
    pub executor: &'a Description,
    /// Now.
    pub now: Timestamp,
}

/// The answer to "why?".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// One sentence.
    pub summary: String,
    /// More sentences, in reading order.
    pub details: Vec<String>,
    /// What an operator can do about it.
    pub advice: Vec<String>,
    /// The status it is about.
    pub status: BotStatus,
}

/// Explains.
pub fn explain(facts: &Facts<'_>) -> Explanation {
    let mut details = Vec::new();
    let mut advice = Vec::new();
    match &facts.unit {
        Err(error) => details.push(format!("{} could not be asked: {error}", facts.executor.kind)),
        Ok(unit) => details.extend(observed(facts, *unit)),
    }
    if let Some(exit) = &facts.status.last_exit {
        details.push(format!(
            "Its last attempt ended {}: {}.",
            when(exit.at, facts.now),
            ended(exit, facts.bot)
        ));
        details.extend(last_lines(exit));
    }
    details.extend(next(facts));
    if facts.status.restarts > 0 {
        details.push(format!("It was restarted {} so far.", times(facts.status.restarts)));
    }
    advise(facts, &mut advice);
    Explanation { summary: summary(facts), details, advice, status: facts.status.clone() }
}

fn summary(facts: &Facts<'_>) -> String {
    let (id, status) = (&facts.bot.id, facts.status);
    match status.phase {
        BotPhase::Running => match status.started_at {
            Some(started) => {
                format!("{id} is running, for {} (attempt {}).", span(started, facts.now), status.attempt)
            }
            None => format!("{id} is running (attempt {}).", status.attempt),
        },
        BotPhase::BackingOff => {
            let ended =
                status.last_exit.as_ref().map_or("it failed".to_owned(), |exit| ended(exit, facts.bot));
            format!("{id} is not running: {ended}; it waits before it is tried again.")
        }
        BotPhase::Refused => format!("{id} cannot be started: {}.", unended(&status.reason)),
        BotPhase::Stopped if facts.bot.is_enabled() => {
            format!("{id} is stopped: {}.", unended(&status.reason))
        }
        BotPhase::Stopped => format!("{id} is stopped because it is disabled."),
        BotPhase::Pending | BotPhase::Starting | BotPhase::Stopping => {
            format!("{id} is {}: {}.", status.phase, unended(&status.reason))
        }
    }
}

/// What the executor sees, where that differs from what was reported.
fn observed(facts: &Facts<'_>, unit: Option<&UnitStatus>) -> Option<String> {
    let kind = facts.executor.kind;
    let text = match (unit.map(|unit| &unit.phase), facts.status.phase) {
        (Some(Phase::Running), BotPhase::Running) => {
            let pid = unit.and_then(|unit| unit.pid)?;
            format!("The {kind} executor sees it running, process {pid}.")
        }
        (Some(Phase::Running), _) => {
            format!("The {kind} executor sees it running; the next pass will note that.")
        }
        (Some(Phase::Starting), _) => format!("The {kind} executor is creating it."),
        (Some(Phase::Exited(exit)), _) if facts.status.last_exit.as_ref() != Some(exit) => {
            format!("The {kind} executor sees that it ended ({exit}); the next pass will note that.")
        }
        (None, BotPhase::Running) => {
            format!("The {kind} executor does not see it; the next pass will start it.")
        }
        (Some(Phase::Exited(_)) | None, _) => return None,
    };
    Some(text)
}

/// How an attempt ended, as part of a sentence.
fn ended(exit: &Exit, bot: &Bot) -> String {
    let limits = bot.runtime.limits.clone().unwrap_or_default();
    let after = seconds(exit.ran_ms);
    let mut text = match exit.cause {
        Cause::OutOfMemory => out_of_memory(exit, &limits, &after),
        Cause::Killed => {
            let signal = exit.signal.map_or("a signal".to_owned(), signal_name);
            format!(
                "it was killed by {signal} after {after}, which neither its memory limit nor the runtime sent"
            )
        }
        Cause::Failed => match exit.code {
            Some(code) => format!("it failed with exit code {code} after {after}"),
            None => format!("it failed after {after}"),
        },
        Cause::Completed => format!("it returned normally after {after}"),
        Cause::Stopped => format!("it ended after {after} because it was asked to stop"),
        Cause::StoppedByForce => {
            format!("it was asked to stop after {after}, did not within its grace, and was killed")
        }
        Cause::Fenced => {
            format!("its worker's lease ran out after {after}, so it was ended before another starts it")
        }
        Cause::NotStarted => "its program could not be started".to_owned(),
        Cause::Lost => format!(
            "its supervisor vanished without a word after {after}: killed from outside, or the machine restarted"
        ),
    };
    if let Some(message) = &exit.message {
        text.push_str(": ");
        text.push_str(unended(message.trim()));
    }
    text
}

fn out_of_memory(exit: &Exit, limits: &Limits, after: &str) -> String {
    let limit = mebibytes(limits.memory_bytes);
    let peak = exit.peak_memory_bytes.map_or(String::new(), |peak| format!(", peak {}", mebibytes(peak)));
    format!("the kernel killed it (or a child of it) at its memory limit of {limit}{peak}, after {after}")
}

fn last_lines(exit: &Exit) -> Option<String> {
    if exit.last_lines.is_empty() {
        return None;
    }
    let shown: Vec<&str> = exit.last_lines.iter().rev().take(5).rev().map(String::as_str).collect();
    Some(format!("Its last lines were:\n  {}", shown.join("\n  ")))
}

/// What happens next, if anything does by itself.
fn next(facts: &Facts<'_>) -> Option<String> {
    let status = facts.status;
    let failures = match status.failures {
        0 => String::new(),
        1 => " (after 1 failure; the wait doubles with each, up to 5 minutes)".to_owned(),
        n => format!(" (after {n} failures in a row; the wait doubles with each, up to 5 minutes)"),
    };
    match (status.phase, status.not_before) {
        (BotPhase::BackingOff | BotPhase::Refused | BotPhase::Pending, Some(at)) if at > facts.now => {
            Some(format!("Its next attempt is at {at:.0}, {}{failures}.", when(at, facts.now)))
        }
        (BotPhase::BackingOff | BotPhase::Pending, _) | (BotPhase::Refused, Some(_)) => {
            Some(format!("It is tried again now{failures}."))
        }
        (BotPhase::Refused, None) => Some("It is tried again when it is changed.".to_owned()),
        (BotPhase::Starting | BotPhase::Running | BotPhase::Stopping | BotPhase::Stopped, _) => None,
    }
}

fn advise(facts: &Facts<'_>, advice: &mut Vec<String>) {
    let (id, status) = (&facts.bot.id, facts.status);
    if !facts.bot.is_enabled() {
        advice.push(format!("Start it with `runtime bots start {id}`."));
        return;
    }
    match status.phase {
        BotPhase::Refused => {
            advice.push(format!(
                "Correct what is named above and deploy it again, or restart it: `runtime bots restart {id}`."
            ));
        }
        BotPhase::BackingOff | BotPhase::Pending | BotPhase::Starting | BotPhase::Running => {
            if let Some(exit) = &status.last_exit {
                advise_on_exit(facts, exit, advice);
            }
            if status.phase == BotPhase::BackingOff {
                advice.push(format!("Try it without waiting: `runtime bots restart {id}`."));
                advice.push(format!("Switch it off: `runtime bots stop {id}`."));
            }
        }
        BotPhase::Stopping | BotPhase::Stopped => {}
    }
}

fn advise_on_exit(facts: &Facts<'_>, exit: &Exit, advice: &mut Vec<String>) {
    let id = &facts.bot.id;
    let text = match exit.cause {
        Cause::OutOfMemory => {
            "Give it more memory (limits.memory_bytes), or find what it collects without end.".to_owned()
        }
        Cause::Failed | Cause::NotStarted => {
            format!("Read all it wrote: `runtime bots logs {id} --previous`.")
        }
        Cause::Killed => "Find out who sent the signal: nothing of this runtime did.".to_owned(),
        Cause::StoppedByForce => {
            "Let it end on SIGTERM, or give it a longer stop grace (stop_grace_ms).".to_owned()
        }
        Cause::Completed => {
            "A live bot runs until it is stopped; let it loop, or schedule it instead.".to_owned()
        }
        Cause::Stopped | Cause::Fenced | Cause::Lost => return,
    };
    advice.push(text);
}

fn when(at: Timestamp, now: Timestamp) -> String {
    let distance = now.duration_since(at);
    if distance.is_negative() {
        format!("in {}", duration(distance.abs()))
    } else {
        format!("{} ago", duration(distance))
    }
}

fn span(from: Timestamp, to: Timestamp) -> String {
    duration(to.duration_since(from).max(SignedDuration::ZERO))
}

/// At most two units: `3d 4h`, `12m 5s`, `7s`.
fn duration(duration: SignedDuration) -> String {
    let total = duration.as_secs();
    let (days, hours, minutes, seconds) = (total / 86_400, total / 3600 % 24, total / 60 % 60, total % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {seconds}s"),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

fn seconds(ms: u64) -> String {
    if ms < 60_000 {
        return format!("{}.{}s", ms / 1000, ms % 1000 / 100);
    }
    duration(SignedDuration::from_millis(i64::try_from(ms).unwrap_or(i64::MAX)))
}

fn mebibytes(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10) / (1024 * 1024);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

fn times(n: u64) -> String {
    if n == 1 { "once".to_owned() } else { format!("{n} times") }
}

/// Without the full stop that the sentence around it brings.
fn unended(text: &str) -> &str {
    text.trim_end_matches('.')
}

#[cfg(test)]
mod tests;
