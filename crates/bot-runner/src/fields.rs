//! Pure: checks of what people send, each answer naming the field, what is wrong and what is accepted.

use std::{collections::BTreeMap, fmt};

use serde_json::{Map, Value};
use the0_model::{
    BotId, Limits, Network, Runtime, Secret,
    bot::{CONFIG_BYTES_MAX, STOP_GRACE_MS_MAX},
};

/// Most variables of environment a bot may be given.
pub const ENV_COUNT_MAX: usize = 256;
/// Largest environment, in bytes of names and values.
pub const ENV_BYTES_MAX: usize = 64 * 1024;
/// Deepest nesting of a configuration. `serde_json` itself stops at 128.
pub const CONFIG_DEPTH_MAX: usize = 100;
/// What stands for a hidden value of a configuration that is shown. Never a value itself: someone who edits what was shown
/// and sends it back would replace keys by it.
pub const MASK: &str = "***";

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldFault {
    /// The field, as the request names it.
    pub field: String,
    /// What is wrong and what would be accepted.
    pub problem: String,
}

impl FieldFault {
    /// A fault of a field.
    pub fn new(field: impl Into<String>, problem: impl fmt::Display) -> Self {
        Self { field: field.into(), problem: problem.to_string() }
    }

    /// All faults in one line.
    pub fn join(faults: &[Self]) -> String {
        faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }
}

impl fmt::Display for FieldFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.problem)
    }
}

/// The id of a bot.
pub fn bot_id(field: &str, text: &str) -> Result<BotId, FieldFault> {
    BotId::new(text).map_err(|error| FieldFault::new(field, error))
}

/// A configuration: a JSON object of at most [`CONFIG_BYTES_MAX`] bytes.
pub fn config(field: &str, text: &str) -> Result<Map<String, Value>, FieldFault> {
    if text.len() > CONFIG_BYTES_MAX {
        return Err(FieldFault::new(
            field,
            format_args!("has {} bytes; at most {CONFIG_BYTES_MAX} are allowed", text.len()),
        ));
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(map)) => {
            if depth(&map) > CONFIG_DEPTH_MAX {
                return Err(FieldFault::new(
                    field,
                    format_args!("is nested deeper than {CONFIG_DEPTH_MAX} levels"),
                ));
            }
            if let Some(name) = masked(&map) {
                return Err(FieldFault::new(
                    field,
                    format_args!(
                        "has {MASK:?} below {name:?}, which only stands for a hidden text; give the text itself, leave \
                         the key out of a merge, or start from `config get --show-secrets`"
                    ),
                ));
            }
            Ok(map)
        }
        Ok(other) => Err(FieldFault::new(field, format_args!("is {}; give a JSON object", kind(&other)))),
        // The message of the parser tells the place but quotes nothing, so no key of the user leaks into it.
        Err(error) => Err(FieldFault::new(field, format_args!("is not valid JSON: {error}"))),
    }
}

