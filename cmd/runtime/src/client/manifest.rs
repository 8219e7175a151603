//! Pure: `bot.yaml`, what a bot's author says of it.

use std::{collections::BTreeMap, fmt};

use serde::Deserialize;
use serde_json::{Map, Value};
use the0_model::Secret;

/// Name of the file in a bot's directory.
pub(super) const FILE: &str = "bot.yaml";

/// What a bot's author says of it. Values are checked by the service; here only the form is.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Manifest {
    /// Name of the program, and of the bot unless another is given.
    pub(super) name: String,
    /// Version.
    pub(super) version: String,
    /// Language.
    pub(super) runtime: String,
    /// Kind: `realtime/sma`.
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// Files to run.
    pub(super) entrypoints: Entrypoints,
    /// Configuration. Absent, a bot that exists keeps the one it has.
    pub(super) config: Option<Secret<Map<String, Value>>>,
    /// Limits.
    pub(super) limits: ManifestLimits,
    /// `outside` or `none`.
    pub(super) network: String,
    /// More environment.
    pub(super) env: BTreeMap<String, Secret<String>>,
    /// Image in place of the runtime's own.
    pub(super) image: String,
    /// Time between SIGTERM and SIGKILL, in milliseconds.
    pub(super) stop_grace_ms: u64,
}

/// Files to run, relative to the directory.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Entrypoints {
    /// The bot.
    pub(super) bot: String,
    /// Answers queries.
    pub(super) query: String,
    /// Runs backtests.
    pub(super) backtest: String,
}

/// What the bot may use. Zero means the default.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ManifestLimits {
    /// Memory in MiB.
    pub(super) memory_mb: u64,
    /// CPU in thousandths of a core.
    pub(super) cpu_millis: u32,
    /// Processes and threads.
    pub(super) pids: u32,
    /// Size of /tmp in MiB.
    pub(super) tmp_mb: u64,
    /// Output kept per attempt in MiB.
    pub(super) log_mb: u64,
    /// Largest file in MiB.
    pub(super) file_mb: u64,
    /// Open files per process.
    pub(super) open_files: u32,
}

/// A manifest that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ManifestError(String);

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{FILE}: {}", self.0)
    }
}

/// Reads the text of a manifest. An unknown key is an error that says its line.
pub(super) fn parse(text: &str) -> Result<Manifest, ManifestError> {
    let manifest: Manifest =
        serde_saphyr::from_str(text).map_err(|error| ManifestError(error.to_string()))?;
    for (key, value) in [("name", &manifest.name), ("runtime", &manifest.runtime)] {
        if value.is_empty() {
            return Err(ManifestError(format!("{key} is missing")));
        }
    }
    Ok(manifest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_manifest_is_read() {
        let text =
            include_str!("../init/bot.yaml").replace("{name}", "b1").replace("{runtime}", "python3.11");
        let manifest = parse(&text.replace("{entrypoint}", "main.py")).unwrap();
        assert_eq!((manifest.name.as_str(), manifest.version.as_str()), ("b1", "0.1.0"));
        assert_eq!(manifest.entrypoints.bot, "main.py");
        assert_eq!(manifest.limits.memory_mb, 128);
        assert_eq!(manifest.config.unwrap().expose()["interval_seconds"], 1);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let error = parse("name: a\nruntime: python3.11\nentrypoint: main.py\n").unwrap_err().to_string();
        assert!(error.contains("entrypoint") && error.contains("line 3"), "{error}");
        let error = parse("name: a\nruntime: python3.11\nlimits:\n  memory: 5\n").unwrap_err().to_string();
        assert!(error.contains("memory") && error.contains("line 4"), "{error}");
    }

    #[test]
    fn a_manifest_needs_a_name_and_a_runtime() {
        assert!(parse("runtime: python3.11\n").unwrap_err().to_string().contains("name is missing"));
        assert!(parse("name: x\n").unwrap_err().to_string().contains("runtime is missing"));
    }
}
