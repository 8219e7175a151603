//! Bundles that must not be taken, through the API as anyone would send them: nothing is left of them.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use crate::{
    files,
    rig::{Service, executors},
};

#[test]
fn bad_archives_leave_nothing_behind() {
    let Some(executor) = executors().first().copied() else { return };
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(executor);
    let before = everything(&service.dir);
    for (name, says, path) in bad_archives(folder.path()) {
        let ended = service.try_run(&[
            "bots",
            "deploy",
            path.to_str().unwrap(),
            "--id",
            "b1",
            "--runtime",
            "python3.11",
        ]);
        assert_eq!(ended.code, 2, "{name}: {} {}", ended.out, ended.err);
        assert!(ended.err.contains(says), "{name}: {says:?} is missing in {}", ended.err);
        assert!(!ended.err.contains("panicked") && ended.err.lines().count() <= 6, "{name}: {}", ended.err);
        assert_eq!(everything(&service.dir), before, "{name} left something");
    }
    assert!(!folder.path().join("escaped").exists() && !Path::new("/tmp/the0-escaped").exists());
    assert_eq!(service.json(&["bots", "ls"]), serde_json::json!([]));
    // A sound one is still taken.
    let good = folder.path().join("good.zip");
    files::zip(&good, &[("main.py", b"def main(bot_id, config): pass\n")]);
    service.run(&[
        "bots",
        "deploy",
        good.to_str().unwrap(),
        "--id",
        "b1",
        "--runtime",
        "python3.11",
        "--disabled",
    ]);
}

/// Each with what its refusal says.
fn bad_archives(folder: &Path) -> Vec<(&'static str, &'static str, PathBuf)> {
    let at = |name: &str| folder.join(name);
    let main: (&str, &[u8]) = ("main.py", b"def main(bot_id, config): pass\n");
    files::zip(&at("dots.zip"), &[main, ("../escaped", b"x")]);
    files::zip(&at("absolute.zip"), &[main, ("/tmp/the0-escaped", b"x")]);
    files::zip(&at("no-entrypoint.zip"), &[("other.py", b"x")]);
    files::zip(&at("empty.zip"), &[]);
    let zeros = vec![0_u8; 64 << 20];
    files::zip(&at("bomb.zip"), &[main, ("zeros", &zeros)]);
    fs::write(at("magic.zip"), b"this is no archive").unwrap();
    let mut cut = fs::read(at("bomb.zip")).unwrap();
    cut.truncate(cut.len() / 2);
    fs::write(at("cut.zip"), cut).unwrap();
    fs::write(at("nothing.zip"), b"").unwrap();
    for (name, kind) in
        [("symlink.tar.gz", b'2'), ("hardlink.tar.gz", b'1'), ("device.tar.gz", b'3'), ("fifo.tar.gz", b'6')]
    {
        tar_gz(&at(name), kind);
    }
    let names: Vec<String> = (0..60_000).map(|number| format!("f{number}")).collect();
    let many: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
    files::zip(&at("many.zip"), &many);
    [
        ("dots.zip", "`..`"),
        ("absolute.zip", "absolute"),
        ("no-entrypoint.zip", "\"main.py\" is not in the bundle"),
        ("empty.zip", "no files"),
        ("bomb.zip", "ratio"),
        ("many.zip", "number of entries"),
        ("magic.zip", "a text that starts with"),
        ("cut.zip", "cut off"),
        ("nothing.zip", "an empty file"),
        ("symlink.tar.gz", "a symbolic link"),
        ("hardlink.tar.gz", "a hard link"),
        ("device.tar.gz", "a character device"),
        ("fifo.tar.gz", "a named pipe"),
    ]
    .map(|(name, says)| (name, says, at(name)))
    .to_vec()
}

/// A TAR.GZ with one entry of a kind that is not allowed, pointing outside.
fn tar_gz(path: &Path, kind: u8) {
    let mut header = [0_u8; 512];
    header[..7].copy_from_slice(b"main.py");
    header[100..107].copy_from_slice(b"0000644");
    header[124..135].copy_from_slice(b"00000000000");
    header[136..147].copy_from_slice(b"00000000000");
    header[156] = kind;
    header[157..168].copy_from_slice(b"/etc/passwd");
    header[257..262].copy_from_slice(b"ustar");
    header[263..265].copy_from_slice(b"00");
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..154].copy_from_slice(format!("{sum:06o}").as_bytes());
    header[154] = 0;
    let mut gzip = std::process::Command::new("gzip")
        .arg("-c")
        .stdin(std::process::Stdio::piped())
        .stdout(fs::File::create(path).unwrap())
        .spawn()
        .unwrap();
    let mut input = gzip.stdin.take().unwrap();
    input.write_all(&header).unwrap();
    input.write_all(&[0; 1024]).unwrap();
    drop(input);
    assert!(gzip.wait().unwrap().success());
}

/// Names of all files, those of the database and the log of the store left out.
fn everything(dir: &Path) -> Vec<String> {
    let mut found = vec![];
    let mut open = vec![dir.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path.clone());
            }
            if !path.display().to_string().contains("runtime.db") {
                found.push(path.display().to_string());
            }
        }
    }
    found.sort();
    found
}
