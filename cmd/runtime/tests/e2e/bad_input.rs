//! What people get wrong: each has a clear error and leaves nothing behind.

use std::{fs, net::TcpListener, process::Command};

use crate::{
    files,
    rig::{Service, dev, executors, run, runtime},
};

#[test]
fn without_a_service_it_says_how_to_start_one() {
    let bots = tempfile::tempdir().unwrap();
    let dir = files::counter(bots.path(), "b1");
    for args in [&["bots", "ls"][..], &["bots", "deploy", dir.to_str().unwrap()], &["status"]] {
        let ended = run(runtime(args).env("THE0_SERVER", "http://127.0.0.1:1"));
        assert_eq!(ended.code, 5, "{args:?}: {}", ended.err);
        assert!(
            ended.err.contains("no runtime answers at http://127.0.0.1:1; start one with `runtime dev`"),
            "{}",
            ended.err
        );
    }
}

#[test]
fn without_arguments_it_shows_its_help() {
    let ended = run(&mut runtime(&[]));
    assert_eq!(ended.code, 2);
    assert!(ended.err.contains("Usage: runtime") || ended.out.contains("Usage: runtime"));
    assert_eq!(run(&mut runtime(&["--help"])).code, 0);
    assert!(run(&mut runtime(&["bots", "--help"])).out.contains("Exit codes: 0 ok"));
    let version = run(&mut runtime(&["version", "--json"]));
    assert!(version.out.contains(env!("CARGO_PKG_VERSION")), "{}", version.out);
    assert!(run(&mut runtime(&["completions", "bash"])).out.contains("runtime"));
}

#[test]
fn a_configuration_is_refused_with_all_its_faults() {
    let dir = tempfile::tempdir().unwrap();
    let ended = run(dev(&dir.path().join("d"), &["--listen", "here", "--executor", "podman"])
        .env("THE0_LOG_FORMAT", "xml"));
    assert_eq!(ended.code, 2, "{}", ended.err);
    for part in
        ["3 faults", "listen (flag --listen)", "executor (flag --executor)", "environment THE0_LOG_FORMAT"]
    {
        assert!(ended.err.contains(part), "{part}: {}", ended.err);
    }
    assert!(!dir.path().join("d").exists(), "something was made");
}

#[test]
fn a_taken_port_is_named_and_nothing_is_started() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let dir = tempfile::tempdir().unwrap();
    let ended = run(&mut dev(dir.path(), &["--listen", &format!("127.0.0.1:{port}")]));
    assert_eq!(ended.code, 4, "{}", ended.err);
    assert!(ended.err.contains(&format!("port {port}")) && ended.err.contains("--listen"), "{}", ended.err);
    assert!(!dir.path().join("runtime.db").exists());
}

#[test]
fn a_second_service_on_the_same_data_is_refused_by_name() {
    let Some(executor) = executors().first().copied() else { return };
    let mut service = Service::start(executor);
    let ended = run(&mut dev(&service.dir, &["--listen", "127.0.0.1:0"]));
    assert_eq!(ended.code, 4, "{}", ended.err);
    let address = service.url.trim_start_matches("http://");
    let said = format!("another runtime (pid {} at {address})", service.pid());
    assert!(ended.err.contains(&said), "{said} is missing in {}", ended.err);
    // What a killed one left behind keeps nobody out.
    service.kill();
    assert!(fs::read_to_string(service.dir.join("runtime.lock")).unwrap().contains("pid"));
    let service = service.again();
    service.run(&["status"]);
}

#[test]
fn a_data_directory_that_is_full_or_not_writable_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let ended = run(&mut dev(&file.join("below"), &[]));
    assert!(
        ended.code == 1 && ended.err.contains("cannot be used") && ended.err.contains("--data-dir"),
        "{}",
        ended.err
    );
    // A file system that nobody, root included, may write to.
    let ended = run(&mut dev("/proc/the0".as_ref(), &[]));
    assert!(ended.code == 1 && ended.err.contains("/proc/the0"), "{}", ended.err);
    let ended = run(&mut dev(&dir.path().join("d"), &["--min-free-bytes", "1000000Gi"]));
    assert!(ended.code == 1 && ended.err.contains("is full"), "{}", ended.err);
}

