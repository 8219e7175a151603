//! Pure: the command line of each runtime.

use std::path::{Path, PathBuf};

use the0_model::{AgentSpec, Runtime};

use crate::{AgentPaths, wrappers};

/// What to execute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Launch {
    /// A name to be looked up on `PATH`, or a path.
    pub(crate) program: String,
    /// Its arguments.
    pub(crate) args: Vec<String>,
    /// File of ours that must exist.
    pub(crate) wrapper: Option<PathBuf>,
}

/// The command line for `spec`. Nothing passes through a shell, so no character of an entrypoint has a meaning.
pub(crate) fn launch(spec: &AgentSpec, paths: &AgentPaths) -> Launch {
    let entrypoint = spec.entrypoint.as_str();
    let interpreter = |name: &str| spec.interpreter.clone().unwrap_or_else(|| name.to_owned());
    let plain = |name: &str, args: &[&str]| Launch {
        program: interpreter(name),
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
        wrapper: None,
    };
    match spec.runtime {
        Runtime::Python311 => {
            let wrapper = paths.wrappers.join(wrappers::PYTHON.file);
            let args = vec!["-u".to_owned(), text(&wrapper)];
            Launch { program: interpreter("python3"), args, wrapper: Some(wrapper) }
        }
        Runtime::Nodejs20 => {
            let wrapper = paths.wrappers.join(wrappers::NODE.file);
            Launch { program: interpreter("node"), args: vec![text(&wrapper)], wrapper: Some(wrapper) }
        }
        Runtime::RustStable | Runtime::Gcc13 | Runtime::Ghc96 => {
            Launch { program: text(&paths.code.join(entrypoint)), args: vec![], wrapper: None }
        }
        Runtime::Dotnet8 if is_dll(entrypoint) => plain("dotnet", &[entrypoint]),
        Runtime::Dotnet8 => plain("dotnet", &["run", "--project", entrypoint]),
        Runtime::Scala3 => match entrypoint.rsplit_once(':') {
            Some((jar, main)) => plain("java", &["-cp", jar, main]),
            None => plain("java", &["-jar", entrypoint]),
        },
    }
}

fn is_dll(entrypoint: &str) -> bool {
    Path::new(entrypoint).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("dll"))
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use the0_model::{BotId, Generation, Limits, UnitId};

    use super::*;

    pub(crate) fn spec(runtime: Runtime, entrypoint: &str) -> AgentSpec {
        let bot = BotId::new("b1").unwrap();
        AgentSpec {
            unit: UnitId::bot(&bot),
            bot,
            runtime,
            entrypoint: entrypoint.into(),
            interpreter: None,
            env: BTreeMap::new(),
            limits: Limits::default(),
            stop_grace_ms: 30_000,
            attempt: 3,
            resumed: true,
            generation: Generation { term: 4, step: 2 },
            run_as: None,
            leased: false,
            processes: None,
        }
    }

    fn line(runtime: Runtime, entrypoint: &str) -> String {
        let launch = launch(&spec(runtime, entrypoint), &AgentPaths::default());
        format!("{} {:?}", launch.program, launch.args)
    }

    #[test]
    fn every_runtime_has_its_command_line() {
        let lines: Vec<_> = [
            (Runtime::Python311, "main.py"),
            (Runtime::Nodejs20, "main.js"),
            (Runtime::RustStable, "target/bot"),
            (Runtime::Gcc13, "bot"),
            (Runtime::Ghc96, "bot"),
            (Runtime::Dotnet8, "Bot.dll"),
            (Runtime::Dotnet8, "Bot.csproj"),
            (Runtime::Scala3, "bot.jar"),
            (Runtime::Scala3, "bot.jar:com.example.Main"),
        ]
        .into_iter()
        .map(|(runtime, entrypoint)| format!("{runtime}: {}", line(runtime, entrypoint)))
        .collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        python3.11: python3 ["-u", "/the0/python_bot.py"]
        nodejs20: node ["/the0/node_bot.mjs"]
        rust-stable: /bot/target/bot []
        gcc13: /bot/bot []
        ghc96: /bot/bot []
        dotnet8: dotnet ["Bot.dll"]
        dotnet8: dotnet ["run", "--project", "Bot.csproj"]
        scala3: java ["-jar", "bot.jar"]
        scala3: java ["-cp", "bot.jar", "com.example.Main"]
        "#);
    }

    #[test]
    fn a_probed_interpreter_is_used_and_natives_need_none() {
        let with = |runtime, entrypoint| {
            let spec = AgentSpec { interpreter: Some("/opt/x".into()), ..spec(runtime, entrypoint) };
            launch(&spec, &AgentPaths::default()).program
        };
        assert_eq!(with(Runtime::Python311, "main.py"), "/opt/x");
        assert_eq!(with(Runtime::Scala3, "a.jar"), "/opt/x");
        assert_eq!(with(Runtime::Gcc13, "bot"), "/bot/bot");
    }
}
