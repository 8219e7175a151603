//! What the agent reads: the specification, the configuration, the bundle's content and the bot's result.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Component, Path, PathBuf},
};

use rustix::fs::{Mode, OFlags};
use serde_json::Value;
use the0_model::{AgentSpec, bot::CONFIG_BYTES_MAX};

use crate::{AgentPaths, launch::Launch};

/// Largest specification accepted, in bytes.
const SPEC_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Largest `result.json` kept, in bytes.
pub(crate) const RESULT_BYTES_MAX: usize = 1024 * 1024;
/// Most names of files shown when the one wanted is missing.
const NAMES_SHOWN_MAX: usize = 10;

/// Why a unit cannot be started as it is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    #[error("unit.json cannot be read: {source}")]
    Spec { source: io::Error },
    #[error("config.json cannot be read: {source}")]
    Config { source: io::Error },
    #[error("entrypoint {entrypoint} must be a path inside the bundle, without `..`")]
    EntrypointOutside { entrypoint: String },
    #[error("entrypoint {entrypoint} is not in the bundle ({holds})")]
    EntrypointMissing { entrypoint: String, holds: String },
    #[error("entrypoint {entrypoint} is a directory; name the file to run")]
    EntrypointIsDirectory { entrypoint: String },
    #[error("entrypoint {entrypoint} is not executable; set its executable bit before bundling")]
    EntrypointNotExecutable { entrypoint: String },
    #[error("entrypoint {entrypoint} is neither a Linux program (ELF) nor a script that begins with #!")]
    EntrypointNotAProgram { entrypoint: String },
    #[error("{program} is not installed here (looked in {path})")]
    InterpreterMissing { program: String, path: String },
    #[error("the wrapper {} is missing; the agent is not fully installed", path.display())]
    WrapperMissing { path: PathBuf },
}

/// Reads `unit.json`.
pub(crate) fn spec(paths: &AgentPaths) -> Result<AgentSpec, InputError> {
    let text = bounded(&paths.unit_json(), SPEC_BYTES_MAX).map_err(|source| InputError::Spec { source })?;
    serde_json::from_slice(&text).map_err(|error| InputError::Spec { source: error.into() })
}

/// Reads `config.json` as text; it is the bot that parses it.
pub(crate) fn config(paths: &AgentPaths) -> Result<Vec<u8>, InputError> {
    bounded(&paths.config_json(), CONFIG_BYTES_MAX).map_err(|source| InputError::Config { source })
}

/// Makes sure that what is to be executed is there, and says where.
pub(crate) fn program(
    spec: &AgentSpec,
    paths: &AgentPaths,
    launch: &Launch,
    search: &str,
) -> Result<PathBuf, InputError> {
    entrypoint(spec, paths)?;
    if let Some(path) = launch.wrapper.as_ref().filter(|path| !path.is_file()) {
        return Err(InputError::WrapperMissing { path: path.clone() });
    }
    if launch.program.contains('/') {
        let path = PathBuf::from(&launch.program);
        return if path.is_file() { Ok(path) } else { Err(missing(launch, "/")) };
    }
    let found =
        search.split(':').map(|dir| Path::new(dir).join(&launch.program)).find(|path| is_executable(path));
    found.ok_or_else(|| missing(launch, search))
}

fn missing(launch: &Launch, search: &str) -> InputError {
    InputError::InterpreterMissing { program: launch.program.clone(), path: search.to_owned() }
}

fn entrypoint(spec: &AgentSpec, paths: &AgentPaths) -> Result<(), InputError> {
    let name = spec.runtime.entrypoint_file(&spec.entrypoint);
    let entrypoint = name.to_owned();
    let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    if name.is_empty() || !Path::new(name).components().all(inside) {
        return Err(InputError::EntrypointOutside { entrypoint });
    }
    let path = paths.code.join(name);
    match fs::metadata(&path) {
        // A project is a directory, or a file in one.
        Ok(meta) if meta.is_dir() && spec.runtime != the0_model::Runtime::Dotnet8 => {
            Err(InputError::EntrypointIsDirectory { entrypoint })
        }
        Ok(_) if spec.runtime.is_native() && !is_executable(&path) => {
            Err(InputError::EntrypointNotExecutable { entrypoint })
        }
        // The C library hands what the kernel does not know to a shell, which finds nothing wrong with an empty file.
        Ok(_) if spec.runtime.is_native() && !is_program(&path) => {
            Err(InputError::EntrypointNotAProgram { entrypoint })
        }
        Ok(_) => Ok(()),
        Err(_) => Err(InputError::EntrypointMissing { entrypoint, holds: names_in(&paths.code) }),
    }
}

