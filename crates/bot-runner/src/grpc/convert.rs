//! Pure: the model as messages.

use std::collections::BTreeMap;

use jiff::Timestamp;
use prost_types::{ListValue, Struct, Value as PbValue, value::Kind};
use serde_json::{Map, Value};
use the0_core::executor::{Protection, UnitStats};
use the0_model::{
    BotEvent, BotEventKind, BotId, BotPhase, BotStatus, Cause, Exit, Limits, LogStream,
    bot::STOP_GRACE_MS_DEFAULT,
};
use the0_proto::bot::v1 as pb;

use super::mask;
use crate::BotView;

/// How much of a configuration is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Show {
    /// None of it: in lists.
    Nothing,
    /// Masked.
    Masked,
    /// All.
    All,
}

pub(super) fn bot(view: &BotView, show: Show, pid: Option<u32>) -> pb::Bot {
    let bot = &view.bot;
    let config_json = match show {
        Show::Nothing => String::new(),
        Show::Masked => Value::Object(mask::mask(bot.config.expose())).to_string(),
        Show::All => Value::Object(bot.config.expose().clone()).to_string(),
    };
    let spec = bot.unit_spec().ok();
    let entrypoint = || bot.custom.config.entrypoints.get("bot").cloned().unwrap_or_default();
    pb::Bot {
        id: bot.id.to_string(),
        name: bot.custom.config.name.clone(),
        version: bot.custom.version.clone(),
        runtime: bot.custom.config.runtime.clone(),
        entrypoint: spec.map_or_else(entrypoint, |spec| spec.entrypoint),
        segment: bot.segment_id.0,
        revision: bot.revision.0,
        enabled: bot.is_enabled(),
        config_json,
        limits: Some(limits(&bot.runtime.limits.clone().unwrap_or_default())),
        network: bot.runtime.network.unwrap_or_default().to_string(),
        image: bot.runtime.image.clone().unwrap_or_default(),
        stop_grace_ms: bot.runtime.stop_grace_ms.unwrap_or(STOP_GRACE_MS_DEFAULT),
        code_location: bot.custom.file_path.clone(),
        code_digest: bot.runtime.code_digest.clone().unwrap_or_default(),
        status: Some(status(view, pid)),
    }
}

pub(super) fn status(view: &BotView, pid: Option<u32>) -> pb::BotStatusResponse {
    status_of(&view.bot.id, view.bot.is_enabled(), &view.status, pid)
}

pub(super) fn status_of(
    bot: &BotId,
    enabled: bool,
    status: &BotStatus,
    pid: Option<u32>,
) -> pb::BotStatusResponse {
    pb::BotStatusResponse {
        bot_id: bot.to_string(),
        phase: phase(status.phase).into(),
        reason: status.reason.clone(),
        enabled,
        attempt: status.attempt,
        failures: status.failures,
        restarts: status.restarts,
        not_before: status.not_before.map(time),
        started_at: status.started_at.map(time),
        last_exit: status.last_exit.as_ref().map(exit),
        generation: status.generation.to_string(),
        pid: pid.unwrap_or(0),
        usage: None,
    }
}

pub(super) fn usage(stats: &UnitStats) -> pb::Usage {
    pb::Usage { memory_bytes: stats.memory_bytes, cpu_micros: stats.cpu_micros, pids: stats.pids }
}

pub(super) fn exit(exit: &Exit) -> pb::Exit {
    pb::Exit {
        cause: cause(exit.cause).into(),
        code: exit.code,
        signal: exit.signal,
        message: exit.message.clone().unwrap_or_default(),
        result: exit.result.as_ref().map(value),
        at: Some(time(exit.at)),
        ran_ms: exit.ran_ms,
        peak_memory_bytes: exit.peak_memory_bytes,
        last_lines: exit.last_lines.clone(),
        summary: exit.to_string(),
    }
}

pub(super) fn event(bot: &BotId, event: &BotEvent, phase: BotPhase) -> pb::BotEvent {
    pb::BotEvent {
        at: Some(time(event.at)),
        bot_id: bot.to_string(),
        kind: kind(event.kind).into(),
        attempt: event.attempt,
        reason: event.reason.clone(),
        phase: self::phase(phase).into(),
    }
}

pub(super) fn protection(protection: &Protection) -> pb::Protection {
    pb::Protection {
        name: protection.name.to_owned(),
        active: protection.active,
        detail: protection.detail.clone(),
    }
}

fn limits(limits: &Limits) -> pb::ResourceLimits {
    pb::ResourceLimits {
        memory_bytes: limits.memory_bytes,
        cpu_millis: limits.cpu_millis,
        pids: limits.pids,
        tmp_bytes: limits.tmp_bytes,
        log_bytes: limits.log_bytes,
        file_bytes: limits.file_bytes,
        open_files: limits.open_files,
    }
}

