//! Makes a unit run.

use std::{io, path::PathBuf, process::Stdio, time::Duration};

use futures::StreamExt;
use inotify::{EventStream, Inotify, WatchMask};
use the0_core::{ExecutorError, OnError, Owner, executor::Started};
use the0_model::{UnitSpec, agent::file};
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
    time::timeout,
};

use super::{
    SandboxExecutor,
    argv::{self, Sandbox},
    blocking, failed,
    launcher::{self, ERRORS, Order},
    observe::is_alive,
    process::{ProcessId, boot},
    registry::{self, Entry, LaunchDir},
};
use crate::{
    launch::AgentOptions,
    provision::Prepared,
    units::{make_dir, write_atomically},
};

/// Longest wait for the agent's first word, on a busy machine.
const FIRST_WORD_WITHIN: Duration = Duration::from_secs(10);
/// Longest complaint of bubblewrap that is passed on, in bytes.
const COMPLAINT_MAX: usize = 600;

impl SandboxExecutor {
    /// Starts a unit. The caller holds its turn.
    pub(super) async fn start_unit(&self, spec: &UnitSpec, owner: &Owner) -> Result<Started, ExecutorError> {
        if let Some(entry) = registry::read(&self.units().unit(&spec.id)) {
            return if is_alive(&entry) && entry.spec_digest() == Some(spec.digest()) {
                Ok(Started { attempt: entry.attempt, fresh: false })
            } else {
                let reason =
                    format!("attempt {} of {} is still there; stop it first", entry.attempt, spec.id);
                Err(ExecutorError::Failed { action: "start", reason })
            };
        }
        let (program, needs) = self.interpreter(spec)?;
        let options = AgentOptions {
            interpreter: program,
            run_as_inside: self.0.root.then(|| {
                let run_as = self.0.config.provision.run_as();
                (run_as.uid, run_as.gid)
            }),
            leased: self.0.config.leased,
            // A root without a user namespace would count the processes of all bots together.
            processes: (!self.0.root && !self.0.cgroups.controls("pids")).then_some(spec.limits.pids),
        };
        // It gets ready beside the preparations, and does nothing before it is told where its order is.
        let launcher = self.ready_launcher()?;
        let prepared = self.0.config.provision.prepare(spec, owner, options).await?;
        match self.make(spec, owner, &prepared, needs, launcher).await {
            Ok(()) => Ok(Started { attempt: prepared.attempt, fresh: true }),
            Err(error) => {
                self.clear_away(&spec.id, &prepared).await;
                Err(error)
            }
        }
    }

    fn interpreter(&self, spec: &UnitSpec) -> Result<(Option<String>, Vec<PathBuf>), ExecutorError> {
        match self.0.interpreters.get(&spec.runtime) {
            None => Ok((None, vec![])),
            Some(Ok(found)) => Ok((Some(found.program.to_string_lossy().into_owned()), found.needs.clone())),
            Some(Err(reason)) => {
                Err(ExecutorError::Refused { reason: format!("{} cannot run here: {reason}", spec.runtime) })
            }
        }
    }

