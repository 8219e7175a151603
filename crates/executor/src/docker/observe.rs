//! Pure: what Docker says of a container → what we know of the unit.

use std::time::Duration;

use bollard::models::{
    ContainerInspectResponse, ContainerState, ContainerStateStatusEnum, ContainerStatsResponse,
    ContainerSummary, ContainerSummaryStateEnum,
};
use jiff::Timestamp;
use the0_core::executor::UnitStats;
use the0_model::{Cause, Exit, LogLine, exit::LAST_LINE_BYTES_MAX};

use crate::labels::{LabelError, Labels};

/// A container of ours, as listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) container: String,
    pub(super) labels: Labels,
    pub(super) state: State,
    pub(super) created_at: Option<Timestamp>,
}

/// Where a container is, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Made and never started: its start is under way, or was cut short by a crash.
    Created,
    /// Has a process. A paused one has too: its bot may hold orders, and it goes on when resumed.
    Running,
    /// Has none any more.
    Ended,
}

/// Reads one entry of a listing. Fails if its labels are not ours to read.
pub(super) fn found(summary: ContainerSummary) -> Result<Found, LabelError> {
    let labels = summary.labels.unwrap_or_default();
    Ok(Found {
        container: summary.id.unwrap_or_default(),
        labels: Labels::decode(|label| labels.get(label).map(String::as_str))?,
        state: summary.state.map_or(State::Ended, listed_state),
        created_at: summary.created.and_then(|seconds| Timestamp::from_second(seconds).ok()),
    })
}

const fn listed_state(state: ContainerSummaryStateEnum) -> State {
    use ContainerSummaryStateEnum as Listed;
    match state {
        Listed::CREATED => State::Created,
        Listed::RUNNING | Listed::PAUSED | Listed::RESTARTING | Listed::STOPPING => State::Running,
        // Docker says `removing` and `dead` only of containers without a process.
        Listed::EXITED | Listed::REMOVING | Listed::DEAD | Listed::EMPTY => State::Ended,
    }
}

/// Reads the state of an inspected container.
pub(super) const fn inspected_state(state: &ContainerState) -> State {
    use ContainerStateStatusEnum as Inspected;
    match state.status {
        Some(Inspected::CREATED) => State::Created,
        Some(Inspected::RUNNING | Inspected::PAUSED | Inspected::RESTARTING | Inspected::STOPPING) => {
            State::Running
        }
        Some(Inspected::EXITED | Inspected::REMOVING | Inspected::DEAD | Inspected::EMPTY) | None => {
            State::Ended
        }
    }
}

/// When the container was last started, if it ever was.
pub(super) fn started_at(state: &ContainerState) -> Option<Timestamp> {
    moment(state.started_at.as_deref())
}

/// Docker writes the year 1 for "never".
fn moment(text: Option<&str>) -> Option<Timestamp> {
    text?.parse().ok().filter(|at: &Timestamp| *at > Timestamp::UNIX_EPOCH)
}

/// How a container ended whose agent left no word of its own. `fallback` stands in for a moment that Docker does not
/// know; `words` are the last lines the agent wrote to Docker's own log.
pub(super) fn exit(state: &ContainerState, fallback: Timestamp, words: Vec<String>) -> Exit {
    let (started, finished) = (started_at(state), moment(state.finished_at.as_deref()));
    let at = finished.or(started).unwrap_or(fallback);
    let ran = started
        .map_or(Duration::ZERO, |from| Duration::try_from(at.duration_since(from)).unwrap_or_default());
    let exit_code = state.exit_code.and_then(|code| i32::try_from(code).ok());
    let signal = exit_code.filter(|code| (129..=192).contains(code)).map(|code| code - 128);
    let trouble = state.error.clone().filter(|text| !text.is_empty());
    let (cause, message) = if started.is_none() {
        (
            Cause::NotStarted,
            trouble.unwrap_or_else(|| "the container was created and never started".to_owned()),
        )
    } else if state.oom_killed == Some(true) {
        (Cause::OutOfMemory, "the memory limit was reached, and the agent was killed with the bot".to_owned())
    } else if signal.is_some() {
        (Cause::Killed, trouble.unwrap_or_else(|| "the whole container was killed from outside".to_owned()))
    } else {
        (Cause::Lost, trouble.unwrap_or_else(|| "the agent ended without a record of the bot".to_owned()))
    };
    let code = exit_code.filter(|_| signal.is_none() && started.is_some());
    Exit {
        cause,
        code,
        signal,
        message: Some(message),
        result: None,
        at,
        ran_ms: u64::try_from(ran.as_millis()).unwrap_or(u64::MAX),
        peak_memory_bytes: None,
        last_lines: words,
    }
}

/// The end of a container that was stopped and whose agent left no word: it did not obey in time.
pub(super) fn ended_by_us(exit: Exit) -> Exit {
    let message = "it was told to stop, and the agent left no record of how it went".to_owned();
    let cause = if exit.signal == Some(9) { Cause::StoppedByForce } else { Cause::Stopped };
    Exit { cause, message: Some(message), ..exit }
}