/// Limits as asked for: absent and zero fields mean the default.
pub(super) fn limits_from(given: &pb::ResourceLimits) -> Limits {
    let default = Limits::default();
    let or = |given: u64, default: u64| if given == 0 { default } else { given };
    let or_small = |given: u32, default: u32| if given == 0 { default } else { given };
    Limits {
        memory_bytes: or(given.memory_bytes, default.memory_bytes),
        cpu_millis: or_small(given.cpu_millis, default.cpu_millis),
        pids: or_small(given.pids, default.pids),
        open_files: or_small(given.open_files, default.open_files),
        tmp_bytes: or(given.tmp_bytes, default.tmp_bytes),
        log_bytes: or(given.log_bytes, default.log_bytes),
        file_bytes: or(given.file_bytes, default.file_bytes),
    }
}

pub(super) const fn phase(phase: BotPhase) -> pb::Phase {
    match phase {
        BotPhase::Pending => pb::Phase::Pending,
        BotPhase::Starting => pb::Phase::Starting,
        BotPhase::Running => pb::Phase::Running,
        BotPhase::BackingOff => pb::Phase::BackingOff,
        BotPhase::Refused => pb::Phase::Refused,
        BotPhase::Stopping => pb::Phase::Stopping,
        BotPhase::Stopped => pb::Phase::Stopped,
    }
}

const fn cause(cause: Cause) -> pb::Cause {
    match cause {
        Cause::Completed => pb::Cause::Completed,
        Cause::Failed => pb::Cause::Failed,
        Cause::Killed => pb::Cause::Killed,
        Cause::OutOfMemory => pb::Cause::OutOfMemory,
        Cause::Stopped => pb::Cause::Stopped,
        Cause::StoppedByForce => pb::Cause::StoppedByForce,
        Cause::Fenced => pb::Cause::Fenced,
        Cause::NotStarted => pb::Cause::NotStarted,
        Cause::Lost => pb::Cause::Lost,
    }
}

const fn kind(kind: BotEventKind) -> pb::EventKind {
    match kind {
        BotEventKind::Deployed => pb::EventKind::Deployed,
        BotEventKind::Configured => pb::EventKind::Configured,
        BotEventKind::Enabled => pb::EventKind::Enabled,
        BotEventKind::Disabled => pb::EventKind::Disabled,
        BotEventKind::RestartRequested => pb::EventKind::RestartRequested,
        BotEventKind::Started => pb::EventKind::Started,
        BotEventKind::Stopped => pb::EventKind::Stopped,
        BotEventKind::Exited => pb::EventKind::Exited,
        BotEventKind::Refused => pb::EventKind::Refused,
        BotEventKind::Deleted => pb::EventKind::Deleted,
    }
}

pub(super) const fn stream(stream: LogStream) -> pb::LogStream {
    match stream {
        LogStream::Stdout => pb::LogStream::Stdout,
        LogStream::Stderr => pb::LogStream::Stderr,
        LogStream::Agent => pb::LogStream::Agent,
    }
}

pub(super) fn time(at: Timestamp) -> prost_types::Timestamp {
    // The wire wants nanoseconds that count forwards, before 1970 too.
    let (seconds, nanos) = (at.as_second(), at.subsec_nanosecond());
    if nanos < 0 {
        return prost_types::Timestamp { seconds: seconds - 1, nanos: nanos + 1_000_000_000 };
    }
    prost_types::Timestamp { seconds, nanos }
}

fn object(map: &Map<String, Value>) -> Struct {
    let fields: BTreeMap<String, PbValue> =
        map.iter().map(|(key, field)| (key.clone(), value(field))).collect();
    Struct { fields }
}

fn value(json: &Value) -> PbValue {
    let kind = match json {
        Value::Null => Kind::NullValue(0),
        Value::Bool(flag) => Kind::BoolValue(*flag),
        // A number no double can hold keeps its digits as a text rather than changing silently.
        Value::Number(number) => match number.as_f64() {
            Some(double) if double.is_finite() => Kind::NumberValue(double),
            _ => Kind::StringValue(number.to_string()),
        },
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(items) => Kind::ListValue(ListValue { values: items.iter().map(value).collect() }),
        Value::Object(map) => Kind::StructValue(object(map)),
    };
    PbValue { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn zero_limits_are_the_defaults() {
        assert_eq!(limits_from(&pb::ResourceLimits::default()), Limits::default());
        let given = pb::ResourceLimits { pids: 7, ..limits(&Limits::default()) };
        assert_eq!(limits_from(&given), Limits { pids: 7, ..Limits::default() });
    }

    #[test]
    fn times_before_1970_count_forwards() {
        let before = time("1969-12-31T23:59:59.5Z".parse().unwrap());
        assert_eq!((before.seconds, before.nanos), (-1, 500_000_000));
    }

    #[test]
    fn json_keeps_its_shape() {
        let shown = value(&json!({"a": [1, "x", null, true, {"b": 0.5}]}));
        let Some(Kind::StructValue(fields)) = shown.kind else { panic!("an object") };
        let Some(Kind::ListValue(list)) = &fields.fields["a"].kind else { panic!("a list") };
        assert_eq!(list.values.len(), 5);
        assert_eq!(list.values[0].kind, Some(Kind::NumberValue(1.0)));
    }
}
