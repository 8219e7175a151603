//! Finds the interpreters of this machine, by asking them: what is on `PATH` may be a script that chooses one.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use futures::future::join_all;
use the0_model::Runtime;
use tokio::{process::Command, time::timeout};

/// Longest wait for an interpreter to say what it is. Virtual machines take a second on a cold machine.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// An interpreter that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interpreter {
    /// The real program.
    pub(super) program: PathBuf,
    /// Its version.
    pub(super) version: String,
    /// What units must see besides `/usr` to run it.
    pub(super) needs: Vec<PathBuf>,
}

/// Interpreters by runtime; for those without one, why.
pub(super) type Interpreters = BTreeMap<Runtime, Result<Interpreter, String>>;

/// Looks for the interpreters on `search_path`, all at once.
pub(super) async fn find(search_path: &OsStr) -> Interpreters {
    let interpreted = [Runtime::Python311, Runtime::Nodejs20, Runtime::Scala3, Runtime::Dotnet8];
    let found = join_all(interpreted.map(|runtime| find_one(runtime, search_path))).await;
    interpreted.into_iter().zip(found).collect()
}

async fn find_one(runtime: Runtime, search_path: &OsStr) -> Result<Interpreter, String> {
    let (names, question, wanted): (&[&str], &[&str], &str) = match runtime {
        Runtime::Python311 => (
            &["python3.11", "python3", "python3.14", "python3.13", "python3.12"],
            &["-I", "-c", PYTHON_QUESTION],
            "Python 3.11 (Debian, Ubuntu: `apt-get install python3`)",
        ),
        Runtime::Nodejs20 => (
            &["node", "nodejs"],
            &["-p", "[process.execPath, process.versions.node].join('\\n')"],
            "Node.js 20 (https://nodejs.org, or `apt-get install nodejs`)",
        ),
        Runtime::Scala3 => (
            &["java"],
            &["-XshowSettings:properties", "-version"],
            "a Java runtime 17 (Debian, Ubuntu: `apt-get install default-jre-headless`)",
        ),
        Runtime::Dotnet8 => (&["dotnet"], &["--list-runtimes"], ".NET 8"),
        Runtime::RustStable | Runtime::Gcc13 | Runtime::Ghc96 => return Err("runs without one".to_owned()),
    };
    let mut last = None;
    for program in on_path(names, search_path) {
        match ask(&program, question).await.and_then(|said| understand(runtime, &said)) {
            Ok(found) => return Ok(found),
            Err(reason) => last = Some(format!("{}: {reason}", program.display())),
        }
    }
    let more = last.map(|reason| format!(" ({reason})")).unwrap_or_default();
    Err(format!("{wanted} was not found on PATH{more}; install it, or run with `--executor docker`"))
}

const PYTHON_QUESTION: &str = "import os, sys\n\
    print(os.path.realpath(sys.executable), sys.base_prefix, '.'.join(map(str, sys.version_info[:3])), sep='\\n')";

fn on_path(names: &[&str], search_path: &OsStr) -> Vec<PathBuf> {
    let folders: Vec<PathBuf> =
        std::env::split_paths(search_path).filter(|path| path.is_absolute()).collect();
    let mut found = Vec::new();
    for name in names {
        found.extend(folders.iter().map(|folder| folder.join(name)).filter(|path| path.is_file()));
    }
    found
}

