use std::path::{Component, Path};

use proptest::prelude::*;

use super::*;

const BOUNDS: NameBounds = NameBounds { depth: 32, component_bytes: 255, total_bytes: 1024 };

#[test]
fn names_that_lead_outside_or_deceive_are_refused() {
    let long = "x".repeat(256);
    let longer = format!("{}/x", "y/".repeat(600));
    let deep = format!("{}x", "d/".repeat(32));
    let bad: [&[u8]; 24] = [
        b"",
        b".",
        b"..",
        b"../x",
        b"a/../../x",
        b"a/..",
        b"/etc/x",
        b"//srv/x",
        b"..\\x",
        b"a\\b",
        b"C:\\x",
        b"c:x",
        b"a/c:/x",
        b"a\0b",
        b"a\nb",
        b"a//b",
        b"a/",
        b"a/./b",
        b"././a",
        b"\xff\xfe",
        "a\u{202e}yp.".as_bytes(),
        long.as_bytes(),
        longer.as_bytes(),
        deep.as_bytes(),
    ];
    for name in bad {
        assert!(plain(name, Kind::File, &BOUNDS).is_err(), "{:?}", String::from_utf8_lossy(name));
    }
    for bad in [&b"../"[..], b"/", b"a//", b"a/../"] {
        assert!(plain(bad, Kind::Directory, &BOUNDS).is_err(), "{:?}", String::from_utf8_lossy(bad));
    }
}

#[test]
fn plain_names_stay_as_they_are() {
    for name in ["main.py", "a/b/c.py", ".env", "..x", "x..", "ä/ö.py", "a b", "$(id);rm", "-c"] {
        assert_eq!(plain(name.as_bytes(), Kind::File, &BOUNDS).unwrap(), name);
    }
    assert_eq!(plain(b"./a/b", Kind::File, &BOUNDS).unwrap(), "a/b");
    assert_eq!(plain(b"a/b/", Kind::Directory, &BOUNDS).unwrap(), "a/b");
    for root in [&b"."[..], b"./"] {
        assert_eq!(plain(root, Kind::Directory, &BOUNDS).unwrap(), "");
    }
}

#[test]
fn a_name_is_taken_once() {
    let mut names = Names::default();
    names.take("pkg/a.py", Kind::File).unwrap();
    names.take("pkg", Kind::Directory).unwrap();
    names.take("pkg/b.py", Kind::File).unwrap();
    for (name, kind) in [
        ("pkg/a.py", Kind::File),
        ("pkg/A.py", Kind::File),
        ("PKG/c.py", Kind::File),
        ("pkg", Kind::File),
        ("pkg/a.py/x", Kind::File),
        ("pkg/a.py", Kind::Directory),
    ] {
        assert!(names.take(name, kind).is_err(), "{name} {kind:?}");
    }
}

proptest! {
    #[test]
    fn no_accepted_name_leads_outside(
        raw in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..64),
            "[./\\\\a:C\0-]{0,16}".prop_map(String::into_bytes),
            "(\\.\\.|\\.|a|/|C:){0,8}".prop_map(String::into_bytes),
            ".{0,40}".prop_map(String::into_bytes),
        ],
        directory: bool,
    ) {
        let kind = if directory { Kind::Directory } else { Kind::File };
        if let Ok(name) = plain(&raw, kind, &BOUNDS) {
            let plain_only = Path::new(&name).components().all(|c| matches!(c, Component::Normal(_)));
            prop_assert!(plain_only, "{name:?}");
            prop_assert!(!name.contains(['\0', '\\', '\n']), "{name:?}");
            prop_assert!(directory || !name.is_empty());
            let joined = Path::new("/root").join(&name);
            prop_assert!(joined.starts_with("/root"));
            // A name that was accepted is accepted again, unchanged.
            if !name.is_empty() {
                prop_assert_eq!(plain(name.as_bytes(), kind, &BOUNDS).unwrap(), name);
            }
        }
    }
}
