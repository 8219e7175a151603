//! What the agent does to itself before it starts a bot: what a bot inherits, and what it cannot reach.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
};

use nix::{
    sys::{
        prctl,
        resource::{Resource, getrlimit, rlim_t, setrlimit},
        stat::{Mode, umask},
    },
    unistd::{Gid, setgroups},
};
use the0_model::Limits;

/// Room above the kept output for the agent's own files (`exit.json` with a result in it), in bytes.
const OWN_FILE_BYTES: u64 = 4 * 1024 * 1024;
/// Processes of the agent itself that count beside the bot's: its two threads.
const OWN_PROCESSES: u64 = 2;
/// The kernel takes the bot before the agent when memory ends.
const BOT_OOM_SCORE: &str = "1000";

/// The agent, hardened; carries what differs between it and its bot.
#[derive(Debug)]
pub(crate) struct Hardened {
    /// Opened before the process became undumpable, after which its own `/proc` files belong to root.
    oom_score: Option<(File, String)>,
    bot_file_bytes: rlim_t,
    own_file_bytes: rlim_t,
}

impl Hardened {
    /// Hardens this process for good. Fails only where a promise would be broken.
    pub(crate) fn new(
        limits: &Limits,
        processes: Option<u32>,
        run_as: Option<(u32, u32)>,
    ) -> io::Result<Self> {
        let oom_score = open_oom_score();
        // A bot that runs as the same user must be able neither to trace nor to read the dead man's switch.
        prctl::set_dumpable(false)?;
        prctl::set_no_new_privs()?;
        if let Some((_, group)) = run_as {
            // To read the bot's result: in a sandbox the agent is a root that may not pass over permissions. Where this
            // is refused, so is the reading, and that is said.
            let _ = setgroups(&[Gid::from_raw(group)]);
        }
        // Orphans of the bot come to us even where we are not PID 1: what it leaves behind can be seen, and its end awaited.
        prctl::set_child_subreaper(true)?;
        umask(Mode::from_bits_truncate(0o027));
        setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
        let open_files = at_most_hard(Resource::RLIMIT_NOFILE, limits.open_files.into())?;
        setrlimit(Resource::RLIMIT_NOFILE, open_files, open_files)?;
        if let Some(processes) = processes {
            let most = at_most_hard(Resource::RLIMIT_NPROC, u64::from(processes) + OWN_PROCESSES)?;
            setrlimit(Resource::RLIMIT_NPROC, most, most)?;
        }
        let (bot, own) = file_bytes(limits);
        let own_file_bytes = at_most_hard(Resource::RLIMIT_FSIZE, own)?;
        let bot_file_bytes = bot.min(own_file_bytes);
        setrlimit(Resource::RLIMIT_FSIZE, own_file_bytes, own_file_bytes)?;
        Ok(Self { oom_score, bot_file_bytes, own_file_bytes })
    }

    /// Runs `spawn` with the limits of the bot, which a child inherits, and takes back the agent's own.
    pub(crate) fn as_bot<T>(&mut self, spawn: impl FnOnce() -> T) -> T {
        // Lowering and restoring a soft limit, or a score that was read before, is always allowed.
        let _ = setrlimit(Resource::RLIMIT_FSIZE, self.bot_file_bytes, self.own_file_bytes);
        self.set_oom_score(true);
        let spawned = spawn();
        self.set_oom_score(false);
        let _ = setrlimit(Resource::RLIMIT_FSIZE, self.own_file_bytes, self.own_file_bytes);
        spawned
    }

    fn set_oom_score(&mut self, of_bot: bool) {
        if let Some((file, own)) = &mut self.oom_score {
            let score = if of_bot { BOT_OOM_SCORE } else { own };
            // Where it is not allowed the kernel still tends to take the larger process, which is the bot.
            let _ = file.write_all(score.as_bytes());
        }
    }
}

fn open_oom_score() -> Option<(File, String)> {
    let path = "/proc/self/oom_score_adj";
    let own = std::fs::read_to_string(path).ok()?;
    let file = OpenOptions::new().write(true).open(path).ok()?;
    Some((file, own.trim().to_owned()))
}

/// The limit of a file's size for the bot, and for the agent, whose kept output may be more than a bot may write.
fn file_bytes(limits: &Limits) -> (rlim_t, rlim_t) {
    let own = limits.file_bytes.max(limits.log_bytes.saturating_add(OWN_FILE_BYTES));
    (limits.file_bytes, own)
}

fn at_most_hard(resource: Resource, wanted: u64) -> io::Result<rlim_t> {
    let (_, hard) = getrlimit(resource)?;
    Ok(wanted.min(hard))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_own_files_fit_its_limit() {
        let limits = Limits { file_bytes: 1 << 20, log_bytes: 32 << 20, ..Limits::default() };
        let (bot, own) = file_bytes(&limits);
        assert_eq!(bot, 1 << 20);
        assert!(own > 32 << 20);
        let (bot, own) = file_bytes(&Limits::default());
        assert_eq!(bot, own, "usually they are the same, and the bot's hard limit is its limit");
    }
}
