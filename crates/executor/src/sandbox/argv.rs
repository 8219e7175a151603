//! Pure: bubblewrap's command line for one attempt.

use std::path::{Path, PathBuf};

use the0_model::{Limits, Network};

use crate::{
    launch::{COMMAND, HOSTNAME, Parts, mounts},
    provision::RunAs,
};

/// Size of the private `/dev/shm`, in bytes; it counts as memory.
const SHM_BYTES: u64 = 64 * 1024 * 1024;

/// What a unit sees of the machine, read-only. Found once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SystemView {
    /// Links at the root: `("bin", "usr/bin")`.
    pub(super) links: Vec<(String, PathBuf)>,
    /// Folders at the root that are no links: `/usr`, on older systems `/lib` too.
    pub(super) folders: Vec<PathBuf>,
    /// Files and folders of `/etc` that programs need and that hold no secrets.
    pub(super) etc: Vec<PathBuf>,
}

/// Everything the command line depends on.
#[derive(Debug)]
pub(super) struct Sandbox<'a> {
    /// The machine, as units see it.
    pub(super) view: &'a SystemView,
    /// What it sees as `/etc`.
    pub(super) etc: &'a Path,
    /// Folders of the machine's `/etc` that go over it.
    pub(super) etc_bound: &'a [PathBuf],
    /// Whether bubblewrap runs as root, so that it needs no user namespace.
    pub(super) root: bool,
    /// What the unit may reach.
    pub(super) network: Network,
    /// What it may use.
    pub(super) limits: &'a Limits,
    /// Its parts on this machine.
    pub(super) parts: &'a Parts,
    /// Where its interpreter is, if outside the folders of `view`.
    pub(super) interpreter: &'a [PathBuf],
    /// Its own control groups and where it sees them, for the agent to read its counters.
    pub(super) counters: &'a [(PathBuf, String)],
}

/// The arguments, without those that name open files.
pub(super) fn arguments(sandbox: &Sandbox<'_>) -> Vec<String> {
    let mut line = Line::default();
    line.add(&["--unshare-pid", "--unshare-ipc", "--unshare-uts"]);
    if !sandbox.root {
        line.add(&["--unshare-user"]);
    }
    if sandbox.network == Network::None {
        line.add(&["--unshare-net"]);
    }
    // The agent is process 1 itself: it reaps. A session of its own cannot push input into a terminal.
    line.add(&["--as-pid-1", "--new-session", "--hostname", HOSTNAME, "--cap-drop", "ALL"]);
    if sandbox.root {
        // What the agent needs to start the bot as another user and to stop it; the bot itself gets none.
        line.add(&["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_KILL"]);
    }
    for folder in &sandbox.view.folders {
        line.bind("--ro-bind", folder, folder);
    }
    for (name, target) in &sandbox.view.links {
        line.add(&["--symlink", &text(target), &format!("/{name}")]);
    }
    line.bind("--ro-bind", sandbox.etc, Path::new("/etc"));
    for path in sandbox.etc_bound {
        line.bind("--ro-bind-try", path, path);
    }
    line.add(&["--proc", "/proc", "--dev", "/dev"]);
    line.tmpfs("/dev/shm", SHM_BYTES.min(sandbox.limits.memory_bytes));
    line.add(&["--remount-ro", "/dev"]);
    line.tmpfs("/tmp", sandbox.limits.tmp_bytes.max(4096));
    for path in sandbox.interpreter {
        line.parents(path);
        line.bind("--ro-bind", path, path);
    }
    for mount in mounts(sandbox.parts) {
        line.parents(Path::new(mount.target));
        let how = if mount.writable { "--bind" } else { "--ro-bind" };
        line.bind(how, &mount.source, Path::new(mount.target));
    }
    for (group, seen) in sandbox.counters {
        line.bind("--ro-bind", group, Path::new(seen));
    }
    line.add(&["--remount-ro", "/", "--chdir", "/bot"]);
    line.0
}

/// What bubblewrap starts.
pub(super) fn command() -> Vec<String> {
    COMMAND.map(str::to_owned).to_vec()
}

/// The user and group files of a unit: `passwd` and `group`.
pub(super) fn accounts(run_as: RunAs) -> [(&'static str, String); 2] {
    let RunAs { uid, gid } = run_as;
    [
        ("passwd", format!("root:x:0:0::/:/bin/false\nbot:x:{uid}:{gid}::/tmp:/bin/false\n")),
        ("group", format!("root:x:0:\nbot:x:{gid}:\n")),
    ]
}

#[derive(Default)]
struct Line(Vec<String>);

impl Line {
    fn add(&mut self, words: &[&str]) {
        self.0.extend(words.iter().map(|&word| word.to_owned()));
    }

    fn bind(&mut self, how: &str, source: &Path, target: &Path) {
        self.add(&[how, &text(source), &text(target)]);
    }

    /// Makes what is above a path, for everyone to pass: bubblewrap would make it as private as what is bound there.
    fn parents(&mut self, path: &Path) {
        let mut above: Vec<_> = path.ancestors().skip(1).filter(|above| above.parent().is_some()).collect();
        above.reverse();
        for above in above {
            let made = self.0.windows(2).any(|pair| pair[0] == "--dir" && Path::new(&pair[1]) == above);
            if !made {
                self.add(&["--dir", &text(above)]);
            }
        }
    }

    fn tmpfs(&mut self, target: &str, bytes: u64) {
        self.add(&["--perms", "1777", "--size", &bytes.to_string(), "--tmpfs", target]);
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(root: bool, network: Network) -> String {
        let view = SystemView {
            links: vec![("bin".into(), "usr/bin".into()), ("lib64".into(), "usr/lib64".into())],
            folders: vec!["/usr".into()],
            etc: vec![],
        };
        let parts = Parts {
            tools: "/d/tools/x".into(),
            code: "/d/cache/code/y".into(),
            state: "/d/units/bot-b1/state".into(),
            input: "/d/units/bot-b1/attempts/000001/in".into(),
            attempt: "/d/units/bot-b1/attempts/000001/attempt".into(),
            out: "/d/units/bot-b1/attempts/000001/out".into(),
        };
        let interpreter = [PathBuf::from("/opt/python3.11")];
        let counters = [(PathBuf::from("/sys/fs/cgroup/memory/the0/x"), "/sys/fs/cgroup/memory".to_owned())];
        let sandbox = Sandbox {
            view: &view,
            etc: Path::new("/d/units/.etc"),
            etc_bound: &["/etc/ssl/certs".into()],
            root,
            network,
            limits: &Limits::default(),
            parts: &parts,
            interpreter: &interpreter,
            counters: &counters,
        };
        arguments(&sandbox).join(" ").replace(" --", "\n--")
    }

    #[test]
    fn as_root() {
        insta::assert_snapshot!(line(true, Network::Outside));
    }

    #[test]
    fn as_a_user_without_network() {
        let shown = line(false, Network::None);
        assert!(shown.contains("--unshare-user\n--unshare-net"), "{shown}");
        assert!(!shown.contains("--cap-add"), "{shown}");
    }
}
