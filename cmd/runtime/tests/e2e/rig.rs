//! A service of its own for each test, and the command line to talk to it.

use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// The binary under test.
pub(crate) const RUNTIME: &str = env!("CARGO_BIN_EXE_runtime");
/// Longest wait for anything that happens by itself.
pub(crate) const SOON: Duration = Duration::from_secs(20);
/// Longest a command may take.
const COMMAND_WAIT: Duration = Duration::from_mins(2);
/// Interpreters of the system: those of version managers in home directories are nothing a bot's user may read.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The executors of this machine.
pub(crate) fn executors() -> Vec<&'static str> {
    ["sandbox", "docker"].into_iter().filter(|name| is_here(name)).collect()
}

/// Whether an executor is here, or must be.
pub(crate) fn is_here(executor: &str) -> bool {
    let here = match executor {
        "docker" => std::os::unix::net::UnixStream::connect("/var/run/docker.sock").is_ok(),
        _ => PATH.split(':').any(|folder| Path::new(folder).join("bwrap").is_file()),
    };
    let name = format!("THE0_TEST_{}", executor.to_uppercase());
    let required = std::env::var_os(&name).is_some_and(|value| value == "required");
    assert!(here || !required, "{name}=required, and {executor} is not here");
    if !here {
        eprintln!("skipped on {executor}: it is not here");
    }
    here
}

/// A running `runtime dev`.
pub(crate) struct Service {
    pub(crate) dir: PathBuf,
    pub(crate) url: String,
    executor: &'static str,
    child: Child,
    log: Arc<Mutex<String>>,
    /// Removed with the last service in it.
    home: Arc<tempfile::TempDir>,
}

impl Service {
    /// Starts one in a directory of its own.
    pub(crate) fn start(executor: &'static str) -> Self {
        let home = Arc::new(tempfile::tempdir().unwrap());
        Self::start_in(home.path().join("data"), executor, &home, &[])
    }

    /// Starts one on a directory of the caller's, with more arguments.
    pub(crate) fn start_at(dir: &Path, executor: &'static str, more: &[&str]) -> Self {
        Self::start_in(dir.to_owned(), executor, &Arc::new(tempfile::tempdir().unwrap()), more)
    }

