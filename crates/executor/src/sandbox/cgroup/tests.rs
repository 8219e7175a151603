use super::*;

/// A folder that looks like the kernel's, as far as plain files can.
fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

#[test]
fn version_1_has_a_folder_per_controller() {
    let root = tree(&[
        ("memory/cgroup.procs", ""),
        ("memory/the0/cgroup.procs", ""),
        ("memory/the0/d1-bot-b1/memory.limit_in_bytes", ""),
        ("pids/cgroup.procs", ""),
    ]);
    let found = Cgroups::discover(root.path(), "", "d1".into());
    assert_eq!(found.version(), Some(1));
    assert!(found.controls("memory") && found.controls("pids") && !found.controls("cpu"));
    let group = found.group("bot-b1");
    group.create(&Limits::default()).unwrap();
    let limit = root.path().join("memory/the0/d1-bot-b1/memory.limit_in_bytes");
    assert_eq!(fs::read_to_string(limit).unwrap(), "536870912");
    let seen: Vec<_> = group.counters().into_iter().map(|(_, seen)| seen).collect();
    assert_eq!(seen, ["/sys/fs/cgroup/memory"]);
}

#[test]
fn version_2_has_one_folder_and_only_what_was_granted() {
    let root = tree(&[
        ("cgroup.controllers", "memory pids cpu"),
        ("the0", "at the top nothing may be made"),
        ("user.slice/the0/cgroup.procs", ""),
        ("user.slice/the0/d1-bot-b1/cpu.max", ""),
        // Plain files keep the last write, `+cpu`, where a kernel's show all that was granted.
        ("user.slice/the0/cgroup.subtree_control", ""),
    ]);
    let membership = "0::/user.slice/me.service\n";
    assert_eq!(
        Cgroups::discover(root.path(), membership, "d1".into()).version(),
        None,
        "asked for, not granted"
    );
    let ours = root.path().join("user.slice/the0");
    let granted = Cgroups { kind: Kind::V2(ours.clone(), ["cpu"].into()), prefix: "d1".into() };
    assert!(granted.controls("cpu") && !granted.controls("memory"));
    let group = granted.group("bot-b1");
    group.create(&Limits::default()).unwrap();
    assert_eq!(fs::read_to_string(ours.join("d1-bot-b1/cpu.max")).unwrap(), "50000 100000");
    assert!(!ours.join("d1-bot-b1/memory.max").exists(), "nothing is written where nothing is granted");
    assert_eq!(group.doors(), [ours.join("d1-bot-b1/cgroup.procs")]);
    assert_eq!(group.counters()[0].1, "/sys/fs/cgroup");
}

#[test]
fn only_groups_of_our_units_that_are_gone_are_swept() {
    let root = tree(&[("pids/cgroup.procs", "")]);
    let found = Cgroups::discover(root.path(), "", "d1".into());
    let ours = root.path().join("pids/the0");
    for name in ["d1-bot-gone", "d1-bot-here", "d2-bot-other"] {
        fs::create_dir_all(ours.join(name)).unwrap();
    }
    found.sweep(&["bot-here".to_owned()].into());
    let mut left: Vec<_> = fs::read_dir(ours).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["d1-bot-here", "d2-bot-other"]);
}

#[test]
fn without_groups_there_is_nothing_to_limit_or_count() {
    let root = tempfile::tempdir().unwrap();
    let found = Cgroups::discover(root.path(), "", "d1".into());
    assert_eq!(found.version(), None);
    let group = found.group("bot-b1");
    group.create(&Limits::default()).unwrap();
    assert!(group.doors().is_empty() && group.stats().is_none() && group.kills_at_limit() == 0);
}
