//! The order of things in one attempt.

use std::{io, path::Path};

use the0_model::{AgentSpec, Cause, Exit, agent::AgentStatus};

use crate::{
    AgentPaths, clock,
    environment::{BOT_CONFIG_BYTES_MAX, environment, needs_config_in_environment},
    harden::Hardened,
    inputs::{self, InputError},
    judge::{Evidence, exit_code, judge},
    launch::launch,
    lease::{LOOK_MS, LeaseFile, Standing},
    lease_file,
    memory::MemoryWatch,
    output::Output,
    record,
    spawn::{Bot, Pipes, Start, spawn},
    supervise::{Action, Ending, Event, Supervisor},
    watch::Signals,
};

/// Exit code of the agent when the bot could not be started as it is.
pub const NOT_STARTED: i32 = 127;
/// Exit code of the agent when the worker's lease had run out, or ran out.
pub const FENCED: i32 = 75;
/// Exit code of the agent when it cannot do its own work, such as record how the attempt ended.
pub const AGENT_FAULT: i32 = 125;

/// How often the kernel's memory counters are looked at while nothing else happens, in milliseconds.
const MEMORY_LOOK_MS: u64 = 5_000;
const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// Runs one attempt to its end and returns the exit code for this process: the bot's own (128 and the signal's number
/// after a signal), [`NOT_STARTED`], [`FENCED`] or [`AGENT_FAULT`].
///
/// It changes the process for good (signal handlers, limits, privileges) and reaps every child, so it is to be called
/// once, by a process that does nothing else.
pub fn execute(paths: &AgentPaths) -> i32 {
    let begun = Begun { at_ms: clock::boottime_ms() };
    let (exit, code) = match attempt(paths, &begun) {
        Ok(done) => done,
        Err(error) => {
            eprintln!("the agent could not run the bot: {error}");
            let cause =
                if matches!(error, Refusal::Lease { .. }) { Cause::Fenced } else { Cause::NotStarted };
            let code = if cause == Cause::Fenced { FENCED } else { NOT_STARTED };
            (begun.exit(cause, Some(error.to_string())), code)
        }
    };
    match record::exit(paths, &exit) {
        Ok(()) => code,
        Err(error) => {
            eprintln!("the end of the bot ({exit}) could not be recorded: {error}");
            AGENT_FAULT
        }
    }
}

/// Why a bot was not started.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Input(#[from] InputError),
    #[error("the worker's lease {reason}, so the bot was not started")]
    Lease { reason: String },
    #[error("{doing}: {source}")]
    System { doing: &'static str, source: io::Error },
    #[error("{program} could not be started: {source}")]
    Spawn { program: String, source: io::Error },
}

/// The bot, its pipes, the lease it runs under, and what is to be said about its start.
type Started = (Bot, Pipes, Option<LeaseFile>, Vec<String>);

struct Begun {
    at_ms: u64,
}

impl Begun {
    fn exit(&self, cause: Cause, message: Option<String>) -> Exit {
        Exit {
            cause,
            code: None,
            signal: None,
            message,
            result: None,
            at: clock::now(),
            ran_ms: clock::boottime_ms().saturating_sub(self.at_ms),
            peak_memory_bytes: None,
            last_lines: vec![],
        }
    }
}

fn attempt(paths: &AgentPaths, begun: &Begun) -> Result<(Exit, i32), Refusal> {
    // First of all: a stop that comes while things are prepared is not lost.
    let mut signals = Signals::catch().map_err(doing("catching signals"))?;
    let spec = inputs::spec(paths)?;
    record::reserve(paths).map_err(doing("preparing the attempt's directory"))?;
    let memory = MemoryWatch::find(Path::new(CGROUP_ROOT), spec.limits.memory_bytes);
    let (bot, pipes, lease, mut notes) = start(paths, &spec)?;
    let status = AgentStatus { bot_pid: bot.pid(), started_at: clock::now() };
    let first = {
        let paths = paths.clone();
        move || {
            let written = record::status(&paths, &status);
            notes.extend(written.err().map(|error| format!("status.json could not be written: {error}")));
            notes
        }
    };
    let output = Output::start(&paths.attempt, spec.limits.log_bytes, pipes, first).map_err(|source| {
        // A bot nobody listens to must not run.
        bot.act(Action::Kill);
        Refusal::System { doing: "starting to read the bot's output", source }
    })?;
    let ending = supervise(&spec, paths, lease, &bot, &mut signals, &memory, &output);
    Ok(finish(paths, &spec, begun, ending, &memory, output))
}