#[test]
fn a_small_disk_fills_up_without_harm() {
    let Some(executor) = executors().first().copied() else { return };
    let agent = fs::metadata(crate::rig::RUNTIME).unwrap().len();
    let Some(disk) = SmallDisk::mount((agent >> 20) + 40) else { return };
    let data = disk.0.path().join("data");
    let needs = format!("{}Mi", (agent >> 20) + 80);
    let ended = run(&mut dev(&data, &["--min-free-bytes", &needs, "--executor", executor]));
    assert!(
        ended.code == 1 && ended.err.contains("is full") && ended.err.contains("--data-dir"),
        "{}",
        ended.err
    );

    let service = Service::start_at(&data, executor, &["--min-free-bytes", "1Mi"]);
    let bundle = disk.1.path().join("large.zip");
    let mut noise = vec![0; 60 << 20];
    std::io::Read::read_exact(&mut fs::File::open("/dev/urandom").unwrap(), &mut noise).unwrap();
    files::zip(&bundle, &[("main.py", b"def main(bot_id, config): pass\n"), ("noise", &noise)]);
    let bundle = bundle.to_str().unwrap();
    let ended = service.try_run(&["bots", "deploy", bundle, "--id", "b1", "--runtime", "python3.11"]);
    assert!(
        ended.code == 1 && ended.err.contains("the data directory is full"),
        "{} {}",
        ended.code,
        ended.err
    );
    assert_eq!(data.join("cache/uploads").read_dir().unwrap().count(), 0);
    // It goes on as before.
    let small = files::counter(disk.1.path(), "small");
    service.run(&["bots", "deploy", small.to_str().unwrap(), "--wait"]);
    drop(service);

    disk.remount("ro");
    let ended = run(&mut dev(&data, &["--min-free-bytes", "0"]));
    assert!(ended.code == 1 && ended.err.contains("not writable"), "{}", ended.err);
}

/// A file system in memory, and a folder elsewhere; needs root.
struct SmallDisk(tempfile::TempDir, tempfile::TempDir);

impl SmallDisk {
    fn mount(megabytes: u64) -> Option<Self> {
        let disk = Self(tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let options = format!("size={megabytes}m");
        let mounted =
            run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(disk.0.path()));
        if mounted.code != 0 {
            eprintln!("skipped: only root mounts: {}", mounted.err);
            return None;
        }
        Some(disk)
    }

    fn remount(&self, how: &str) {
        assert_eq!(
            run(Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(self.0.path())).code,
            0
        );
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        run(Command::new("umount").arg("--lazy").arg(self.0.path()));
    }
}

#[test]
fn a_docker_that_is_not_there_is_not_replaced_silently() {
    let dir = tempfile::tempdir().unwrap();
    let absent = dir.path().join("absent.sock");
    let refused = dir.path().join("refused.sock");
    // A socket nobody listens on any more.
    drop(std::os::unix::net::UnixListener::bind(&refused).unwrap());
    for socket in [&absent, &refused] {
        let host = format!("unix://{}", socket.display());
        let data = dir.path().join("data");
        let ended = run(&mut dev(
            &data,
            &["--executor", "docker", "--docker-host", &host, "--listen", "127.0.0.1:0"],
        ));
        assert_eq!(ended.code, 5, "{}", ended.err);
        assert!(ended.err.contains("--executor docker") && ended.err.contains("sandbox"), "{}", ended.err);
    }
}

#[test]
fn init_overwrites_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("my-bot");
    let init = || run(&mut runtime(&["init", target.to_str().unwrap(), "--runtime", "nodejs20"]));
    assert_eq!(init().code, 0);
    fs::write(target.join("bot.yaml"), "mine").unwrap();
    assert_eq!(init().code, 4);
    assert_eq!(fs::read_to_string(target.join("bot.yaml")).unwrap(), "mine");
    assert_eq!(run(&mut runtime(&["init", target.to_str().unwrap(), "--runtime", "cobol"])).code, 2);
}

#[test]
fn a_manifest_with_an_unknown_key_is_refused_with_its_line() {
    let bots = tempfile::tempdir().unwrap();
    let dir = files::bot(bots.path(), "b1", "", "memmory: 5\n");
    let ended = run(&mut runtime(&["bots", "deploy", dir.to_str().unwrap()]));
    assert_eq!(ended.code, 2, "{}", ended.err);
    assert!(ended.err.contains("memmory") && ended.err.contains("line 7"), "{}", ended.err);
}

