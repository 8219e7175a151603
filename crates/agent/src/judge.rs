//! Pure: what to call the end of an attempt, and what to say about it.

use serde_json::Value;
use the0_model::Cause;

use crate::supervise::{Ended, Ending, Stop};

/// `SIGKILL`.
const KILL: i32 = 9;

/// What is known at the end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Evidence<'a> {
    /// How the process ended and who ended it.
    pub(crate) ending: Ending,
    /// Whether the kernel killed something at the memory limit during the attempt.
    pub(crate) out_of_memory: bool,
    /// The memory limit, in bytes.
    pub(crate) memory_bytes: u64,
    /// The result the bot left.
    pub(crate) result: Option<&'a Value>,
    /// The last line of its standard error that is not empty.
    pub(crate) last_error_line: Option<&'a str>,
    /// Time of judgement, in milliseconds of `CLOCK_BOOTTIME`.
    pub(crate) now_ms: u64,
}

/// The cause and the message.
pub(crate) fn judge(evidence: &Evidence<'_>) -> (Cause, Option<String>) {
    let own_words = error_of(evidence.result);
    let limit_mib = evidence.memory_bytes / (1024 * 1024);
    match (evidence.ending.stop, evidence.ending.ended) {
        (Stop::Fenced(lease), _) => {
            let late = evidence.now_ms.saturating_sub(lease.deadline_boottime_ms);
            let text = format!(
                "the worker's lease (generation {}) ran out {late} ms ago and was not renewed",
                lease.generation
            );
            (Cause::Fenced, Some(text))
        }
        (Stop::Forced, Ended::Signal(KILL)) => (Cause::StoppedByForce, own_words),
        (Stop::Nobody | Stop::Requested, Ended::Signal(KILL)) if evidence.out_of_memory => {
            (Cause::OutOfMemory, Some(format!("it reached its memory limit of {limit_mib} MiB")))
        }
        (Stop::Forced | Stop::Requested, _) => (Cause::Stopped, own_words),
        (Stop::Nobody, Ended::Signal(_)) => (Cause::Killed, own_words.or_else(|| last_words(evidence))),
        (Stop::Nobody, Ended::Code(0)) if own_words.is_none() => (Cause::Completed, None),
        (Stop::Nobody, Ended::Code(0)) => (Cause::Failed, own_words),
        (Stop::Nobody, Ended::Code(_)) => {
            let words = own_words.or_else(|| last_words(evidence));
            if !evidence.out_of_memory {
                return (Cause::Failed, words);
            }
            let child = format!("a child process of it was killed at the memory limit of {limit_mib} MiB");
            (Cause::OutOfMemory, Some(words.map_or(child.clone(), |words| format!("{child}; then: {words}"))))
        }
    }
}

/// The exit code a parent sees: a signal shows as 128 and its number, as in shells.
pub(crate) const fn exit_code(ended: Ended) -> i32 {
    match ended {
        Ended::Code(code) => code,
        Ended::Signal(signal) => 128 + signal,
    }
}

/// `{"status":"error","message":…}` is what the SDKs and the wrappers leave after a failure.
fn error_of(result: Option<&Value>) -> Option<String> {
    let result = result?;
    if result.get("status")?.as_str()? != "error" {
        return None;
    }
    Some(match result.get("message") {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "it reported an error without a message".to_owned(),
    })
}

fn last_words(evidence: &Evidence<'_>) -> Option<String> {
    evidence.last_error_line.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use the0_model::Generation;

    use super::*;
    use crate::lease::LeaseFile;

    fn evidence(stop: Stop, ended: Ended) -> Evidence<'static> {
        Evidence {
            ending: Ending { ended, stop },
            out_of_memory: false,
            memory_bytes: 64 << 20,
            result: None,
            last_error_line: Some("last words"),
            now_ms: 5_213,
        }
    }

    #[test]
    fn each_end_has_its_name() {
        let lease = LeaseFile {
            deadline_boottime_ms: 5_000,
            stop_grace_ms: 0,
            generation: Generation { term: 3, step: 1 },
        };
        let oom = |stop, ended| Evidence { out_of_memory: true, ..evidence(stop, ended) };
        let cases = [
            evidence(Stop::Nobody, Ended::Code(0)),
            evidence(Stop::Nobody, Ended::Code(3)),
            evidence(Stop::Nobody, Ended::Signal(11)),
            evidence(Stop::Nobody, Ended::Signal(9)),
            oom(Stop::Nobody, Ended::Signal(9)),
            oom(Stop::Nobody, Ended::Code(1)),
            oom(Stop::Nobody, Ended::Code(0)),
            oom(Stop::Nobody, Ended::Signal(11)),
            evidence(Stop::Requested, Ended::Code(0)),
            evidence(Stop::Requested, Ended::Code(1)),
            evidence(Stop::Requested, Ended::Signal(15)),
            evidence(Stop::Forced, Ended::Signal(9)),
            oom(Stop::Forced, Ended::Signal(9)),
            evidence(Stop::Forced, Ended::Code(0)),
            evidence(Stop::Fenced(lease), Ended::Signal(9)),
        ];
        let lines: Vec<_> = cases
            .iter()
            .map(|case| {
                let (cause, message) = judge(case);
                let (stop, ended) = (case.ending.stop, case.ending.ended);
                let stop = if let Stop::Fenced(_) = stop { "Fenced".into() } else { format!("{stop:?}") };
                let oom = if case.out_of_memory { " oom" } else { "" };
                format!("{stop} {ended:?}{oom} -> {cause}: {}", message.unwrap_or_default())
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        Nobody Code(0) -> completed: 
        Nobody Code(3) -> failed: last words
        Nobody Signal(11) -> killed: last words
        Nobody Signal(9) -> killed: last words
        Nobody Signal(9) oom -> out of memory: it reached its memory limit of 64 MiB
        Nobody Code(1) oom -> out of memory: a child process of it was killed at the memory limit of 64 MiB; then: last words
        Nobody Code(0) oom -> completed: 
        Nobody Signal(11) oom -> killed: last words
        Requested Code(0) -> stopped: 
        Requested Code(1) -> stopped: 
        Requested Signal(15) -> stopped: 
        Forced Signal(9) -> stopped by force: 
        Forced Signal(9) oom -> stopped by force: 
        Forced Code(0) -> stopped: 
        Fenced Signal(9) -> fenced: the worker's lease (generation 3.1) ran out 213 ms ago and was not renewed
        ");
    }

    #[test]
    fn what_the_bot_said_of_its_failure_counts_whatever_its_exit_code() {
        let error = json!({"status": "error", "message": "no funds"});
        let case = Evidence { result: Some(&error), ..evidence(Stop::Nobody, Ended::Code(0)) };
        assert_eq!(judge(&case), (Cause::Failed, Some("no funds".to_owned())));
        let success = json!({"status": "success", "message": "done"});
        let case = Evidence { result: Some(&success), ..case };
        assert_eq!(judge(&case), (Cause::Completed, None));
        let odd = json!({"status": "error", "message": {"code": 7}});
        let case = Evidence { result: Some(&odd), ..case };
        assert_eq!(judge(&case).1.as_deref(), Some(r#"{"code":7}"#));
        let list = json!([1, 2]);
        assert_eq!(judge(&Evidence { result: Some(&list), ..case }).0, Cause::Completed);
    }

    #[test]
    fn a_signal_shows_in_the_exit_code() {
        assert_eq!((exit_code(Ended::Code(3)), exit_code(Ended::Signal(9))), (3, 137));
    }
}
