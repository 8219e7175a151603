//! Starting the bot's process, and sending signals to it and all it started.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    os::unix::process::CommandExt,
    path::Path,
    process::{ChildStderr, ChildStdout, Command, Stdio},
};

use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill, killpg},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

use crate::supervise::{Action, Ended};

/// The bot's process, and the group it leads.
#[derive(Debug)]
pub(crate) struct Bot {
    pid: Pid,
    /// Whether the agent is PID 1, so that everything else in its process namespace is the bot's.
    is_alone: bool,
}

/// Ends of the pipes the bot writes to.
#[derive(Debug)]
pub(crate) struct Pipes {
    pub(crate) stdout: ChildStdout,
    pub(crate) stderr: ChildStderr,
}

/// How to start it.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    pub(crate) program: &'a Path,
    pub(crate) args: &'a [String],
    pub(crate) env: &'a BTreeMap<OsString, OsString>,
    pub(crate) dir: &'a Path,
    pub(crate) run_as: Option<(u32, u32)>,
}

/// Starts the bot in a process group of its own.
pub(crate) fn spawn(start: &Start<'_>) -> io::Result<(Bot, Pipes)> {
    let mut command = Command::new(start.program);
    command.args(start.args).env_clear().envs(start.env).current_dir(start.dir).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some((uid, gid)) = start.run_as {
        // Supplementary groups are dropped with it.
        command.uid(uid).gid(gid);
    }
    let mut child = command.spawn()?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(io::Error::other("the bot's pipes are missing"));
    };
    // The handle is dropped: children are reaped all together, by `look`.
    let pid = Pid::from_raw(child.id().cast_signed());
    let is_alone = std::process::id() == 1;
    Ok((Bot { pid, is_alone }, Pipes { stdout, stderr }))
}

impl Bot {
    /// Its process id, as the agent sees it.
    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Does what the supervisor decided. A process that is gone meanwhile is no error.
    pub(crate) fn act(&self, action: Action) {
        match action {
            // The group only, while its leader lives: a bot may want to end its helpers in its own order.
            Action::Terminate => {
                let _ = killpg(self.pid, Signal::SIGTERM);
            }
            Action::Kill => {
                let _ = killpg(self.pid, Signal::SIGKILL);
                if self.is_alone {
                    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
                }
            }
        }
    }

    /// Asks what left the group (a daemon of the bot's) to end, too. Only PID 1 can tell whose it is.
    pub(crate) fn terminate_strays(&self) {
        if self.is_alone {
            let _ = kill(Pid::from_raw(-1), Signal::SIGTERM);
        }
    }

    /// Reaps every child that ended: how the bot's own process ended if it was among them, how many others were killed,
    /// and whether any process is left. As PID 1 or subreaper every descendant becomes our child sooner or later.
    pub(crate) fn look(&self) -> Look {
        let mut look = Look { main: None, any_left: true };
        loop {
            match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) if pid == self.pid => look.main = Some(Ended::Code(code)),
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == self.pid => {
                    look.main = Some(Ended::Signal(signal as i32));
                }
                Ok(WaitStatus::StillAlive) => return look,
                Err(Errno::ECHILD) => {
                    look.any_left = false;
                    return look;
                }
                Err(Errno::EINTR) | Ok(_) => {}
                Err(_) => return look,
            }
        }
    }
}

/// What a look at the children showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) main: Option<Ended>,
    pub(crate) any_left: bool,
}