async fn ask(program: &Path, question: &[&str]) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(question).stdin(Stdio::null()).kill_on_drop(true);
    let said = timeout(ANSWER_WITHIN, command.output())
        .await
        .map_err(|_| format!("did not say what it is within {ANSWER_WITHIN:?}"))?
        .map_err(|error| error.to_string())?;
    if !said.status.success() {
        return Err(format!("does not start ({})", said.status));
    }
    // Java answers on the error stream.
    Ok(format!("{}\n{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr)))
}

/// What an interpreter said of itself.
fn understand(runtime: Runtime, said: &str) -> Result<Interpreter, String> {
    let mut lines = said.lines();
    let mut line =
        || lines.next().map(str::trim).filter(|line| !line.is_empty()).ok_or("says nothing of itself");
    let found = match runtime {
        Runtime::Python311 => {
            let (program, prefix, version) =
                (PathBuf::from(line()?), PathBuf::from(line()?), line()?.to_owned());
            let needs = outside_usr(&prefix, &program)?;
            Interpreter { program, version, needs }
        }
        Runtime::Nodejs20 => {
            let (program, version) = (PathBuf::from(line()?), line()?.to_owned());
            // It holds all it needs in one file.
            let needs = if program.starts_with("/usr") { vec![] } else { vec![program.clone()] };
            Interpreter { program, version, needs }
        }
        Runtime::Scala3 => {
            let home = PathBuf::from(property(said, "java.home")?);
            let version = property(said, "java.version")?.to_owned();
            let program = home.join("bin/java");
            Interpreter { needs: outside_usr(&home, &program)?, program, version }
        }
        Runtime::Dotnet8 => {
            let found = said.lines().find_map(|line| {
                let rest = line.strip_prefix("Microsoft.NETCore.App 8.")?;
                let (version, folder) = rest.split_once(" [")?;
                let root = Path::new(folder.trim_end_matches(']')).ancestors().nth(2)?;
                Some((format!("8.{version}"), root.to_path_buf()))
            });
            let (version, root) = found.ok_or("has no runtime of version 8")?;
            let program = root.join("dotnet");
            Interpreter { needs: outside_usr(&root, &program)?, program, version }
        }
        Runtime::RustStable | Runtime::Gcc13 | Runtime::Ghc96 => return Err("runs without one".to_owned()),
    };
    let least = match runtime {
        Runtime::Python311 => (3, 11),
        Runtime::Nodejs20 => (20, 0),
        Runtime::Scala3 => (17, 0),
        Runtime::Dotnet8 | Runtime::RustStable | Runtime::Gcc13 | Runtime::Ghc96 => (8, 0),
    };
    match numbers(&found.version) {
        Some(version) if version >= least => Ok(found),
        _ => Err(format!("is version {}, older than {}.{}", found.version, least.0, least.1)),
    }
}

/// The folder an interpreter was installed in, if units do not see it anyway.
///
/// A home directory is never shown to units, even if an interpreter was installed right into it.
fn outside_usr(prefix: &Path, program: &Path) -> Result<Vec<PathBuf>, String> {
    if prefix.starts_with("/usr") && program.starts_with("/usr") {
        return Ok(vec![]);
    }
    let personal = [".ssh", ".bashrc", ".profile", ".bash_history", ".config"];
    if prefix.components().count() < 2 || personal.iter().any(|name| prefix.join(name).exists()) {
        return Err(format!("is installed right into {}, which is not shown to bots", prefix.display()));
    }
    let mut needs = vec![prefix.to_path_buf()];
    if !program.starts_with(prefix) {
        needs.push(program.to_path_buf());
    }
    needs.retain(|path| !path.starts_with("/usr"));
    Ok(needs)
}

fn property<'a>(said: &'a str, name: &'static str) -> Result<&'a str, String> {
    said.lines()
        .find_map(|line| line.trim().strip_prefix(name)?.trim_start().strip_prefix('='))
        .map(str::trim)
        .ok_or_else(|| format!("does not say its {name}"))
}

fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split(['.', '-', '+']);
    let major = parts.next()?.parse().ok()?;
    Some((major, parts.next().and_then(|part| part.parse().ok()).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_interpreters_say_is_understood() {
        let python = understand(Runtime::Python311, "/usr/bin/python3.11\n/usr\n3.11.2\n\n").unwrap();
        assert_eq!((python.needs.len(), &*python.version), (0, "3.11.2"));
        let own = understand(Runtime::Python311, "/opt/py/bin/python3.12\n/opt/py\n3.12.1\n").unwrap();
        assert_eq!(own.needs, [PathBuf::from("/opt/py")]);
        let node = understand(Runtime::Nodejs20, "/home/u/.nvm/v22/bin/node\n22.1.0\n").unwrap();
        assert_eq!(
            node.needs,
            [PathBuf::from("/home/u/.nvm/v22/bin/node")],
            "nothing else of a home is shown"
        );
        let java = "\nProperty settings:\n    java.home = /usr/lib/jvm/x\n    java.version = 17.0.15\n";
        let java = understand(Runtime::Scala3, java).unwrap();
        assert_eq!(java.program, Path::new("/usr/lib/jvm/x/bin/java"));
        let net = "Microsoft.AspNetCore.App 8.0.1 [/usr/share/dotnet/shared/Microsoft.AspNetCore.App]\n\
                   Microsoft.NETCore.App 8.0.1 [/usr/share/dotnet/shared/Microsoft.NETCore.App]\n";
        assert_eq!(understand(Runtime::Dotnet8, net).unwrap().program, Path::new("/usr/share/dotnet/dotnet"));
    }

    #[test]
    fn what_is_too_old_or_mute_is_not_taken() {
        let old = understand(Runtime::Python311, "/usr/bin/python3.9\n/usr\n3.9.2\n").unwrap_err();
        assert!(old.contains("3.9.2, older than 3.11"), "{old}");
        assert!(understand(Runtime::Nodejs20, "/usr/bin/node\n18.19.0\n").is_err());
        assert!(understand(Runtime::Nodejs20, "").is_err());
        assert!(understand(Runtime::Dotnet8, "Microsoft.NETCore.App 6.0.1 [/x/y/z]").is_err());
    }

    #[tokio::test]
    async fn a_missing_interpreter_says_what_to_install() {
        let reason = find_one(Runtime::Python311, OsStr::new("/nonexistent")).await.unwrap_err();
        assert!(
            reason.contains("apt-get install python3") && reason.contains("--executor docker"),
            "{reason}"
        );
    }
}
