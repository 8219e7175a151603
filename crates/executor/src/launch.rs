//! Pure: what a unit sees and is told, the same for every executor.

use std::path::PathBuf;

use the0_core::Owner;
use the0_model::{AgentSpec, BotId, UnitId, UnitSpec, agent::path};

/// The agent's command line inside a unit.
pub const COMMAND: [&str; 2] = [path::AGENT, "execute"];

/// Host name inside a unit.
pub const HOSTNAME: &str = "unit";

/// One folder of the machine, shown to a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where it is on the machine.
    pub source: PathBuf,
    /// Where the unit sees it.
    pub target: &'static str,
    /// Whether the unit may write to it.
    pub writable: bool,
}

/// Where the parts of one attempt are on the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// The agent and the wrappers.
    pub tools: PathBuf,
    /// The unpacked bundle.
    pub code: PathBuf,
    /// What the unit keeps.
    pub state: PathBuf,
    /// What the agent is told.
    pub input: PathBuf,
    /// What the agent writes.
    pub attempt: PathBuf,
    /// What the bot writes.
    pub out: PathBuf,
}

/// The folders a unit sees, in the order they are mounted.
pub fn mounts(parts: &Parts) -> Vec<Mount> {
    let mount = |source: &PathBuf, target, writable| Mount { source: source.clone(), target, writable };
    vec![
        mount(&parts.tools, path::WRAPPERS, false),
        mount(&parts.code, path::CODE, false),
        mount(&parts.state, path::STATE, true),
        mount(&parts.input, path::INPUT, false),
        mount(&parts.attempt, path::ATTEMPT, true),
        mount(&parts.out, path::OUT, true),
    ]
}

/// What an executor decides about the agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentOptions {
    /// Interpreter in place of the one found by name on `PATH`.
    pub interpreter: Option<String>,
    /// User and group the agent gives the bot's process. `None` if the agent itself already runs as that user.
    pub run_as_inside: Option<(u32, u32)>,
    /// Whether the lease file must be obeyed.
    pub leased: bool,
    /// Most processes of the bot's user, where no control group counts them.
    pub processes: Option<u32>,
}

/// What the agent is told of one attempt.
pub fn agent_spec(
    spec: &UnitSpec,
    owner: &Owner,
    agent: AgentOptions,
    attempt: u64,
    resumed: bool,
) -> Option<AgentSpec> {
    Some(AgentSpec {
        unit: spec.id.clone(),
        bot: bot_of(&spec.id)?,
        runtime: spec.runtime,
        entrypoint: spec.entrypoint.clone(),
        interpreter: agent.interpreter,
        env: spec.env.clone(),
        limits: spec.limits.clone(),
        stop_grace_ms: spec.stop_grace_ms,
        attempt,
        resumed,
        generation: owner.generation,
        run_as: agent.run_as_inside,
        leased: agent.leased,
        processes: agent.processes,
    })
}

/// The first name after the kind: `run/b1/1700` runs bot `b1`.
fn bot_of(unit: &UnitId) -> Option<BotId> {
    BotId::new(unit.as_str().split('/').nth(1)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_input_and_tools_are_read_only() {
        let parts = Parts {
            tools: "/d/tools".into(),
            code: "/d/code".into(),
            state: "/d/state".into(),
            input: "/d/in".into(),
            attempt: "/d/attempt".into(),
            out: "/d/out".into(),
        };
        let writable: Vec<_> =
            mounts(&parts).into_iter().filter(|mount| mount.writable).map(|mount| mount.target).collect();
        assert_eq!(writable, ["/state", "/var/the0/attempt", "/var/the0/out"]);
    }

    #[test]
    fn a_unit_knows_its_bot() {
        for unit in ["bot/b1", "run/b1/1700", "backtest/b1"] {
            assert_eq!(bot_of(&UnitId::new(unit).unwrap()).unwrap().as_str(), "b1");
        }
    }
}
