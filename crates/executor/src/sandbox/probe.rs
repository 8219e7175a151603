//! Looks at the machine once, by trying: can bubblewrap make a sandbox here, and what will units see.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use tokio::{process::Command, time::timeout};

use super::{argv::SystemView, capabilities::advice};

/// Longest wait for bubblewrap to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Why units cannot be run in a sandbox here.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// There is no bubblewrap.
    #[error(
        "bubblewrap was not found at {path}; install it (Debian, Ubuntu: `apt-get install bubblewrap`, Fedora: \
         `dnf install bubblewrap`), or use `--executor docker`"
    )]
    NoBubblewrap {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// It is there and cannot make a sandbox.
    #[error("bubblewrap cannot make a sandbox here ({said}); {advice}")]
    NoNamespaces {
        /// What it said.
        said: String,
        /// What to do.
        advice: &'static str,
    },
    /// A folder is not usable.
    #[error("the folder {path} is not usable: {reason}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The processor's architecture has no system call filter.
    #[error(transparent)]
    Seccomp(#[from] super::seccomp::SeccompError),
}

/// Bubblewrap's version, after it has shown that it works.
pub(super) async fn bubblewrap(path: &Path, root: bool) -> Result<String, SandboxError> {
    let version = run(path, &["--version"], root).await?;
    let mut trial: Vec<String> =
        ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-net", "--as-pid-1"]
            .map(str::to_owned)
            .to_vec();
    if !root {
        trial.push("--unshare-user".to_owned());
    }
    // What units see, not the whole machine: a mount somewhere that goes away meanwhile says nothing about sandboxes.
    let view = view();
    for folder in view.folders.iter().map(|folder| folder.display().to_string()) {
        trial.extend(["--ro-bind".to_owned(), folder.clone(), folder]);
    }
    for (name, target) in &view.links {
        trial.extend(["--symlink".to_owned(), target.display().to_string(), format!("/{name}")]);
    }
    trial.extend(
        ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--", "/bin/true"].map(str::to_owned),
    );
    let trial: Vec<&str> = trial.iter().map(String::as_str).collect();
    let tried = run(path, &trial, root).await?;
    if !tried.status.success() {
        let said = String::from_utf8_lossy(&tried.stderr).trim().to_owned();
        return Err(SandboxError::NoNamespaces { advice: advice(&said, root), said });
    }
    Ok(String::from_utf8_lossy(&version.stdout).trim().to_owned())
}

async fn run(path: &Path, arguments: &[&str], root: bool) -> Result<Output, SandboxError> {
    let mut command = Command::new(path);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    match timeout(ANSWER_WITHIN, command.output()).await {
        Ok(Ok(said)) => Ok(said),
        Ok(Err(_)) => Err(SandboxError::NoBubblewrap { path: path.into() }),
        Err(_) => {
            let said = "it does not answer".to_owned();
            Err(SandboxError::NoNamespaces { said, advice: advice("", root) })
        }
    }
}

/// What of the machine units see.
pub(super) fn view() -> SystemView {
    let mut view = SystemView { folders: vec!["/usr".into()], ..SystemView::default() };
    for name in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
        let path = Path::new("/").join(name);
        match fs::read_link(&path) {
            Ok(target) => view.links.push((name.to_owned(), target)),
            Err(_) if path.is_dir() => view.folders.push(path),
            Err(_) => {}
        }
    }
    let wanted = [
        "alternatives",
        "crypto-policies",
        "gai.conf",
        "host.conf",
        "hosts",
        "ld.so.cache",
        "localtime",
        "mime.types",
        "nsswitch.conf",
        "pki/ca-trust",
        "pki/tls/cert.pem",
        "pki/tls/certs",
        "protocols",
        "resolv.conf",
        "services",
        "ssl/certs",
        "ssl/openssl.cnf",
        "timezone",
    ];
    view.etc =
        wanted.into_iter().map(|name| Path::new("/etc").join(name)).filter(|path| path.exists()).collect();
    // Java keeps its settings there and links to them from /usr.
    let java = fs::read_dir("/etc").into_iter().flatten().flatten().map(|entry| entry.path());
    let is_java =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("java-"));
    view.etc.extend(java.filter(is_java));
    view.etc.sort();
    view
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_missing_bubblewrap_says_what_to_install() {
        let error = bubblewrap(Path::new("/nonexistent/bwrap"), true).await.unwrap_err().to_string();
        assert!(error.contains("apt-get install bubblewrap"), "{error}");
    }

    #[tokio::test]
    async fn one_that_fails_says_what_it_said() {
        let error = bubblewrap(Path::new("/bin/false"), false).await.unwrap_err().to_string();
        assert!(error.contains("cannot make a sandbox"), "{error}");
    }

    #[test]
    fn no_secrets_of_the_machine_are_shown() {
        let view = view();
        assert!(view.folders.contains(&"/usr".into()));
        for hidden in
            ["/etc", "/etc/shadow", "/etc/ssl", "/etc/ssl/private", "/home", "/root", "/var", "/run"]
        {
            assert!(!view.etc.iter().chain(&view.folders).any(|path| path == Path::new(hidden)), "{hidden}");
        }
    }
}