    /// A launcher that waits for its order, and ends without one if it is dropped or this process ends.
    fn ready_launcher(&self) -> Result<Child, ExecutorError> {
        Command::new(self.0.config.provision.tools().join("runtime"))
            .args(["sandbox-launch", launcher::TOLD])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| failed("start the launcher", &error))
    }

    async fn make(
        &self,
        spec: &UnitSpec,
        owner: &Owner,
        prepared: &Prepared,
        needs: Vec<PathBuf>,
        mut launcher: Child,
    ) -> Result<(), ExecutorError> {
        let mut entry = Entry {
            unit: spec.id.clone(),
            digest: spec.digest().to_string(),
            owner: owner.clone().into(),
            attempt: prepared.attempt,
            started_at: self.0.config.clock.now(),
            network: spec.network,
            boot: boot(),
            agent: None,
        };
        let (this, spec, ready, starting) = (self.clone(), spec.clone(), prepared.clone(), entry.clone());
        let news = blocking(move || {
            this.order(&spec, &ready, &starting, &needs)
                .map_err(|error| failed("prepare the sandbox", &error))
        })
        .await?;
        let launch = LaunchDir::of(&prepared.dir);
        if let Some(mut told) = launcher.stdin.take() {
            // Shorter than a pipe: it is taken at once. Closed by leaving it, which is the end of the path.
            told.write_all(launch.order().as_os_str().as_encoded_bytes())
                .await
                .map_err(|error| failed("tell the launcher", &error))?;
        }
        self.first_word(&mut launcher, news, prepared, &launch).await?;
        entry.agent = launch.agent();
        registry::write(&prepared.unit, &entry).map_err(|error| failed("record the unit", &error))?;
        self.attend(&entry, Some(launcher));
        Ok(())
    }

    /// Everything that comes before the launcher. Blocking.
    fn order(
        &self,
        spec: &UnitSpec,
        prepared: &Prepared,
        entry: &Entry,
        needs: &[PathBuf],
    ) -> io::Result<EventStream<[u8; 1024]>> {
        registry::write(&prepared.unit, entry)?;
        let group = self.0.cgroups.group(&spec.id.slug());
        group.create(&spec.limits)?;
        let launch = LaunchDir::of(&prepared.dir);
        make_dir(launch.path(), 0o700)?;
        self.0.etc.refresh();
        let order = Order {
            bwrap: self.0.config.bwrap.clone(),
            arguments: argv::arguments(&Sandbox {
                view: &self.0.view,
                etc: self.0.etc.folder(),
                etc_bound: self.0.etc.bound(),
                root: self.0.root,
                network: spec.network,
                limits: &spec.limits,
                parts: &prepared.parts(),
                interpreter: needs,
                counters: &group.counters(),
            }),
            command: argv::command(),
            doors: group.doors(),
            data_bytes: (!self.0.cgroups.controls("memory")).then_some(spec.limits.memory_bytes),
        };
        write_atomically(&launch.order(), &serde_json::to_vec(&order)?, 0o600)?;
        let watch = Inotify::init()?;
        watch.watches().add(prepared.dir.attempt(), WatchMask::CREATE | WatchMask::MOVED_TO)?;
        watch.into_event_stream([0; 1024])
    }

    /// Waits until the agent says that the bot runs, or how it ended.
    async fn first_word(
        &self,
        launcher: &mut Child,
        mut news: EventStream<[u8; 1024]>,
        prepared: &Prepared,
        launch: &LaunchDir,
    ) -> Result<(), ExecutorError> {
        let attempt = prepared.dir.attempt();
        let said = || attempt.join(file::STATUS).exists() || attempt.join(file::EXIT).exists();
        let waited = timeout(FIRST_WORD_WITHIN, async {
            loop {
                if said() {
                    return None;
                }
                tokio::select! {
                    ended = launcher.wait() => return Some(ended),
                    // An error of the watch is followed by another look, and in the end by the timeout.
                    _ = news.next() => {}
                }
            }
        })
        .await;
        // The kernel takes some 15 ms to end a watch, and we need not wait for it.
        drop(tokio::task::spawn_blocking(move || drop(news)));
        let action = "start the sandbox";
        match waited {
            Ok(None) => Ok(()),
            Ok(Some(_)) if said() => Ok(()),
            Ok(Some(ended)) => {
                let code = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
                let reason = complaint(launch).unwrap_or_else(|| format!("it ended at once, {code}"));
                Err(ExecutorError::Failed { action, reason })
            }
            Err(_) => {
                let said = complaint(launch).unwrap_or_default();
                let reason = format!("the agent gave no sign within {FIRST_WORD_WITHIN:?} {said}");
                Err(ExecutorError::Failed { action, reason: reason.trim_end().to_owned() })
            }
        }
    }

    /// Rings when a unit has ended, and reaps what is ours.
    pub(super) fn attend(&self, entry: &Entry, launcher: Option<Child>) {
        let (this, agent) = (self.clone(), entry.agent);
        self.0.config.tasks.spawn(format!("unit {}", entry.unit), OnError::Log, async move {
            let cancelled = this.0.config.tasks.cancelled();
            let ended = async {
                if let Some(held) = agent.map(ProcessId::hold).transpose()?.flatten() {
                    held.ended().await?;
                }
                this.ring();
                if let Some(mut launcher) = launcher {
                    launcher.wait().await?;
                }
                Ok(())
            };
            tokio::select! {
                () = cancelled.cancelled() => Ok(()),
                done = ended => done,
            }
        });
    }

    /// After a failed start: nothing of it stays.
    async fn clear_away(&self, unit: &the0_model::UnitId, prepared: &Prepared) {
        let launch = LaunchDir::of(&prepared.dir);
        launch.take_back();
        self.kill(&launch).await;
        if let Err(error) = self.0.cgroups.group(&unit.slug()).remove().await {
            tracing::warn!(%unit, %error, "could not remove the control group of a failed start");
        }
        if let Err(error) = registry::remove(&prepared.unit) {
            tracing::warn!(%unit, %error, "could not remove the entry of a failed start");
        }
        self.0.config.provision.discard(prepared).await;
    }
}

fn complaint(launch: &LaunchDir) -> Option<String> {
    let text = std::fs::read_to_string(launch.path().join(ERRORS)).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.chars().take(COMPLAINT_MAX).collect())
}
