//! Where the agent finds and leaves things.

use std::path::{Path, PathBuf};

use the0_model::agent::{file, path};

/// Directories and files of one unit, as seen from inside it.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct AgentPaths {
    /// Directory with `unit.json` and `config.json`.
    #[arg(long = "input-dir", hide = true, default_value = path::INPUT)]
    pub input: PathBuf,
    /// Directory the agent writes output, status and exit to.
    #[arg(long = "attempt-dir", hide = true, default_value = path::ATTEMPT)]
    pub attempt: PathBuf,
    /// Directory the bot leaves `result.json` in.
    #[arg(long = "out-dir", hide = true, default_value = path::OUT)]
    pub out: PathBuf,
    /// The unpacked bundle; the bot's working directory.
    #[arg(long = "code-dir", hide = true, default_value = path::CODE)]
    pub code: PathBuf,
    /// The bot's own state.
    #[arg(long = "state-dir", hide = true, default_value = path::STATE)]
    pub state: PathBuf,
    /// Directory with the language wrappers.
    #[arg(long = "wrappers-dir", hide = true, default_value = path::WRAPPERS)]
    pub wrappers: PathBuf,
    /// The worker's lease file.
    #[arg(long = "lease-file", hide = true, default_value = path::LEASE_FILE)]
    pub lease_file: PathBuf,
}

impl Default for AgentPaths {
    fn default() -> Self {
        Self {
            input: path::INPUT.into(),
            attempt: path::ATTEMPT.into(),
            out: path::OUT.into(),
            code: path::CODE.into(),
            state: path::STATE.into(),
            wrappers: path::WRAPPERS.into(),
            lease_file: path::LEASE_FILE.into(),
        }
    }
}

impl AgentPaths {
    /// The unit's specification.
    pub(crate) fn unit_json(&self) -> PathBuf {
        self.input.join(name_of(path::UNIT_JSON))
    }

    /// The bot's configuration.
    pub(crate) fn config_json(&self) -> PathBuf {
        self.input.join(name_of(path::CONFIG_JSON))
    }

    /// What the bot says of its own end.
    pub(crate) fn result_json(&self) -> PathBuf {
        self.out.join("result.json")
    }

    /// What the agent says while the bot runs.
    pub(crate) fn status_json(&self) -> PathBuf {
        self.attempt.join(file::STATUS)
    }

    /// What the agent says at the end.
    pub(crate) fn exit_json(&self) -> PathBuf {
        self.attempt.join(file::EXIT)
    }
}

fn name_of(path: &str) -> &Path {
    Path::new(path.rsplit('/').next().unwrap_or(path))
}

/// Runs one attempt of one unit inside its container or sandbox. Started by the executors, not by people.
#[derive(Debug, Clone, PartialEq, Eq, Default, clap::Args)]
pub struct ExecuteArgs {
    /// Where things are; the same in every unit, other in tests.
    #[command(flatten)]
    pub paths: AgentPaths,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: ExecuteArgs,
    }

    #[test]
    fn without_arguments_the_paths_of_a_unit_are_used() {
        let args = Cli::parse_from(["execute"]).args;
        assert_eq!(args, ExecuteArgs::default());
        assert_eq!(args.paths.unit_json(), Path::new(path::UNIT_JSON));
        assert_eq!(args.paths.config_json(), Path::new(path::CONFIG_JSON));
    }

    #[test]
    fn every_path_can_be_given() {
        let args = Cli::parse_from([
            "execute",
            "--input-dir=/i",
            "--attempt-dir=/a",
            "--out-dir=/o",
            "--code-dir=/c",
            "--state-dir=/s",
            "--wrappers-dir=/w",
            "--lease-file=/l",
        ]);
        let paths = args.args.paths;
        assert_eq!(paths.unit_json(), Path::new("/i/unit.json"));
        assert_eq!(paths.exit_json(), Path::new("/a/exit.json"));
        assert_eq!(paths.result_json(), Path::new("/o/result.json"));
        assert_eq!((paths.code, paths.state), ("/c".into(), "/s".into()));
        assert_eq!((paths.wrappers, paths.lease_file), ("/w".into(), "/l".into()));
    }
}
