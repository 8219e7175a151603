use std::{fs, os::unix::fs::PermissionsExt};

use tempfile::TempDir;

use super::*;
use crate::extract;

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("main.py", "print(1)"),
        ("pkg/deep/a.py", "a"),
        ("pkg/__pycache__/a.pyc", "x"),
        (".env", "KEY=canary"),
        (".git/config", "x"),
        ("data/big.csv", "1,2"),
        ("run.sh", "#!/bin/sh"),
        (".the0ignore", "*.csv\n"),
    ] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    fs::set_permissions(folder.path().join("run.sh"), fs::Permissions::from_mode(0o711)).unwrap();
    folder
}

fn packed(source: &Path, format: Format) -> (Packed, Vec<u8>) {
    let out = tempfile::tempdir().unwrap();
    let result = pack(source, &out.path().join("b"), format, &Limits::default(), &mut |_| ()).unwrap();
    let bytes = fs::read(&result.archive).unwrap();
    (result, bytes)
}

#[test]
fn the_same_folder_gives_the_same_bytes_and_comes_out_again() {
    for format in [Format::Zip, Format::TarGz] {
        let (one, two) = (folder(), folder());
        fs::set_permissions(two.path().join("main.py"), fs::Permissions::from_mode(0o600)).unwrap();
        let (first, bytes) = packed(one.path(), format);
        let (second, same) = packed(two.path(), format);
        assert_eq!((&first.digest, &bytes), (&second.digest, &same), "{format}");
        assert_eq!(first.files, 3);

        let out = tempfile::tempdir().unwrap();
        fs::write(out.path().join("b"), &bytes).unwrap();
        let extracted = extract(&out.path().join("b"), &out.path().join("tree"), &Limits::default()).unwrap();
        assert_eq!((extracted.files, extracted.format), (3, format));
        assert_eq!(fs::read_to_string(out.path().join("tree/pkg/deep/a.py")).unwrap(), "a");
        assert_eq!(fs::metadata(out.path().join("tree/run.sh")).unwrap().permissions().mode() & 0o777, 0o755);

        fs::write(one.path().join("main.py"), "print(2)").unwrap();
        assert_ne!(packed(one.path(), format).0.digest, first.digest);
    }
}

#[test]
fn links_are_refused_unless_ignored() {
    for (target, word) in [("/etc/passwd", "outside"), ("main.py", "bundles cannot hold")] {
        let folder = folder();
        std::os::unix::fs::symlink(target, folder.path().join("link")).unwrap();
        let out = folder.path().join(".out");
        let error = pack(folder.path(), &out, Format::Zip, &Limits::default(), &mut |_| ()).unwrap_err();
        assert!(error.to_string().contains("\"link\"") && error.to_string().contains(word), "{error}");
        assert!(!out.exists());
        fs::write(folder.path().join(".the0ignore"), "link\n").unwrap();
        pack(folder.path(), &out, Format::Zip, &Limits::default(), &mut |_| ()).unwrap();
    }
}

#[test]
fn limits_and_empty_folders_are_told() {
    let folder = folder();
    let refused = |limits: Limits| {
        let error =
            pack(folder.path(), Path::new("/nonexistent/x"), Format::Zip, &limits, &mut |_| ()).unwrap_err();
        assert!(matches!(error, PackError::Limit { .. }), "{error:?}");
    };
    refused(Limits { files: 2, ..Limits::default() });
    refused(Limits { total_bytes: 5, ..Limits::default() });
    refused(Limits { file_bytes: 5, ..Limits::default() });
    let empty = tempfile::tempdir().unwrap();
    let error =
        pack(empty.path(), Path::new("/x/y"), Format::Zip, &Limits::default(), &mut |_| ()).unwrap_err();
    assert!(matches!(error, PackError::Empty { .. }), "{error:?}");
}

#[test]
fn an_archive_is_taken_as_it_is_and_progress_is_told() {
    let folder = folder();
    let out = tempfile::tempdir().unwrap();
    let mut steps = Vec::new();
    let made =
        pack(folder.path(), &out.path().join("b"), Format::Zip, &Limits::default(), &mut |p| steps.push(p));
    let made = made.unwrap();
    assert_eq!(steps.len(), 3);
    assert!(steps.last().is_some_and(|p| p.files == p.of_files && p.bytes == p.of_bytes && p.bytes > 0));
    let again =
        pack(&made.archive, &out.path().join("c"), Format::TarGz, &Limits::default(), &mut |_| ()).unwrap();
    assert_eq!((again.archive, again.digest), (made.archive, made.digest));
    assert!(!out.path().join("c").exists());
    let text = folder.path().join("main.py");
    let error = pack(&text, &out.path().join("d"), Format::Zip, &Limits::default(), &mut |_| ()).unwrap_err();
    assert!(matches!(error, PackError::Archive { .. }), "{error:?}");
}