    fn start_in(dir: PathBuf, executor: &'static str, home: &Arc<tempfile::TempDir>, more: &[&str]) -> Self {
        let mut command = dev(&dir, &["--listen", "127.0.0.1:0", "--executor", executor]);
        let mut child = command.args(more).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (mut errors, kept) = (child.stderr.take().unwrap(), Arc::clone(&log));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = errors.read(&mut buffer) {
                kept.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..read]));
            }
        });
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| Some(line.strip_prefix("api")?.trim().to_owned()));
        // Goes on reading, so that the service never waits for us.
        thread::spawn(move || lines.for_each(drop));
        let url = url.unwrap_or_else(|| panic!("the service did not start:\n{}", log.lock().unwrap()));
        Self { dir, url, executor, child, log, home: Arc::clone(home) }
    }

    /// The same data, served again, after this process is gone.
    pub(crate) fn again(mut self) -> Self {
        assert!(self.child.try_wait().unwrap().is_some(), "end it first");
        let home = Arc::clone(&self.home);
        let again = Self::start_in(self.dir.clone(), self.executor, &home, &[]);
        self.url.clear();
        again
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it as the kernel would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end, and returns its exit code.
    pub(crate) fn end(&mut self) -> Option<i32> {
        signal("TERM", self.pid());
        soon("the service ends", || self.child.try_wait().unwrap()).code()
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// A command, against this service.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = runtime(args);
        command.env("THE0_SERVER", &self.url);
        command
    }

    /// Runs a command and returns how it ended.
    pub(crate) fn try_run(&self, args: &[&str]) -> Ended {
        run(&mut self.command(args))
    }

    /// Runs a command that must succeed, and returns what it printed.
    pub(crate) fn run(&self, args: &[&str]) -> String {
        let ended = self.try_run(args);
        assert_eq!(ended.code, 0, "{args:?}: {}\n{}\nlog:\n{}", ended.out, ended.err, self.log());
        ended.out
    }

    /// Runs a command that must succeed with `--json`.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let mut with = args.to_vec();
        with.push("--json");
        serde_json::from_str(&self.run(&with)).unwrap()
    }

    /// The status of a bot.
    pub(crate) fn status(&self, bot: &str) -> Value {
        self.json(&["bots", "status", bot])
    }

    /// Waits until a bot runs an attempt after this one, and returns its status.
    pub(crate) fn running_after(&self, bot: &str, attempt: u64) -> Value {
        soon(&format!("{bot} runs after attempt {attempt}"), || {
            let status = self.status(bot);
            let runs = status["phase"] == "running" && status["attempt"].as_u64() > Some(attempt);
            (runs && status["pid"] != 0).then_some(status)
        })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if self.url.is_empty() {
            return;
        }
        if !matches!(self.child.try_wait(), Ok(None)) {
            if self.dir.join("units").is_dir() {
                // Bots outlive their service; they must not outlive their test.
                drop(Self::start_in(self.dir.clone(), self.executor, &self.home, &[]));
            }
            return;
        }
        let listed = run(&mut self.command(&["bots", "ls", "--json"])).out;
        let bots: Value = serde_json::from_str(&listed).unwrap_or_default();
        for bot in bots.as_array().into_iter().flatten().filter_map(|bot| bot["id"].as_str()) {
            run(&mut self.command(&["bots", "rm", "--yes", bot]));
        }
        signal("TERM", self.pid());
        let deadline = Instant::now() + SOON;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- log of the service\n{}", self.log());
        }
    }
}

/// `runtime dev` on a directory.
pub(crate) fn dev(dir: &Path, args: &[&str]) -> Command {
    let mut command = runtime(&["dev", "--data-dir", dir.to_str().unwrap()]);
    command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A command with an environment of its own.
pub(crate) fn runtime(args: &[&str]) -> Command {
    let mut command = Command::new(RUNTIME);
    command.args(args).stdin(Stdio::null()).env_clear().env("PATH", PATH).env("HOME", "/nonexistent");
    command
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs a command to its end, within reason.
pub(crate) fn run(command: &mut Command) -> Ended {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let (done, over) = std::sync::mpsc::channel::<()>();
    thread::spawn(move || {
        if over.recv_timeout(COMMAND_WAIT) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            signal("KILL", pid);
        }
    });
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    drop(done);
    Ended {
        code: status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&stdout).into_owned(),
        err: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

/// Sends a signal to a process of ours.
pub(crate) fn signal(name: &str, pid: u32) {
    Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap();
}

/// Looks until it finds something.
pub(crate) fn soon<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(SOON, what, look)
}

/// Looks until it finds something, for at most `wait`.
pub(crate) fn within<T>(wait: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + wait;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {wait:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Lines of a command that goes on, as they come.
pub(crate) struct Following {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Following {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = Arc::new(Mutex::new(vec![]));
        let (out, kept) = (child.stdout.take().unwrap(), Arc::clone(&lines));
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                kept.lock().unwrap().push(line);
            }
        });
        Self { child, lines }
    }

    /// Waits for a line that contains a text.
    pub(crate) fn until(&self, text: &str) -> String {
        soon(&format!("a line with {text:?}"), || {
            self.lines.lock().unwrap().iter().find(|line| line.contains(text)).cloned()
        })
    }

    /// Interrupts it, and returns its exit code.
    pub(crate) fn interrupt(mut self) -> Option<i32> {
        signal("INT", self.child.id());
        soon("it ends", || self.child.try_wait().unwrap()).code()
    }

    /// Waits for its end, and returns its exit code.
    pub(crate) fn ended(mut self) -> Option<i32> {
        soon("it ends", || self.child.try_wait().unwrap()).code()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
