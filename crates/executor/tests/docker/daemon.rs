//! A Docker daemon of our own, which may be killed.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use bollard::Docker;
use futures::StreamExt;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use the0_core::{Executor, ExecutorError, Phase};
use the0_model::Cause;

use crate::rig::{FOREVER, Rig, SERVICE, find, skip, until};

const IMAGE: &str = "python:3.11-slim";

/// A daemon with everything of its own: socket, data, state.
struct Daemon {
    folder: tempfile::TempDir,
    running: Option<Child>,
}

impl Daemon {
    fn new() -> Option<Self> {
        let found = ["/usr/sbin/dockerd", "/usr/bin/dockerd"].iter().any(|path| Path::new(path).exists());
        if !found || !nix::unistd::geteuid().is_root() {
            skip("a second Docker daemon needs root and dockerd");
            return None;
        }
        let folder = tempfile::Builder::new().prefix("the0-dockerd-").tempdir().unwrap();
        Some(Self { folder, running: None })
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    async fn start(&mut self) -> Docker {
        let at = |name: &str| self.folder.path().join(name).display().to_string();
        // Where nobody reaps orphans, the old containerd is a zombie, which dockerd takes for alive and waits for.
        let _ = std::fs::remove_file(self.folder.path().join("exec/containerd/containerd.pid"));
        let log = std::fs::File::create(self.folder.path().join("dockerd.log")).unwrap();
        // In a network of its own: a daemon told to have no bridge removes the one that the main daemon uses.
        let child = Command::new("unshare")
            .args(["--net", "--", "dockerd"])
            .args(["--host", &format!("unix://{}", self.socket().display())])
            .args(["--data-root", &at("data"), "--exec-root", &at("exec"), "--pidfile", &at("pid")])
            .args(["--live-restore", "--iptables=false", "--ip6tables=false", "--bridge=none"])
            .env("PATH", "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.running = Some(child);
        let socket = self.socket().display().to_string();
        let log = self.folder.path().join("dockerd.log");
        until(&format!("the daemon answers; see {}", log.display()), async || {
            let docker = Docker::connect_with_unix(&socket, 600, bollard::API_DEFAULT_VERSION).ok()?;
            docker.ping().await.ok().map(|_| docker)
        })
        .await
    }

    fn end(&mut self, signal: Signal) {
        if let Some(mut child) = self.running.take() {
            let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
            let _ = kill(pid, signal);
            let _ = child.wait();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.end(Signal::SIGTERM);
        // The folder cannot be removed while anything is mounted in it.
        let inside = self.folder.path().display().to_string();
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let mut points: Vec<_> = mounts
            .lines()
            .filter_map(|line| line.split(' ').nth(1))
            .filter(|at| at.starts_with(&inside))
            .collect();
        points.sort_by_key(|point| std::cmp::Reverse(point.len()));
        for point in points {
            let _ = nix::mount::umount2(point, nix::mount::MntFlags::MNT_DETACH);
        }
    }
}

async fn copy_image(from: &Docker, to: &Docker) {
    let options = bollard::query_parameters::ImportImageOptionsBuilder::new().build();
    let layers = from.export_image(IMAGE);
    let mut steps = to.import_image_stream(options, layers, None).boxed();
    while let Some(step) = steps.next().await {
        step.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bots_outlive_a_daemon_that_is_killed_and_are_found_again() {
    let Some(main) = Rig::new().await else { return };
    let Some(mut daemon) = Daemon::new() else { return };
    let docker = daemon.start().await;
    copy_image(&main.docker, &docker).await;
    let host = format!("unix://{}", daemon.socket().display());
    let rig = Rig::on(Ok(docker), Some(host)).await.unwrap();
    let executor = rig.executor().await;
    let spec = rig.spec("b1", FOREVER);
    rig.run(&executor, &spec).await;
    let before = find(&executor, &spec.id).await.unwrap();
    let pid = before.pid.expect("it runs");
    let mut bell = executor.changes();
    bell.next().await;

    daemon.end(Signal::SIGKILL);
    let error = executor.list(SERVICE).await.unwrap_err();
    assert!(matches!(error, ExecutorError::Unreachable { .. }), "{error}");
    let error = executor.stop(&spec.id, Duration::from_secs(1)).await.unwrap_err();
    assert!(matches!(error, ExecutorError::Unreachable { .. }), "{error}");
    assert!(Path::new(&format!("/proc/{pid}")).exists(), "the bot goes on");

    daemon.start().await;
    tokio::time::timeout(Duration::from_secs(30), bell.next()).await.expect("it rings when it is back");
    assert_eq!(find(&executor, &spec.id).await.unwrap(), before, "the same process, by the same executor");
    let fresh = rig.executor().await;
    assert_eq!(find(&fresh, &spec.id).await.unwrap(), before, "and by a new one");
    assert_eq!(before.phase, Phase::Running);
    assert_eq!(fresh.stop(&spec.id, Duration::from_secs(5)).await.unwrap().unwrap().cause, Cause::Stopped);
    assert_eq!(rig.containers().await, []);
    drop(rig);
}