/// The first key whose value is, or has in it, what stands for a hidden one.
fn masked(map: &Map<String, Value>) -> Option<&str> {
    fn is_masked(value: &Value) -> bool {
        match value {
            Value::String(text) => text == MASK,
            Value::Array(items) => items.iter().any(is_masked),
            Value::Object(map) => map.values().any(is_masked),
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }
    map.iter().find(|(_, value)| is_masked(value)).map(|(name, _)| name.as_str())
}

/// A runtime by name.
pub fn runtime(field: &str, text: &str) -> Result<Runtime, FieldFault> {
    text.parse().map_err(|error| FieldFault::new(field, error))
}

/// An entrypoint: a relative path in the bundle that stays inside it.
pub fn entrypoint(field: &str, text: &str) -> Result<(), FieldFault> {
    let problem = if text.len() > 512 {
        "is longer than 512 bytes"
    } else if text.chars().any(char::is_control) {
        "contains a control character"
    } else if text.starts_with('/') {
        "is absolute; give a path relative to the top of the bundle"
    } else if text.starts_with('-') {
        "starts with `-`, which an interpreter would take for an option"
    } else if text.split('/').any(|part| part == "..") {
        "leads out of the bundle"
    } else if text.is_empty() || text.ends_with('/') {
        "names no file"
    } else {
        return Ok(());
    };
    Err(FieldFault::new(field, format_args!("{problem}: {:?}", shortened(text))))
}

/// Text for people, such as a name or a version: at most `most` bytes, no control characters.
pub fn label(field: &str, text: &str, most: usize) -> Result<(), FieldFault> {
    if text.len() > most {
        return Err(FieldFault::new(
            field,
            format_args!("has {} bytes; at most {most} are allowed", text.len()),
        ));
    }
    match text.chars().find(|c| c.is_control()) {
        Some(c) => Err(FieldFault::new(field, format_args!("contains the control character {c:?}"))),
        None => Ok(()),
    }
}

/// An image reference. Only what could be none at all is refused here; the executor knows the rest.
pub fn image(field: &str, text: &str) -> Result<(), FieldFault> {
    label(field, text, 512)?;
    match text.chars().find(|c| !(c.is_ascii_alphanumeric() || "._-/:@".contains(*c))) {
        Some(c) => Err(FieldFault::new(field, format_args!("{c:?} is not allowed in an image name"))),
        None if text.is_empty() || text.starts_with('-') => {
            Err(FieldFault::new(field, "is not an image name"))
        }
        None => Ok(()),
    }
}

/// The network by name: `outside` or `none`.
pub fn network(field: &str, text: &str) -> Result<Network, FieldFault> {
    match text {
        "outside" => Ok(Network::Outside),
        "none" => Ok(Network::None),
        _ => Err(FieldFault::new(
            field,
            format_args!("{:?} is not known; use outside or none", shortened(text)),
        )),
    }
}

/// Limits, with every one that is out of range: `limits.memory_bytes`.
pub fn limits(field: &str, limits: &Limits) -> Result<(), Vec<FieldFault>> {
    limits.check().map_err(|faults| {
        let named =
            |fault: &the0_model::LimitsError| FieldFault::new(format!("{field}.{}", fault.field), fault);
        faults.iter().map(named).collect()
    })
}

/// A BLAKE3 digest in hex.
pub fn digest(field: &str, text: &str) -> Result<(), FieldFault> {
    if text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return Ok(());
    }
    Err(FieldFault::new(field, "is not a BLAKE3 digest: give 64 lowercase hexadecimal digits"))
}

/// Time between SIGTERM and SIGKILL, in milliseconds.
pub fn stop_grace_ms(field: &str, ms: u64) -> Result<(), FieldFault> {
    if ms <= STOP_GRACE_MS_MAX {
        return Ok(());
    }
    Err(FieldFault::new(
        field,
        format_args!("is {ms}; at most {STOP_GRACE_MS_MAX} (milliseconds) is allowed"),
    ))
}

/// More environment: names as a shell accepts them, values without NUL.
pub fn env(field: &str, env: &BTreeMap<String, Secret<String>>) -> Result<(), Vec<FieldFault>> {
    let mut faults = Vec::new();
    if env.len() > ENV_COUNT_MAX {
        let problem = format!("has {} variables; at most {ENV_COUNT_MAX} are allowed", env.len());
        return Err(vec![FieldFault::new(field, problem)]);
    }
    let bytes: usize = env.iter().map(|(name, value)| name.len() + value.expose().len()).sum();
    if bytes > ENV_BYTES_MAX {
        let problem =
            format!("has {bytes} bytes; at most {ENV_BYTES_MAX} are allowed, use the configuration instead");
        faults.push(FieldFault::new(field, problem));
    }
    for (name, value) in env {
        let one = format!("{field}[{:?}]", shortened(name));
        let mut chars = name.chars();
        let first = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        if !first || !chars.all(|c| c.is_ascii_alphanumeric() || c == '_') {
            faults.push(FieldFault::new(&one, "is not a variable name; use letters, digits and `_`"));
        }
        if value.expose().contains('\0') {
            faults.push(FieldFault::new(&one, "has a NUL byte in its value"));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Levels of nesting. The parser has bounded it already, so recursion is safe.
fn depth(map: &Map<String, Value>) -> usize {
    fn of(value: &Value) -> usize {
        match value {
            Value::Array(items) => 1 + items.iter().map(of).max().unwrap_or(0),
            Value::Object(map) => depth(map),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
        }
    }
    1 + map.values().map(of).max().unwrap_or(0)
}

#[cfg(test)]
mod tests;
