//! Pure: from what came of a unit to what is known of its bot.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use the0_core::{Outcome, StopReason, reconcile::Backoff};
use the0_model::{
    Bot, BotEvent, BotEventKind, BotPhase, BotStatus, Exit, Generation, SpecDigest, exit::Cause,
};

/// A live bot runs until it is stopped, so one that ends without failing is started again, as the platform does at its
/// next pass: at least this long after its previous start, so that a bot with nothing to do does not spin.
pub const CALM_PERIOD: Duration = Duration::from_secs(30);
/// And at least this long after its end.
pub const CALM_PAUSE: Duration = Duration::from_secs(1);
/// Longest reason kept, in characters.
const REASON_MAX: usize = 600;

/// Under which circumstances something was reported.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// When.
    pub now: Timestamp,
    /// Under which grant.
    pub generation: Generation,
    /// Specification that is wanted of the bot, if it is wanted at all.
    pub digest: Option<SpecDigest>,
    /// How long to wait after so many failures.
    pub backoff: &'a Backoff,
}

/// What follows from a report.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// What is known now. Its events are those of before: `event` is appended by the store.
    pub status: BotStatus,
    /// What happened, if people should know.
    pub event: Option<BotEvent>,
}

/// Applies what was reported of a bot's unit. The same report a second time changes nothing.
pub fn apply(before: &BotStatus, outcome: &Outcome, at: &Circumstances<'_>) -> Applied {
    let mut status = before.clone();
    status.generation = before.generation.max(at.generation);
    let event = match outcome {
        Outcome::Starting => starting(&mut status, at),
        Outcome::Started { attempt } => started(&mut status, *attempt, at),
        Outcome::Stopping(reason) => {
            status.phase = BotPhase::Stopping;
            stop_text(*reason).clone_into(&mut status.reason);
            None
        }
        Outcome::Stopped { reason, exit } => stopped(&mut status, *reason, exit.as_deref(), at),
        Outcome::Finished { attempt, exit } => finished(&mut status, *attempt, exit, at),
        Outcome::Refused { reason, permanent } => refused(&mut status, reason, *permanent, at),
    };
    Applied { status, event }
}

/// The status of a bot that cannot become a unit, as long as it has none.
pub fn unfit(before: &BotStatus, reason: &str, at: &Circumstances<'_>) -> Applied {
    if has_unit(before.phase) || (before.phase == BotPhase::Refused && before.reason == reason) {
        return Applied { status: before.clone(), event: None };
    }
    let mut status = before.clone();
    status.phase = BotPhase::Refused;
    status.reason = shortened(reason);
    status.generation = before.generation.max(at.generation);
    (status.not_before, status.started_at) = (None, None);
    let event = event(BotEventKind::Refused, 0, reason, at);
    Applied { status, event: Some(event) }
}

/// The status as people should see it. Nothing is reported when a bot without a unit is switched off, on or changed, so
/// what was written before is corrected by what the bot is now.
pub fn shown(bot: &Bot, mut status: BotStatus) -> BotStatus {
    if has_unit(status.phase) {
        return status;
    }
    if !bot.is_enabled() {
        if status.phase != BotPhase::Stopped {
            "disabled".clone_into(&mut status.reason);
        }
        status.phase = BotPhase::Stopped;
        status.not_before = None;
        return status;
    }
    let digest = match bot.unit_spec() {
        Ok(spec) if matches!(status.phase, BotPhase::BackingOff | BotPhase::Refused) => Some(spec.digest()),
        Ok(_) => None,
        Err(error) => {
            status.phase = BotPhase::Refused;
            status.reason = error.to_string();
            status.not_before = None;
            return status;
        }
    };
    let is_changed = digest.is_some_and(|digest| status.spec_digest.as_deref() != Some(&*digest.to_string()));
    if is_changed {
        status.phase = BotPhase::Pending;
        "changed; about to be started".clone_into(&mut status.reason);
        (status.failures, status.not_before) = (0, None);
    } else if status.phase == BotPhase::Stopped {
        status.phase = BotPhase::Pending;
        "enabled; about to be started".clone_into(&mut status.reason);
    } else if status.reason.is_empty() {
        "about to be started for the first time".clone_into(&mut status.reason);
    }
    status
}

fn starting(status: &mut BotStatus, at: &Circumstances<'_>) -> Option<BotEvent> {
    note_digest(status, at);
    status.phase = BotPhase::Starting;
    "being started".clone_into(&mut status.reason);
    status.not_before = None;
    None
}

fn started(status: &mut BotStatus, attempt: u64, at: &Circumstances<'_>) -> Option<BotEvent> {
    note_digest(status, at);
    if status.phase == BotPhase::Running && status.attempt == attempt {
        return None;
    }
    if status.attempt == attempt && status.started_at.is_some() {
        // The same attempt as before, found again: after a stop that did not come about, or by another process.
        status.phase = BotPhase::Running;
        "running".clone_into(&mut status.reason);
        return None;
    }
    if status.attempt > 0 && attempt > status.attempt {
        status.restarts = status.restarts.saturating_add(1);
    }
    status.phase = BotPhase::Running;
    "running".clone_into(&mut status.reason);
    status.attempt = attempt;
    status.started_at = Some(at.now);
    status.not_before = None;
    Some(event(BotEventKind::Started, attempt, &format!("attempt {attempt} started"), at))
}