fn names_in(dir: &Path) -> String {
    let Ok(entries) = fs::read_dir(dir) else { return format!("{} cannot be read", dir.display()) };
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    let more = if names.len() > NAMES_SHOWN_MAX { ", …" } else { "" };
    names.truncate(NAMES_SHOWN_MAX);
    if names.is_empty() { "it is empty".into() } else { format!("it holds: {}{more}", names.join(", ")) }
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// What the bot's user may execute but not read is left to the kernel to judge.
fn is_program(path: &Path) -> bool {
    let mut magic = Vec::new();
    let read = File::open(path).and_then(|file| file.take(4).read_to_end(&mut magic));
    read.is_err() || magic == b"\x7fELF" || magic.starts_with(b"#!")
}

/// Reads the result the bot left, if it is a plain file with valid JSON within the limit. `Err` says why it is not kept.
///
/// The bot owns the directory, so the name may lead anywhere: links are not followed and a pipe does not block.
pub(crate) fn result(path: &Path) -> Result<Option<Value>, String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(error) => return Err(format!("result.json is not kept: {error}")),
    };
    if !file.metadata().is_ok_and(|meta| meta.is_file()) {
        return Err("result.json is not kept: it is not a file".into());
    }
    let text =
        read_bounded(file, RESULT_BYTES_MAX).map_err(|error| format!("result.json is not kept: {error}"))?;
    let value = serde_json::from_slice(&text);
    value.map(Some).map_err(|error| format!("result.json is not kept: it is not valid JSON: {error}"))
}

fn bounded(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    read_bounded(File::open(path)?, bytes_max)
}

fn read_bounded(file: File, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    file.take(bytes_max as u64 + 1).read_to_end(&mut text)?;
    if text.len() > bytes_max {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is larger than {bytes_max} bytes"),
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use the0_model::Runtime;

    use super::*;
    use crate::launch::{launch, tests::spec as spec_of};

    fn program_of(runtime: Runtime, name: &str, code: &Path, search: &str) -> Result<PathBuf, String> {
        let spec = spec_of(runtime, name);
        let wrappers = code.join("w");
        let paths = AgentPaths { code: code.into(), wrappers, ..AgentPaths::default() };
        program(&spec, &paths, &launch(&spec, &paths), search).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_missing_is_named_together_with_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let code = dir.path();
        let refuse = |runtime, name, search| program_of(runtime, name, code, search).unwrap_err();
        assert_eq!(
            refuse(Runtime::Python311, "main.py", "/bin"),
            "entrypoint main.py is not in the bundle (it is empty)"
        );
        for name in ["b.py", "a.py"] {
            fs::write(code.join(name), "").unwrap();
        }
        assert_eq!(
            refuse(Runtime::Python311, "main.py", "/bin"),
            "entrypoint main.py is not in the bundle (it holds: a.py, b.py)"
        );
        for outside in ["../a.py", "/etc/passwd", "x/../../a.py", ""] {
            assert!(refuse(Runtime::Python311, outside, "/bin").contains("inside the bundle"), "{outside}");
        }
        assert!(refuse(Runtime::Gcc13, "a.py", "/bin").contains("not executable"));
        assert!(refuse(Runtime::Python311, "a.py", "/bin").contains("python_bot.py"), "no wrapper");
        fs::create_dir(code.join("w")).unwrap();
        fs::write(code.join("w/python_bot.py"), "").unwrap();
        assert!(refuse(Runtime::Python311, "w", "/bin").contains("is a directory"));
        let error = refuse(Runtime::Python311, "a.py", "/nowhere:/nothing");
        assert_eq!(error, "python3 is not installed here (looked in /nowhere:/nothing)");
    }

    #[test]
    fn a_result_is_read_only_from_a_plain_small_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("result.json");
        assert_eq!(result(&path), Ok(None));
        fs::write(&path, "{\"a\": 1}").unwrap();
        assert_eq!(result(&path), Ok(Some(serde_json::json!({"a": 1}))));
        fs::write(&path, "{").unwrap();
        assert!(result(&path).unwrap_err().contains("not valid JSON"));
        fs::write(&path, vec![b' '; RESULT_BYTES_MAX + 1]).unwrap();
        assert!(result(&path).unwrap_err().contains("larger"));
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert!(result(&path).is_err());
        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert!(result(&path).unwrap_err().contains("not a file"));
    }
}
