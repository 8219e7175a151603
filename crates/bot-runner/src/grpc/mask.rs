//! Pure: configurations as they may be shown.
//!
//! Every text is masked, because any of them may be a key; numbers and switches are shown, because an operator needs them
//! and keys are texts, except below a name that itself speaks of a secret.

use serde_json::{Map, Value};

use crate::fields::MASK;

/// Parts of names that speak of a secret. Compared without case, `_` and `-`.
const SECRET_NAMES: [&str; 12] = [
    "secret",
    "password",
    "passwd",
    "passphrase",
    "token",
    "apikey",
    "privatekey",
    "credential",
    "mnemonic",
    "seed",
    "auth",
    "pin",
];

/// The configuration with its secrets hidden.
pub(super) fn mask(config: &Map<String, Value>) -> Map<String, Value> {
    config
        .iter()
        .map(|(name, value)| {
            let shown = if speaks_of_a_secret(name) { hide(value) } else { texts(value) };
            (name.clone(), shown)
        })
        .collect()
}

fn texts(value: &Value) -> Value {
    match value {
        Value::String(_) => Value::from(MASK),
        Value::Array(items) => items.iter().map(texts).collect(),
        Value::Object(map) => Value::Object(mask(map)),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn hide(value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            Value::from(MASK)
        }
    }
}

fn speaks_of_a_secret(name: &str) -> bool {
    let plain: String =
        name.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect();
    // `pin` and `seed` are parts of harmless words ("spinner"), so they count as whole names only.
    SECRET_NAMES.iter().any(|word| if word.len() <= 4 { plain == *word } else { plain.contains(word) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_text_and_nothing_below_a_secret_name_is_shown() {
        let Value::Object(config) = json!({
            "apiKey": "canary", "threshold": 0.5, "live": true, "symbols": ["canary", 1], "empty": null,
            "exchange": {"name": "canary", "api_secret": {"parts": [1, 2]}, "retries": 3, "PIN": 1234}, "spinner": 7,
        }) else {
            unreachable!("it is an object")
        };
        let shown = Value::Object(mask(&config));
        assert!(!shown.to_string().contains("canary"), "{shown}");
        assert_eq!(
            shown,
            json!({
                "apiKey": "***", "threshold": 0.5, "live": true, "symbols": ["***", 1], "empty": null,
                "exchange": {"name": "***", "api_secret": "***", "retries": 3, "PIN": "***"}, "spinner": 7,
            })
        );
    }
}