fn stopped(
    status: &mut BotStatus,
    reason: StopReason,
    exit: Option<&Exit>,
    at: &Circumstances<'_>,
) -> Option<BotEvent> {
    let phase = match reason {
        StopReason::Changed | StopReason::NotOurs => BotPhase::Pending,
        StopReason::NotWanted | StopReason::Overdue => BotPhase::Stopped,
    };
    let is_repeated = status.phase == phase && status.started_at.is_none();
    status.phase = phase;
    stop_text(reason).clone_into(&mut status.reason);
    (status.started_at, status.not_before, status.failures) = (None, None, 0);
    if is_repeated && exit.is_none_or(|exit| status.last_exit.as_ref() == Some(exit)) {
        return None;
    }
    let mut text = stop_text(reason).to_owned();
    if let Some(exit) = exit {
        text = format!("{text}: {exit}");
        status.last_exit = Some(exit.clone());
    }
    Some(event(BotEventKind::Stopped, status.attempt, &text, at))
}

fn finished(status: &mut BotStatus, attempt: u64, exit: &Exit, at: &Circumstances<'_>) -> Option<BotEvent> {
    let is_known = status.attempt == attempt && status.last_exit.as_ref() == Some(exit);
    if attempt < status.attempt || (is_known && !has_unit(status.phase)) {
        return None;
    }
    // Its failure counts against the specification it ran with, which `starting` noted; where that is not known (the
    // status was lost, or the unit is older than it), against the wanted one.
    if status.spec_digest.is_none() {
        note_digest(status, at);
    }
    status.attempt = attempt;
    // From the end and not from now: a bot that ended while nobody looked has waited already. But not from before its start,
    // whatever the record says: clocks are set back, and a bot that is its agent's user can write the record itself.
    let ended = status.started_at.take().map_or(exit.at, |started| exit.at.max(started)).min(at.now);
    status.last_exit = Some(exit.clone());
    status.reason = shortened(&exit.to_string());
    if exit.cause.is_failure() {
        let (failures, wait) = at.backoff.next(status.failures, Duration::from_millis(exit.ran_ms));
        status.failures = failures;
        status.phase = BotPhase::BackingOff;
        status.not_before = Some(later(ended, wait));
    } else {
        status.failures = 0;
        status.phase = BotPhase::Pending;
        // Fenced is not its own end: whoever holds the lease starts it as soon as it may.
        status.not_before = (exit.cause != Cause::Fenced).then(|| calm(ended, exit));
    }
    Some(event(BotEventKind::Exited, attempt, &exit.to_string(), at))
}

fn refused(
    status: &mut BotStatus,
    reason: &str,
    permanent: bool,
    at: &Circumstances<'_>,
) -> Option<BotEvent> {
    note_digest(status, at);
    let text =
        if permanent { shortened(reason) } else { shortened(&format!("could not be started: {reason}")) };
    let is_repeated = status.events.last().is_some_and(|last| {
        // Repeats are counted in `failures`; as events they would push out what led here.
        last.kind == BotEventKind::Refused && last.reason == text
    });
    status.failures = status.failures.saturating_add(1);
    status.phase = BotPhase::Refused;
    status.reason.clone_from(&text);
    status.started_at = None;
    status.not_before = Some(later(at.now, at.backoff.delay(status.failures)));
    (!is_repeated).then(|| event(BotEventKind::Refused, status.attempt, &text, at))
}

/// Failures belong to a specification: with another one they are forgotten.
fn note_digest(status: &mut BotStatus, at: &Circumstances<'_>) {
    let Some(digest) = at.digest.map(|digest| digest.to_string()) else { return };
    if status.spec_digest.as_ref() != Some(&digest) {
        (status.failures, status.not_before) = (0, None);
        status.spec_digest = Some(digest);
    }
}

/// Whether there is, or is about to be, something that runs.
fn has_unit(phase: BotPhase) -> bool {
    matches!(phase, BotPhase::Starting | BotPhase::Running | BotPhase::Stopping)
}

/// When a bot that ended without failing starts again.
fn calm(ended: Timestamp, exit: &Exit) -> Timestamp {
    let rest = CALM_PERIOD.saturating_sub(Duration::from_millis(exit.ran_ms));
    later(ended, rest.max(CALM_PAUSE))
}

fn later(moment: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    moment.saturating_add(by).unwrap_or(moment)
}

fn stop_text(reason: StopReason) -> &'static str {
    match reason {
        StopReason::Changed => "stopped because its specification changed; starts again with the new one",
        StopReason::NotWanted => "stopped because it was disabled or deleted",
        StopReason::NotOurs => "stopped because its segment went to another worker",
        StopReason::Overdue => "stopped because it ran past its deadline",
    }
}

fn event(kind: BotEventKind, attempt: u64, reason: &str, at: &Circumstances<'_>) -> BotEvent {
    BotEvent { at: at.now, kind, attempt, reason: shortened(reason) }
}

fn shortened(text: &str) -> String {
    text.chars().take(REASON_MAX).collect()
}

#[cfg(test)]
mod tests;
