//! Pure: a live bot, as stored.
//!
//! The names of the stored fields are the platform's (`contract`: database `bot_runner`, collection `bots`); fields below
//! `runtime` are ours, which the platform ignores.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{BotId, CodeRef, Limits, Network, Runtime, Secret, SegmentId, UnitId, UnitKind, UnitSpec};

/// Default time between SIGTERM and SIGKILL, in milliseconds.
pub const STOP_GRACE_MS_DEFAULT: u64 = 30_000;
/// Longest grace accepted, in milliseconds.
pub const STOP_GRACE_MS_MAX: u64 = 3_600_000;
/// Largest configuration accepted, in bytes of JSON.
pub const CONFIG_BYTES_MAX: usize = 1024 * 1024 + 64 * 1024;

/// Counts the writes of a document, for optimistic locking. A new document has revision 0 until it is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BotRevision(pub i64);

/// A live bot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bot {
    /// Its name; unique.
    pub id: BotId,
    /// The shard it was allocated to.
    pub segment_id: SegmentId,
    /// The user's configuration.
    pub config: Secret<Map<String, Value>>,
    /// The program it is an instance of.
    pub custom: CustomBot,
    /// Root switch; absent means enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// What this runtime adds.
    #[serde(default)]
    pub runtime: RuntimeFields,
    /// Revision of the document that was read.
    #[serde(default)]
    pub revision: BotRevision,
}

/// The program a bot is an instance of.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CustomBot {
    /// Version, `x.y.z`.
    pub version: String,
    /// What its author declared.
    pub config: CustomBotConfig,
    /// Key of the bundle in the code bucket, or a whole URL. Older documents say `gcsPath`.
    #[serde(alias = "gcsPath")]
    pub file_path: String,
    /// Free text; kept as it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// Free text; kept as it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<String>,
}

/// What the author of a program declared. Fields we do not use are kept as they came.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CustomBotConfig {
    /// Name of the program.
    pub name: String,
    /// Runtime, by name; absent if empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub runtime: String,
    /// Files to run: `bot`, and perhaps `query` and `backtest`.
    pub entrypoints: BTreeMap<String, String>,
    /// Everything else.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// What this runtime stores beside the platform's own fields.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RuntimeFields {
    /// BLAKE3 of the bundle in hex, where it was deployed through us.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code_digest: Option<String>,
    /// Limits; absent means the defaults.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// More environment.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Secret<String>>,
    /// Network; absent means the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// Image in place of the runtime's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Time between SIGTERM and SIGKILL, in milliseconds; absent means the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_grace_ms: Option<u64>,
    /// How often an operator asked for a restart.
    pub restarts_requested: u64,
}

/// Why a stored bot cannot be turned into a unit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BotError {
    /// The runtime is missing or unknown.
    #[error("custom.config.runtime: {0}")]
    Runtime(#[from] crate::UnknownRuntime),
    /// There is no entrypoint and the runtime has no default.
    #[error("custom.config.entrypoints.bot is missing, and {runtime} has no default")]
    NoEntrypoint {
        /// The runtime.
        runtime: Runtime,
    },
}

impl Bot {
    /// Whether it should run: root `enabled` false, or `config.enabled` false, "false", "0" or 0 disables it;
    /// anything else, and absence, enables it.
    pub fn is_enabled(&self) -> bool {
        let by_config = match self.config.expose().get("enabled") {
            Some(Value::Bool(flag)) => *flag,
            Some(Value::String(text)) => text != "false" && text != "0",
            Some(Value::Number(number)) => number.as_f64() != Some(0.0),
            Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => true,
        };
        self.enabled != Some(false) && by_config
    }

    /// Everything needed to run it.
    pub fn unit_spec(&self) -> Result<UnitSpec, BotError> {
        let runtime: Runtime = self.custom.config.runtime.parse()?;
        let named = self.custom.config.entrypoints.get("bot").map(String::as_str);
        let entrypoint = named
            .filter(|text| !text.is_empty())
            .or(runtime.default_entrypoint())
            .ok_or(BotError::NoEntrypoint { runtime })?;
        Ok(UnitSpec {
            id: UnitId::bot(&self.id),
            kind: UnitKind::Service,
            runtime,
            entrypoint: entrypoint.to_owned(),
            code: CodeRef {
                location: self.custom.file_path.clone(),
                version: self.custom.version.clone(),
                digest: self.runtime.code_digest.clone(),
            },
            config: Secret::new(Value::Object(self.config.expose().clone())),
            env: self.runtime.env.clone(),
            limits: self.runtime.limits.clone().unwrap_or_default(),
            network: self.runtime.network.unwrap_or_default(),
            image: self.runtime.image.clone(),
            stop_grace_ms: self.runtime.stop_grace_ms.unwrap_or(STOP_GRACE_MS_DEFAULT),
            restarts_requested: self.runtime.restarts_requested,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn bot(document: Value) -> Bot {
        serde_json::from_value(document).unwrap()
    }

    fn platform_document() -> Value {
        json!({
            "id": "bot-123", "segment_id": 1,
            "config": {"apiKey": "k", "threshold": 0.95, "version": "1.0.0"},
            "custom": {
                "version": "1.0.0", "filePath": "user/my-bot/1.0.0",
                "createdAt": "2026-01-01T00:00:00.000Z", "updatedAt": "2026-01-01T00:00:00.000Z",
                "config": {"name": "my-bot", "runtime": "python3.11", "version": "1.0.0", "author": "a",
                           "type": "realtime/sma", "entrypoints": {"bot": "main.py"}, "schema": {}}
            }
        })
    }

    #[test]
    fn the_platforms_document_is_read_and_written_back_whole() {
        let read = bot(platform_document());
        let spec = read.unit_spec().unwrap();
        assert_eq!(spec.entrypoint, "main.py");
        assert_eq!(spec.code.location, "user/my-bot/1.0.0");
        let mut written = serde_json::to_value(&read).unwrap();
        let ours = written.as_object_mut().unwrap();
        ours.remove("runtime");
        ours.remove("revision");
        assert_eq!(written, platform_document());
    }

    #[test]
    fn enabled_follows_the_platforms_many_spellings() {
        let with = |root: Option<bool>, config: Option<Value>| {
            let mut read = bot(platform_document());
            read.enabled = root;
            if let Some(value) = config {
                let mut map = read.config.expose().clone();
                map.insert("enabled".into(), value);
                read.config = Secret::new(map);
            }
            read.is_enabled()
        };
        assert!(with(None, None) && with(Some(true), None) && with(None, Some(json!("yes"))));
        assert!(with(None, Some(Value::Null)) && with(None, Some(json!(1))));
        for off in [json!(false), json!("false"), json!("0"), json!(0), json!(0.0)] {
            assert!(!with(None, Some(off.clone())), "{off}");
            assert!(!with(Some(true), Some(off)));
        }
        assert!(!with(Some(false), None) && !with(Some(false), Some(json!(true))));
    }

    #[test]
    fn a_bot_without_a_known_runtime_or_entrypoint_says_which_field() {
        let mut document = platform_document();
        document["custom"]["config"]["runtime"] = json!("cobol");
        let error = bot(document.clone()).unit_spec().unwrap_err().to_string();
        assert!(error.contains("custom.config.runtime") && error.contains("cobol"), "{error}");
        document["custom"]["config"]["runtime"] = json!("gcc13");
        document["custom"]["config"]["entrypoints"] = json!({});
        let error = bot(document).unit_spec().unwrap_err().to_string();
        assert!(error.contains("entrypoints.bot"), "{error}");
    }
}