fn start(paths: &AgentPaths, spec: &AgentSpec) -> Result<Started, Refusal> {
    let reads_it_itself = !needs_config_in_environment(spec.runtime);
    let config = if reads_it_itself { vec![] } else { inputs::config(paths)? };
    let launch = launch(spec, paths);
    let env = environment(spec, paths, std::env::vars_os(), &config);
    let search = env.get(std::ffi::OsStr::new("PATH")).map(|path| path.to_string_lossy().into_owned());
    let program = inputs::program(spec, paths, &launch, &search.unwrap_or_default())?;
    let mut notes = Vec::new();
    if config.len() >= BOT_CONFIG_BYTES_MAX {
        notes.push(format!(
            "the configuration has {} bytes, too many for BOT_CONFIG; it is in the file BOT_CONFIG_FILE names",
            config.len()
        ));
    }
    let mut hardened =
        Hardened::new(&spec.limits, spec.processes, spec.run_as).map_err(doing("restricting the agent"))?;
    let start =
        Start { program: &program, args: &launch.args, env: &env, dir: &paths.code, run_as: spec.run_as };
    // As late as can be: nothing that takes time comes between this look and the start.
    let lease = if spec.leased { Some(valid_lease(&paths.lease_file)?) } else { None };
    let spawned = hardened.as_bot(|| spawn(&start));
    let (bot, pipes) =
        spawned.map_err(|source| Refusal::Spawn { program: program.display().to_string(), source })?;
    Ok((bot, pipes, lease, notes))
}

fn valid_lease(path: &Path) -> Result<LeaseFile, Refusal> {
    let lease = lease_file::read(path).map_err(|error| Refusal::Lease {
        reason: format!("cannot be read ({}: {error})", path.display()),
    })?;
    match lease.standing(clock::boottime_ms()) {
        Standing::Held => Ok(lease),
        Standing::Ended | Standing::Overdue => Err(Refusal::Lease { reason: "has run out".into() }),
    }
}

/// The loop: wait, look at everything, do what the supervisor says.
fn supervise(
    spec: &AgentSpec,
    paths: &AgentPaths,
    lease: Option<LeaseFile>,
    bot: &Bot,
    signals: &mut Signals,
    memory: &MemoryWatch,
    output: &Output,
) -> Ending {
    let mut supervisor = Supervisor::new(spec.stop_grace_ms, lease);
    let mut kills_said = 0;
    loop {
        let mut actions = Vec::new();
        // The lease before anything else: the machine may have slept since the last look.
        if spec.leased
            && let Ok(lease) = lease_file::read(&paths.lease_file)
        {
            actions.extend(supervisor.handle(Event::Lease(lease), clock::boottime_ms()));
        }
        let look = bot.look();
        let now = clock::boottime_ms();
        let looked = Event::Looked { main: look.main, any_left: look.any_left };
        actions.extend(supervisor.handle(looked, now));
        if signals.take_stop() {
            actions.extend(supervisor.handle(Event::StopRequested, now));
        }
        for action in actions {
            bot.act(action);
        }
        if look.main.is_some() && look.any_left {
            bot.terminate_strays();
        }
        if let Some(ending) = supervisor.finished() {
            if look.any_left {
                output.note("processes the bot left behind could not be ended".into());
            }
            return ending;
        }
        let kills = memory.kills();
        if kills > kills_said && look.main.is_none() {
            output.note(format!("the kernel killed {} process(es) at the memory limit", kills - kills_said));
            kills_said = kills;
        }
        let due = supervisor.wake_at().map(|at| at.saturating_sub(now));
        let lease_look = spec.leased.then_some(LOOK_MS);
        let memory_look = memory.is_counted().then_some(MEMORY_LOOK_MS);
        signals.wait([due, lease_look, memory_look].into_iter().flatten().min());
    }
}

fn finish(
    paths: &AgentPaths,
    spec: &AgentSpec,
    begun: &Begun,
    ending: Ending,
    memory: &MemoryWatch,
    output: Output,
) -> (Exit, i32) {
    let result = inputs::result(&paths.result_json()).unwrap_or_else(|why| {
        output.note(why);
        None
    });
    let (last_lines, last_error_line) = output.finish().into_parts();
    let (cause, message) = judge(&Evidence {
        ending,
        out_of_memory: memory.kills() > 0,
        memory_bytes: spec.limits.memory_bytes,
        result: result.as_ref(),
        last_error_line: last_error_line.as_deref(),
        now_ms: clock::boottime_ms(),
    });
    let (code, signal) = match ending.ended {
        crate::supervise::Ended::Code(code) => (Some(code), None),
        crate::supervise::Ended::Signal(signal) => (None, Some(signal)),
    };
    let peak_memory_bytes = memory.peak_bytes();
    let exit = Exit { code, signal, result, peak_memory_bytes, last_lines, ..begun.exit(cause, message) };
    let code = if cause == Cause::Fenced { FENCED } else { exit_code(ending.ended) };
    (exit, code)
}

fn doing(what: &'static str) -> impl Fn(io::Error) -> Refusal {
    move |source| Refusal::System { doing: what, source }
}
