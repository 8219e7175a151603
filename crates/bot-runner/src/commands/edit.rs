//! Pure: the edits behind the verbs, each from a bot to a bot.

use serde_json::{Map, Value};
use the0_model::{Bot, Secret, bot::CONFIG_BYTES_MAX};

use super::CommandError;
use crate::{FieldFault, fields};

/// A change of a configuration.
#[derive(Debug, Clone)]
pub enum ConfigChange {
    /// This in place of what is there.
    Replace(Secret<Map<String, Value>>),
    /// This merged into what is there, object by object (RFC 7396): a null deletes a key.
    Merge(Secret<Map<String, Value>>),
}

impl ConfigChange {
    /// From JSON text.
    pub fn parse(field: &str, text: &str, merge: bool) -> Result<Self, FieldFault> {
        let map = Secret::new(fields::config(field, text)?);
        Ok(if merge { Self::Merge(map) } else { Self::Replace(map) })
    }
}

/// The bot with its configuration changed.
pub(super) fn config(bot: &Bot, change: &ConfigChange) -> Result<Bot, CommandError> {
    let config = match change {
        ConfigChange::Replace(config) => config.clone(),
        ConfigChange::Merge(patch) => {
            let mut config = bot.config.expose().clone();
            merge(&mut config, patch.expose());
            // Each patch is small enough, but many of them together need not be.
            let bytes = serde_json::to_vec(&config).map_or(usize::MAX, |text| text.len());
            if bytes > CONFIG_BYTES_MAX {
                let problem =
                    format!("would have {bytes} bytes once merged; at most {CONFIG_BYTES_MAX} are allowed");
                return Err(FieldFault::new("config_json", problem).into());
            }
            Secret::new(config)
        }
    };
    Ok(Bot { config, ..bot.clone() })
}

/// The bot switched on or off.
pub(super) fn enabled(bot: &Bot, enabled: bool) -> Bot {
    let mut bot = bot.clone();
    if bot.is_enabled() == enabled {
        return bot;
    }
    bot.enabled = Some(enabled);
    if enabled && !bot.is_enabled() {
        // The configuration switches it off as well. Left alone, "enable" would do nothing.
        let mut config = bot.config.into_exposed();
        config.remove("enabled");
        bot.config = Secret::new(config);
    }
    bot
}

/// The bot with another specification that means the same.
pub(super) fn restart(bot: &Bot) -> Bot {
    let mut bot = bot.clone();
    bot.runtime.restarts_requested += 1;
    bot
}

fn merge(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (key, value) in patch {
        match (value, target.get_mut(key)) {
            (Value::Null, _) => {
                target.remove(key);
            }
            (Value::Object(patch), Some(Value::Object(inner))) => merge(inner, patch),
            (Value::Object(patch), _) => {
                // Merged into nothing rather than copied, so that its nulls vanish as well.
                let mut inner = Map::new();
                merge(&mut inner, patch);
                target.insert(key.clone(), Value::Object(inner));
            }
            (other, _) => {
                target.insert(key.clone(), other.clone());
            }
        }
    }
}
