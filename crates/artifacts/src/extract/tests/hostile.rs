//! Names, kinds and contradictions.

use tar::EntryType as Kind;

use super::*;

#[test]
fn names_that_lead_outside_are_refused_and_named() {
    for name in
        ["../evil", "a/../../evil", "/tmp/evil", "a\\..\\evil", "C:\\evil", "a\nb", "a//b", "./../evil"]
    {
        for archive in [zipped(&[("ok", b"1"), (name, b"x")]), tarred(|t| file(t, name, b"x"))] {
            let text = refused(&archive);
            assert!(text.contains("entry \""), "{name:?}: {text}");
        }
    }
    let nul = zipped(&[("aXb", b"x")]);
    let nul: Vec<u8> = replace(&nul, b"aXb", b"a\0b");
    assert!(refused(&nul).contains("a\\0b"));
    let latin: Vec<u8> = replace(&zipped(&[("aXb", b"x")]), b"aXb", b"a\xe4b");
    assert!(refused(&latin).contains("not UTF-8"));
    let long = "d/".repeat(40) + "x";
    assert!(refused(&zipped(&[(&long, b"x")])).contains("folders deep"));
    assert!(refused(&zipped(&[(&"x".repeat(4096), b"x")])).contains("4096 bytes"));
}

#[test]
fn links_and_devices_are_refused_and_named() {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.add_symlink("main.py", "/etc/passwd", SimpleFileOptions::default()).unwrap();
    let text = refused(&zip.finish().unwrap().into_inner());
    assert!(text.contains("\"main.py\" is a symbolic link"), "{text}");
    for (kind, link, word) in [
        (Kind::Symlink, "/etc/passwd", "symbolic link"),
        (Kind::Symlink, "../../x", "symbolic link"),
        (Kind::Link, "/etc/shadow", "hard link"),
        (Kind::Link, "ok", "hard link"),
        (Kind::Char, "", "character device"),
        (Kind::Block, "", "block device"),
        (Kind::Fifo, "", "named pipe"),
        (Kind::Continuous, "", "unknown kind"),
    ] {
        let text = refused(&tarred(|t| {
            file(t, "ok", b"1");
            raw(t, b"main.py", kind, link, 0o644, b"");
        }));
        assert!(text.contains(word) && text.contains("main.py"), "{text}");
    }
    // A link, then a write through it.
    let target = tempfile::tempdir().unwrap();
    refused(&tarred(|t| {
        raw(t, b"d", Kind::Symlink, target.path().to_str().unwrap(), 0o777, b"");
        file(t, "d/evil", b"x");
    }));
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 0);
}

#[test]
fn names_that_collide_are_refused() {
    for (first, second) in [("a", "A"), ("a", "./a"), ("p/x", "P/y"), ("a", "a/b"), ("a/b", "a")] {
        let zip = zipped(&[(first, b"1"), (second, b"2")]);
        let tar = tarred(|t| {
            file(t, first, b"1");
            file(t, second, b"2");
        });
        assert!(refused(&zip).starts_with("entry "), "{first} {second}");
        assert!(refused(&tar).starts_with("entry "), "{first} {second}");
    }
    refused(&tarred(|t| {
        file(t, "a", b"1");
        file(t, "a", b"2");
    }));
    // The library for writing refuses the same name twice, so it is patched in.
    let twice = replace(&zipped(&[("a1.py", b"1"), ("a2.py", b"2")]), b"a2.py", b"a1.py");
    assert!(refused(&twice).contains("duplicate"));
}

#[test]
fn zip_headers_that_contradict_each_other_are_refused() {
    let good = zipped(&[("a1.py", b"1"), ("b1.py", b"2")]);
    let first = find(&good, b"a1.py", 0);
    let mut local = good.clone();
    local[first + 1] = b'2';
    assert!(refused(&local).contains("filename mismatch"));

    let mut encrypted = good.clone();
    for at in [find(&good, b"PK\x03\x04", 0) + 6, find(&good, b"PK\x01\x02", 0) + 8] {
        encrypted[at] |= 1;
    }
    assert!(refused(&encrypted).contains("\"a1.py\" is encrypted"));

    let mut method = good.clone();
    for at in [find(&good, b"PK\x03\x04", 0) + 8, find(&good, b"PK\x01\x02", 0) + 10] {
        method[at] = 14;
    }
    assert!(refused(&method).contains("compressed by"));

    let mut checksum = good.clone();
    for at in [find(&good, b"PK\x03\x04", 0) + 14, find(&good, b"PK\x01\x02", 0) + 16] {
        checksum[at] ^= 1;
    }
    assert!(refused(&checksum).contains("a1.py"));
}

#[test]
fn what_stands_before_after_or_between_is_refused() {
    let good = zipped(&[("a", b"1")]);
    let other = zipped(&[("b", b"2")]);
    assert!(refused(&[b"#!/bin/sh\n", &good[..]].concat()).contains("a text"));
    assert!(refused(&[&good[..], &other[..]].concat()).contains("before or after"));
    assert!(refused(&[&good[..], b"x"].concat()).contains("appended"));
    // An end record within the comment of another.
    let mut two = good.clone();
    let end = find(&good, b"PK\x05\x06", 0);
    two[good.len() - 2] = 22;
    two.extend_from_slice(&good[end..]);
    assert!(refused(&two).contains("two end records"));

    let tar = tarred(|t| file(t, "a", b"1"));
    assert!(refused(&[&tar[..], b"x"].concat()).contains("damaged"));
    let hidden = tarred(|t| file(t, "b", b"2"));
    assert!(refused(&[&tar[..], &hidden[..]].concat()).contains("follows its end"));
}

pub(super) fn find(bytes: &[u8], what: &[u8], from: usize) -> usize {
    from + bytes[from..].windows(what.len()).position(|window| window == what).unwrap()
}

fn replace(bytes: &[u8], what: &[u8], with: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at + what.len() <= out.len() {
        if out[at..].starts_with(what) {
            out[at..at + what.len()].copy_from_slice(with);
        }
        at += 1;
    }
    out
}
