//! Pure: the service's messages as JSON, with the names of the proto.

use prost_types::{Struct, Value as PbValue, value::Kind};
use serde_json::{Map, Value, json};
use the0_proto::bot::v1 as pb;

use crate::output::times;

/// Largest whole number a `double` holds exactly.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// `PHASE_BACKING_OFF` as `backing_off`.
pub(super) fn phase(phase: i32) -> String {
    let name = pb::Phase::try_from(phase).map_or("unspecified", |phase| phase.as_str_name());
    name.trim_start_matches("PHASE_").to_lowercase()
}

/// `backing_off` or `backing-off` as the number on the wire.
pub(super) fn phase_of(text: &str) -> Option<pb::Phase> {
    pb::Phase::from_str_name(&format!("PHASE_{}", text.replace('-', "_").to_uppercase()))
}

/// `EVENT_KIND_RESTART_REQUESTED` as `restart_requested`.
pub(super) fn kind(kind: i32) -> String {
    let name = pb::EventKind::try_from(kind).map_or("unspecified", |kind| kind.as_str_name());
    name.trim_start_matches("EVENT_KIND_").to_lowercase()
}

pub(super) fn bot(bot: &pb::Bot) -> Value {
    json!({
        "id": bot.id, "name": bot.name, "version": bot.version, "runtime": bot.runtime, "entrypoint": bot.entrypoint,
        "segment": bot.segment, "revision": bot.revision, "enabled": bot.enabled,
        "config": config(bot), "limits": bot.limits.as_ref().map(limits), "network": bot.network,
        "image": bot.image, "stop_grace_ms": bot.stop_grace_ms, "code_location": bot.code_location,
        "code_digest": bot.code_digest, "status": bot.status.as_ref().map(status),
    })
}

pub(super) fn status(status: &pb::BotStatusResponse) -> Value {
    json!({
        "bot_id": status.bot_id, "phase": phase(status.phase), "reason": status.reason, "enabled": status.enabled,
        "attempt": status.attempt, "failures": status.failures, "restarts": status.restarts,
        "not_before": time(status.not_before.as_ref()), "started_at": time(status.started_at.as_ref()),
        "last_exit": status.last_exit.as_ref().map(exit), "generation": status.generation, "pid": status.pid,
        "usage": status.usage.as_ref().map(|usage| json!({
            "memory_bytes": usage.memory_bytes, "cpu_micros": usage.cpu_micros, "pids": usage.pids,
        })),
    })
}

pub(super) fn exit(exit: &pb::Exit) -> Value {
    let cause = pb::Cause::try_from(exit.cause).map_or("unspecified", |cause| cause.as_str_name());
    json!({
        "cause": cause.trim_start_matches("CAUSE_").to_lowercase(), "code": exit.code, "signal": exit.signal,
        "message": exit.message, "result": exit.result.as_ref().map(value), "at": time(exit.at.as_ref()),
        "ran_ms": exit.ran_ms, "peak_memory_bytes": exit.peak_memory_bytes, "last_lines": exit.last_lines,
        "summary": exit.summary,
    })
}

pub(super) fn event(event: &pb::BotEvent) -> Value {
    json!({
        "at": time(event.at.as_ref()), "bot_id": event.bot_id, "kind": kind(event.kind), "attempt": event.attempt,
        "reason": event.reason, "phase": phase(event.phase),
    })
}

fn limits(limits: &pb::ResourceLimits) -> Value {
    json!({
        "memory_bytes": limits.memory_bytes, "cpu_millis": limits.cpu_millis, "pids": limits.pids,
        "tmp_bytes": limits.tmp_bytes, "log_bytes": limits.log_bytes, "file_bytes": limits.file_bytes,
        "open_files": limits.open_files,
    })
}

/// A time as text, or null.
pub(super) fn time(at: Option<&prost_types::Timestamp>) -> Value {
    at.map_or(Value::Null, |at| json!(times::text(Some(at))))
}

/// The configuration, number for number; null in lists, which leave it out.
pub(super) fn config(bot: &pb::Bot) -> Value {
    serde_json::from_str(&bot.config_json).unwrap_or(Value::Null)
}

fn object(object: &Struct) -> Value {
    Value::Object(object.fields.iter().map(|(key, field)| (key.clone(), value(field))).collect::<Map<_, _>>())
}

fn value(value: &PbValue) -> Value {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(flag)) => json!(flag),
        Some(Kind::NumberValue(number)) => self::number(*number),
        Some(Kind::StringValue(text)) => json!(text),
        Some(Kind::ListValue(list)) => list.values.iter().map(self::value).collect(),
        Some(Kind::StructValue(fields)) => object(fields),
    }
}

/// Whole numbers are shown whole: the wire knows doubles only.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
fn number(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < WHOLE_MAX { json!(number as i64) } else { json!(number) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_read_back() {
        assert_eq!(phase(pb::Phase::BackingOff.into()), "backing_off");
        assert_eq!(phase_of("backing-off"), Some(pb::Phase::BackingOff));
        assert_eq!(phase_of("flying"), None);
        assert_eq!(kind(pb::EventKind::RestartRequested.into()), "restart_requested");
        assert_eq!(phase(99), "unspecified");
    }

    #[test]
    fn whole_numbers_stay_whole() {
        assert_eq!(number(5.0).to_string(), "5");
        assert_eq!(number(0.5).to_string(), "0.5");
        assert_eq!(number(1e300).to_string(), "1e+300");
    }
}
