//! Pure: from what was given, and where, to settings; every fault is found.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use the0_model::Runtime;

use super::quantity;

/// Everything `runtime dev` can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Directory for everything that is kept.
    pub(crate) data_dir: PathBuf,
    /// Address of the API.
    pub(crate) listen: SocketAddr,
    /// What runs the bots.
    pub(crate) executor: ExecutorChoice,
    /// Docker's address, if it is not the usual socket.
    pub(crate) docker_host: Option<String>,
    /// Images in place of the runtimes' own.
    pub(crate) images: BTreeMap<Runtime, String>,
    /// Longest time between two looks at everything; `None`: only when something rings.
    pub(crate) reconcile_interval: Option<Duration>,
    /// Form of the log.
    pub(crate) log_format: LogFormat,
    /// What is logged.
    pub(crate) log_level: String,
    /// What happens to running bots at the end.
    pub(crate) on_stop: OnStop,
    /// Free space needed at start, in bytes.
    pub(crate) min_free_bytes: u64,
    /// Where each setting came from.
    pub(crate) sources: BTreeMap<&'static str, Source>,
}

/// What runs the bots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExecutorChoice {
    /// Docker if it answers, else the sandbox.
    Auto,
    /// Docker or nothing.
    Docker,
    /// The sandbox or nothing.
    Sandbox,
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// What happens to running bots when the service ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnStop {
    /// They go on, and are found again.
    Keep,
    /// They are stopped.
    Stop,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A flag.
    Flag(&'static str),
    /// A variable of the environment.
    Environment(String),
    /// A line of the file.
    File {
        /// Its path.
        path: PathBuf,
        /// The line, from 1; 0 for the whole file.
        line: u64,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File { path, line: 0 } => write!(f, "file {}", path.display()),
            Self::File { path, line } => write!(f, "file {}, line {line}", path.display()),
        }
    }
}

/// A value as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) key: String,
    pub(crate) text: String,
    pub(crate) source: Source,
}

impl Given {
    /// A value as it was given.
    pub(crate) fn new(key: &str, text: &str, source: Source) -> Self {
        Self { key: key.to_owned(), text: text.to_owned(), source }
    }
}

/// What is wrong with a setting, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) key: String,
    pub(crate) source: Source,
    pub(crate) reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            return write!(f, "{}: {}", self.source, self.reason);
        }
        write!(f, "{} ({}): {}", self.key, self.source, self.reason)
    }
}

/// Applies values in order, later over earlier. Values that are overridden are checked too.
pub(crate) fn resolve(given: Vec<Given>, home: &Path, faults: &mut Vec<Fault>) -> Settings {
    let mut settings = Settings {
        data_dir: home.join(".local/share/the0"),
        listen: SocketAddr::from(([127, 0, 0, 1], 50051)),
        executor: ExecutorChoice::Auto,
        docker_host: None,
        images: BTreeMap::new(),
        // Every change here rings: the store is this process's own, and the executor says when a unit ends.
        reconcile_interval: None,
        log_format: LogFormat::Text,
        log_level: "info".to_owned(),
        on_stop: OnStop::Keep,
        min_free_bytes: 64 << 20,
        sources: BTreeMap::new(),
    };
    let needs_home = !home.is_absolute() && !given.iter().any(|one| one.key == "data_dir");
    if needs_home {
        let reason = "there is no home directory to put it in; give --data-dir".to_owned();
        faults.push(Fault {
            key: "data_dir".to_owned(),
            source: Source::Environment("HOME".to_owned()),
            reason,
        });
    }
    for Given { key, text, source } in given {
        match settings.set(&key, &text) {
            Ok(known) => {
                settings.sources.insert(known, source);
            }
            Err(reason) => faults.push(Fault { key, source, reason }),
        }
    }
    settings
}

impl Settings {
    fn set(&mut self, key: &str, text: &str) -> Result<&'static str, String> {
        Ok(match key {
            "data_dir" => {
                self.data_dir = PathBuf::from(not_empty(text)?);
                "data_dir"
            }
            "listen" => {
                self.listen =
                    text.parse().map_err(|_| format!("{text:?} is no address such as 127.0.0.1:50051"))?;
                "listen"
            }
            "executor" => {
                let choices = [
                    ("auto", ExecutorChoice::Auto),
                    ("docker", ExecutorChoice::Docker),
                    ("sandbox", ExecutorChoice::Sandbox),
                ];
                self.executor = one_of(text, choices)?;
                "executor"
            }
            "docker_host" => {
                let known = ["unix://", "tcp://", "http://"].iter().any(|scheme| text.starts_with(scheme));
                if !known && !text.starts_with('/') {
                    return Err("use unix:///path or tcp://host:port".to_owned());
                }
                self.docker_host = Some(text.to_owned());
                "docker_host"
            }
            "images" => {
                let (runtime, image) =
                    text.split_once('=').ok_or_else(|| format!("{text:?} is not RUNTIME=IMAGE"))?;
                let runtime = runtime.parse::<Runtime>().map_err(|error| error.to_string())?;
                self.images.insert(runtime, not_empty(image)?.to_owned());
                "images"
            }
            "reconcile_interval" => {
                self.reconcile_interval = if text == "off" { None } else { Some(interval(text)?) };
                "reconcile_interval"
            }
            "log_format" => {
                self.log_format = one_of(text, [("text", LogFormat::Text), ("json", LogFormat::Json)])?;
                "log_format"
            }
            "log_level" => {
                tracing_subscriber::EnvFilter::try_new(not_empty(text)?)
                    .map_err(|error| error.to_string())?;
                text.clone_into(&mut self.log_level);
                "log_level"
            }
            "on_stop" => {
                self.on_stop = one_of(text, [("keep", OnStop::Keep), ("stop", OnStop::Stop)])?;
                "on_stop"
            }
            "min_free_bytes" => {
                self.min_free_bytes = quantity::bytes(text)?;
                "min_free_bytes"
            }
            _ => {
                return Err(format!(
                    "there is no such setting; use one of {}",
                    crate::cli::OPTIONS.join(", ")
                ));
            }
        })
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = quantity::duration(text).map_err(|why| format!("{why}, nor `off`"))?;
    if interval < Duration::from_millis(100) || interval > Duration::from_hours(1) {
        return Err(format!("{text} is outside 100ms to 1h"));
    }
    Ok(interval)
}

fn not_empty(text: &str) -> Result<&str, String> {
    if text.trim().is_empty() { Err("it is empty".to_owned()) } else { Ok(text) }
}

fn one_of<T, const N: usize>(text: &str, choices: [(&str, T); N]) -> Result<T, String> {
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    let known = format!("{text:?} is not known; use {}", names.join(" or "));
    choices.into_iter().find(|(name, _)| *name == text).map(|(_, value)| value).ok_or(known)
}