#[test]
fn every_fault_of_a_deployment_is_named() {
    let Some(executor) = executors().first().copied() else { return };
    let bots = tempfile::tempdir().unwrap();
    let dir = files::counter(bots.path(), "b1");
    let source = dir.to_str().unwrap();
    let service = Service::start(executor);
    let two_megabytes = bots.path().join("big.json");
    fs::write(&two_megabytes, format!("{{\"k\": \"{}\"}}", "x".repeat(2 << 20))).unwrap();
    let big = format!("@{}", two_megabytes.display());
    let long = "x".repeat(300);
    for (args, field) in [
        (&["--id", ""][..], "--id"),
        (&["--id", &long], "bot_id"),
        (&["--id", "a/b"], "bot_id"),
        (&["--id", "bötchen"], "bot_id"),
        (&["--runtime", "cobol"], "runtime"),
        (&["--entrypoint", "other.py"], "entrypoint"),
        (&["--entrypoint", "../main.py"], "entrypoint"),
        (&["--config", "nope"], "config_json"),
        (&["--config", "[1]"], "config_json"),
        (&["--config", &big], "config_json"),
        (&["--memory", "1"], "limits.memory_bytes"),
        (&["--env", "1x=y"], "environment"),
        (&["--image", "not an image"], "image"),
    ] {
        let mut all = vec!["bots", "deploy", source];
        all.extend(args);
        let ended = service.try_run(&all);
        assert_eq!(ended.code, 2, "{args:?}: {}", ended.err);
        assert!(ended.err.contains(field), "{field}: {}", ended.err);
    }
    let missing = service.try_run(&["bots", "deploy", source, "--entrypoint", "man.py"]);
    assert!(missing.err.contains("main.py"), "it does not say what the bundle holds: {}", missing.err);
    let many =
        service.try_run(&["bots", "deploy", source, "--id", "a/b", "--runtime", "cobol", "--config", "nope"]);
    for field in ["bot_id", "runtime", "config_json"] {
        assert!(many.err.contains(field), "{field}: {}", many.err);
    }
    assert_eq!(service.json(&["bots", "ls"]), serde_json::json!([]));
    assert!(
        service
            .dir
            .join("units")
            .read_dir()
            .unwrap()
            .flatten()
            .all(|entry| entry.file_name().to_string_lossy().starts_with('.'))
    );
}

#[test]
fn a_bot_that_is_not_there_is_not_found_and_a_taken_id_is_a_conflict() {
    let Some(executor) = executors().first().copied() else { return };
    let bots = tempfile::tempdir().unwrap();
    let dir = files::counter(bots.path(), "b1");
    let service = Service::start(executor);
    for args in [
        &["bots", "show", "none"][..],
        &["bots", "status", "none"],
        &["bots", "start", "none"],
        &["bots", "stop", "none"],
        &["bots", "restart", "none"],
        &["bots", "logs", "none"],
        &["bots", "why", "none"],
        &["bots", "rm", "none", "--yes"],
        &["bots", "config", "set", "none", "a=1"],
    ] {
        let ended = service.try_run(args);
        assert_eq!(ended.code, 3, "{args:?}: {}", ended.err);
    }
    service.run(&["bots", "deploy", dir.to_str().unwrap(), "--disabled"]);
    let again = service.try_run(&["bots", "deploy", dir.to_str().unwrap(), "--create-only"]);
    assert!(again.code == 4 && again.err.contains("b1 exists already"), "{}", again.err);
    let stale = service.try_run(&["bots", "config", "set", "b1", "a=1", "--revision", "99"]);
    assert!(stale.code == 4 && stale.err.contains("read it again"), "{}", stale.err);
    assert_eq!(service.try_run(&["bots", "rm", "b1"]).code, 2, "nobody to ask");
    assert_eq!(service.status("b1")["phase"], "stopped");
}

#[test]
fn waiting_for_a_bot_that_ends_at_once_does_not_call_it_running() {
    let bots = tempfile::tempdir().unwrap();
    let fails = files::bot(
        bots.path(),
        "fails",
        "import time\ndef main(i, c):\n    time.sleep(0.3)\n    no_such\n",
        "",
    );
    let ends = files::bot(bots.path(), "ends", "def main(i, c):\n    pass\n", "");
    let service = Service::start(executors().first().expect("an executor"));
    for (dir, says) in [(&fails, "NameError"), (&ends, "completed")] {
        let ended = service.try_run(&["bots", "deploy", dir.to_str().unwrap(), "--wait"]);
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(ended.err.contains(says), "{ended:?}");
    }
}

#[test]
fn deploying_a_bot_that_is_switched_off_says_that_it_does_not_run() {
    let bots = tempfile::tempdir().unwrap();
    let dir = files::counter(bots.path(), "off");
    let service = Service::start(executors().first().expect("an executor"));
    let deploy = ["bots", "deploy", dir.to_str().unwrap(), "--wait"];
    service.run(&[&deploy[..], &["--disabled"]].concat());
    let again = service.run(&[&deploy[..], &["--set", "step=2"]].concat());
    assert!(again.contains("switched off") && again.contains("runtime bots start off"), "{again}");
}
