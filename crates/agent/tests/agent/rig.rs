//! One unit in a directory, and the agent run on it.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use the0_agent::wrappers;
use the0_model::{Exit, LogLine, LogStream, agent::AgentStatus};

/// Longer than anything here takes on a busy machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Rig {
    dir: TempDir,
    pub(crate) spec: Value,
    /// What to run the agent with: nothing, or a sandbox.
    pub(crate) before: Vec<OsString>,
}

pub(crate) struct Running {
    rig: Rig,
    child: Child,
}

#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) exit: Exit,
    pub(crate) errors: String,
    pub(crate) log: Vec<LogLine>,
}

impl Rig {
    pub(crate) fn new(runtime: &str, entrypoint: &str, text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["in", "attempt", "out", "code", "state", "wrappers", "lease"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        for wrapper in wrappers::ALL {
            fs::write(dir.path().join("wrappers").join(wrapper.file), wrapper.text).unwrap();
        }
        let spec = json!({
            "unit": "bot/b1", "bot": "b1", "runtime": runtime, "entrypoint": entrypoint, "interpreter": null,
            "env": {}, "limits": {}, "stop_grace_ms": 10_000, "attempt": 2, "resumed": true,
            "generation": {"term": 3, "step": 4}, "run_as": null, "leased": false,
        });
        let rig = Self { dir, spec, before: vec![] };
        rig.file(entrypoint, text).config(&json!({"pair": "BTC/USD"}))
    }

    /// A bot in Python.
    pub(crate) fn python(text: &str) -> Self {
        let mut rig = Self::new("python3.11", "main.py", text);
        rig.spec["interpreter"] = json!(real_python());
        rig
    }

    /// A bot that is a program of its own: a shell script.
    pub(crate) fn native(script: &str) -> Self {
        let rig = Self::new("gcc13", "bot", &format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(rig.path("code/bot"), fs::Permissions::from_mode(0o755)).unwrap();
        rig
    }

    pub(crate) fn file(self, name: &str, text: &str) -> Self {
        let path = self.path("code").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    pub(crate) fn config(self, config: &Value) -> Self {
        fs::write(self.path("in/config.json"), config.to_string()).unwrap();
        self
    }

    pub(crate) fn set(mut self, field: &str, value: Value) -> Self {
        self.spec[field] = value;
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn start(self) -> Running {
        fs::write(self.path("in/unit.json"), self.spec.to_string()).unwrap();
        let mut words = self.before.clone();
        words.push(env!("CARGO_BIN_EXE_the0-agent").into());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        for (flag, name) in [
            ("--input-dir", "in"),
            ("--attempt-dir", "attempt"),
            ("--out-dir", "out"),
            ("--code-dir", "code"),
            ("--state-dir", "state"),
            ("--wrappers-dir", "wrappers"),
            ("--lease-file", "lease/lease.json"),
        ] {
            command.arg(flag).arg(self.path(name));
        }
        command.env("THE0_CANARY", "must not be seen by a bot").stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        Running { rig: self, child }
    }

    pub(crate) fn run(self) -> Done {
        self.start().finish()
    }
}

impl Running {
    /// Process id of the agent (of the sandbox, where there is one).
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Process id of the bot, as the agent sees it.
    pub(crate) fn bot_pid(&self) -> i32 {
        let read = || fs::read(self.rig.path("attempt/status.json")).ok();
        let status: AgentStatus = serde_json::from_slice(&until("status.json", read)).unwrap();
        status.bot_pid
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Asks an agent in a sandbox to stop. The sandbox passes nothing on; its only child is the agent.
    pub(crate) fn stop_inside(&self) {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.pid())).unwrap();
        let agent = children.split_whitespace().next().unwrap().parse().unwrap();
        kill(Pid::from_raw(agent), Signal::SIGTERM).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.rig.path(name)
    }

    /// Waits until a record with this text is in the current output.
    pub(crate) fn wait_for(&self, text: &str) -> LogLine {
        let find = || {
            log_in(&self.rig.path("attempt/output.log")).into_iter().find(|line| line.text == text.as_bytes())
        };
        until(text, find)
    }

    /// Waits for the end and returns the agent's exit code.
    pub(crate) fn code(&mut self) -> Option<i32> {
        let child = &mut self.child;
        until("the agent to end", || child.try_wait().unwrap()).code()
    }

    /// Waits for the end, and fails if it was not recorded.
    pub(crate) fn finish(mut self) -> Done {
        let code = self.code();
        let child = &mut self.child;
        let read = |pipe: Option<&mut dyn std::io::Read>| {
            let mut text = String::new();
            pipe.unwrap().read_to_string(&mut text).unwrap();
            text
        };
        let errors = read(child.stderr.as_mut().map(|pipe| pipe as _));
        assert_eq!(
            read(child.stdout.as_mut().map(|pipe| pipe as _)),
            "",
            "the agent's own output stays empty"
        );
        let mut log = log_in(&self.rig.path("attempt/output.1.log"));
        log.extend(log_in(&self.rig.path("attempt/output.log")));
        let exit =
            fs::read(self.rig.path("attempt/exit.json")).unwrap_or_else(|_| panic!("no exit.json: {errors}"));
        Done { code, exit: serde_json::from_slice(&exit).unwrap(), errors, log }
    }
}

impl Drop for Running {
    /// A test that failed leaves no agent behind.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Done {
    /// What the bot wrote to a stream; pieces put together.
    pub(crate) fn text(&self, stream: LogStream) -> String {
        let mut text = Vec::new();
        for line in self.log.iter().filter(|line| line.stream == stream) {
            text.extend_from_slice(&line.text);
            if !line.partial {
                text.push(b'\n');
            }
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    pub(crate) fn stdout(&self) -> String {
        self.text(LogStream::Stdout)
    }

    pub(crate) fn message(&self) -> &str {
        self.exit.message.as_deref().unwrap_or_default()
    }
}

/// Waits for a condition.
pub(crate) fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < end, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn is_alive(pid: i32) -> bool {
    let state = fs::read_to_string(format!("/proc/{pid}/stat"));
    state.is_ok_and(|text| !text.rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(" Z")))
}

/// The path of a program, if it is installed.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|path| path.is_file())
}

/// Prints why a test did nothing; fails it where that is not wanted.
pub(crate) fn skip(what: &str, required: &str) {
    let required = std::env::vars_os().any(|(name, value)| name == required && value == "required");
    assert!(!required, "{what} is required");
    eprintln!("skipped: {what} is not there");
}

/// The system's, which every user may run; else the one a shim on `PATH` stands for.
fn real_python() -> String {
    let system = "/usr/bin/python3";
    if Path::new(system).is_file() {
        return system.to_owned();
    }
    let output = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn log_in(path: &Path) -> Vec<LogLine> {
    let bytes = fs::read(path).unwrap_or_default();
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    bytes[..whole]
        .split_inclusive(|byte| *byte == b'\n')
        .map(|line| LogLine::decode(line).unwrap_or_else(|| panic!("not a record: {line:?}")))
        .collect()
}
