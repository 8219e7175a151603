//! Pure: what an executor tells the agent, and where things are inside a unit.
//!
//! The executor writes [`AgentSpec`] to `unit.json` and the configuration to `config.json` in a directory only the unit
//! can read, so that neither `docker inspect` nor `ps` shows a key. Paths are the same in every executor.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{BotId, Generation, Limits, Runtime, Secret, UnitId};

/// Where things are inside a unit.
pub mod path {
    /// Read-only: the `runtime` binary (the agent, PID 1).
    pub const AGENT: &str = "/the0/runtime";
    /// Read-only: `python_bot.py`, `node_bot.mjs`.
    pub const WRAPPERS: &str = "/the0";
    /// Read-only: `unit.json` and `config.json`.
    pub const INPUT: &str = "/var/the0/in";
    /// Read-only: the unit's specification.
    pub const UNIT_JSON: &str = "/var/the0/in/unit.json";
    /// Read-only: the bot's configuration alone, as JSON.
    pub const CONFIG_JSON: &str = "/var/the0/in/config.json";
    /// Written by the agent: `output.log`, `output.1.log`, `status.json`, `exit.json`.
    pub const ATTEMPT: &str = "/var/the0/attempt";
    /// Written by the bot: `result.json`. `CODE_MOUNT_DIR` names it (without the leading slash), because the platform's
    /// SDKs write their result to `/<CODE_MOUNT_DIR>/result.json` and the code itself is read-only.
    pub const OUT: &str = "/var/the0/out";
    /// Read-only: the unpacked bundle; also the working directory.
    pub const CODE: &str = "/bot";
    /// Kept across attempts: the bot's own state. The SDKs use `.the0-state` below it.
    pub const STATE: &str = "/state";
    /// Read-only directory with the worker's lease file, in cluster mode.
    pub const LEASE_FILE: &str = "/var/the0/lease/lease.json";
}

/// Names of the files in an attempt's directory.
pub mod file {
    /// Current output.
    pub const OUTPUT: &str = "output.log";
    /// Older output, after rotation.
    pub const OUTPUT_OLD: &str = "output.1.log";
    /// [`AgentStatus`](super::AgentStatus), written once the bot's process runs.
    pub const STATUS: &str = "status.json";
    /// [`Exit`](crate::Exit), written once, atomically, when the attempt has ended.
    pub const EXIT: &str = "exit.json";
}

/// What the agent needs to know to run one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentSpec {
    /// The unit.
    pub unit: UnitId,
    /// `BOT_ID` of the user's process.
    pub bot: BotId,
    /// Language.
    pub runtime: Runtime,
    /// File (or `jar:Class`) in the bundle.
    pub entrypoint: String,
    /// Interpreter or program to use in place of the one found by name on `PATH` (sandbox: the one that was probed).
    pub interpreter: Option<String>,
    /// More environment for the user's process.
    pub env: BTreeMap<String, Secret<String>>,
    /// Limits the agent itself applies: open files, file size, kept output.
    pub limits: Limits,
    /// Time between SIGTERM and SIGKILL, in milliseconds.
    pub stop_grace_ms: u64,
    /// Number of this attempt, from 1.
    pub attempt: u64,
    /// Whether an earlier attempt ran, so that there may be state and open orders: `RUN_RESUMED`.
    pub resumed: bool,
    /// Grant under which this attempt runs: `RUN_GENERATION`.
    pub generation: Generation,
    /// User and group of the bot's process, where the agent is root and must not share its user with the bot.
    pub run_as: Option<(u32, u32)>,
    /// Whether the lease file must be obeyed (cluster mode).
    pub leased: bool,
    /// Most processes and threads of the bot's user, where no control group counts them. The kernel counts them by user
    /// *and* user namespace, so this must be set inside the unit: outside, all of the user's programs would count.
    #[serde(default)]
    pub processes: Option<u32>,
}

/// What the agent says while the bot runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStatus {
    /// Process id of the bot, inside its own process namespace.
    pub bot_pid: i32,
    /// When it was started.
    pub started_at: jiff::Timestamp,
}