/// The bot's last lines, as kept in an [`Exit`].
pub(super) fn words(lines: &[LogLine]) -> Vec<String> {
    let shorten = |line: &LogLine| {
        let end = line.text.len().min(LAST_LINE_BYTES_MAX);
        String::from_utf8_lossy(&line.text[..end]).into_owned()
    };
    lines.iter().map(shorten).collect()
}

/// What a container uses. `None` if nothing runs in it: Docker answers with zeroes then.
pub(super) fn stats(answer: &ContainerStatsResponse) -> Option<UnitStats> {
    let pids = answer.pids_stats.as_ref()?.current.filter(|count| *count > 0)?;
    let memory = answer.memory_stats.as_ref();
    let used = memory.and_then(|memory| memory.usage).unwrap_or_default();
    // File cache that the kernel would give back counts as used in cgroups; the name differs between the versions.
    let cache = memory.and_then(|memory| memory.stats.as_ref()).and_then(|stats| {
        ["total_inactive_file", "inactive_file"].iter().find_map(|name| stats.get(*name)).copied()
    });
    let cpu = answer.cpu_stats.as_ref().and_then(|cpu| cpu.cpu_usage.as_ref());
    let nanos = cpu.and_then(|usage| usage.total_usage).unwrap_or_default();
    Some(UnitStats {
        memory_bytes: used.saturating_sub(cache.unwrap_or_default()),
        cpu_micros: nanos / 1000,
        pids,
    })
}

/// The address at which a running container can be reached from this machine, as text. The first by name of network.
pub(super) fn address(found: &ContainerInspectResponse) -> Option<&str> {
    found.state.as_ref().filter(|state| inspected_state(state) == State::Running)?;
    let networks = found.network_settings.as_ref()?.networks.as_ref()?;
    if networks.contains_key("host") {
        return Some("127.0.0.1");
    }
    let addresses =
        networks.iter().filter_map(|(name, network)| Some((name, network.ip_address.as_deref()?)));
    addresses.filter(|(_, address)| !address.is_empty()).min().map(|(_, address)| address)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FALLBACK: Timestamp = Timestamp::UNIX_EPOCH;

    fn ended(exit_code: i64, oom_killed: bool) -> ContainerState {
        ContainerState {
            status: Some(ContainerStateStatusEnum::EXITED),
            exit_code: Some(exit_code),
            oom_killed: Some(oom_killed),
            started_at: Some("2026-11-21T02:00:00.5Z".into()),
            finished_at: Some("2026-11-21T02:00:03.75Z".into()),
            error: Some(String::new()),
            ..ContainerState::default()
        }
    }

    #[test]
    fn an_end_without_the_agents_word_is_put_in_words() {
        let say = |state: &ContainerState| exit(state, FALLBACK, vec![]).to_string();
        assert_eq!(
            say(&ended(137, true)),
            "out of memory (SIGKILL) after 3.2s: the memory limit was reached, and the agent was killed with the bot"
        );
        assert_eq!(
            say(&ended(137, false)),
            "killed (SIGKILL) after 3.2s: the whole container was killed from outside"
        );
        assert_eq!(
            say(&ended(255, false)),
            "lost (exit code 255) after 3.2s: the agent ended without a record of the bot"
        );
        assert_eq!(say(&ended(0, false)), "lost after 3.2s: the agent ended without a record of the bot");
    }

    #[test]
    fn what_never_started_is_no_crash() {
        let state = ContainerState {
            status: Some(ContainerStateStatusEnum::CREATED),
            exit_code: Some(0),
            started_at: Some("0001-01-01T00:00:00Z".into()),
            finished_at: Some("0001-01-01T00:00:00Z".into()),
            ..ContainerState::default()
        };
        let never = exit(&state, FALLBACK, vec![]);
        assert_eq!((never.cause, never.code, never.at), (Cause::NotStarted, None, FALLBACK));
        let failed =
            ContainerState { error: Some("exec format error".into()), exit_code: Some(127), ..state };
        assert_eq!(exit(&failed, FALLBACK, vec![]).to_string(), "not started after 0.0s: exec format error");
    }

    #[test]
    fn only_what_has_no_process_counts_as_ended() {
        use ContainerSummaryStateEnum as Listed;
        for running in [Listed::RUNNING, Listed::PAUSED, Listed::RESTARTING, Listed::STOPPING] {
            assert_eq!(listed_state(running), State::Running, "{running:?}");
        }
        for ended in [Listed::EXITED, Listed::DEAD, Listed::REMOVING] {
            assert_eq!(listed_state(ended), State::Ended, "{ended:?}");
        }
        assert_eq!(listed_state(Listed::CREATED), State::Created);
    }

    #[test]
    fn a_container_whose_labels_cannot_be_read_is_not_taken_for_a_unit() {
        let summary = ContainerSummary { id: Some("abc".into()), ..ContainerSummary::default() };
        assert_eq!(found(summary).unwrap_err().label, "the0.unit");
    }
}
