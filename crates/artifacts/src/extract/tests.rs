//! Bad archives. Each must be refused with words, quickly, and leave nothing behind.

mod bombs;
mod hostile;

use std::{
    fs,
    io::{Cursor, Write},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
};

use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use tempfile::TempDir;
use zip::{ZipWriter, write::SimpleFileOptions};

use super::*;

/// A folder in a folder: what leaks out of the inner one is seen in the outer one.
struct Place {
    outer: TempDir,
}

impl Place {
    fn new() -> Self {
        let outer = tempfile::tempdir().unwrap();
        fs::create_dir(outer.path().join("cache")).unwrap();
        Self { outer }
    }

    fn tree(&self) -> PathBuf {
        self.outer.path().join("cache/tree")
    }

    fn extract(&self, bytes: &[u8], limits: &Limits) -> Result<Extracted, ExtractError> {
        let archive = self.outer.path().join("archive");
        fs::write(&archive, bytes).unwrap();
        let result = extract(&archive, &self.tree(), limits);
        if result.is_err() {
            self.assert_clean();
        }
        let outside: Vec<_> =
            fs::read_dir(self.outer.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(outside.len(), 2, "something is outside: {outside:?}");
        result
    }

    fn assert_clean(&self) {
        assert_eq!(
            fs::read_dir(self.outer.path().join("cache")).unwrap().count(),
            0,
            "something is left behind"
        );
    }
}

fn refused(bytes: &[u8]) -> String {
    let error = Place::new().extract(bytes, &Limits::default()).expect_err("it was accepted");
    assert!(error.is_permanent(), "{error:?}");
    error.to_string()
}

fn zipped(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        archive.start_file(*name, SimpleFileOptions::default().unix_permissions(0o644)).unwrap();
        archive.write_all(content).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

type Tar = tar::Builder<GzEncoder<Vec<u8>>>;

fn tarred(build: impl FnOnce(&mut Tar)) -> Vec<u8> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    build(&mut archive);
    archive.into_inner().unwrap().finish().unwrap()
}

/// Adds an entry with its name unchecked, as the library's own methods would refuse it.
fn raw(archive: &mut Tar, name: &[u8], kind: tar::EntryType, link: &str, mode: u32, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(content.len() as u64);
    header.set_cksum();
    archive.append(&header, content).unwrap();
}

fn file(archive: &mut Tar, name: &str, content: &[u8]) {
    raw(archive, name.as_bytes(), tar::EntryType::Regular, "", 0o644, content);
}

#[test]
fn good_archives_come_out_with_fixed_modes() {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.add_directory("pkg/", SimpleFileOptions::default()).unwrap();
    zip.start_file("pkg/run.sh", SimpleFileOptions::default().unix_permissions(0o4775)).unwrap();
    zip.write_all(b"#!").unwrap();
    zip.start_file("main.py", SimpleFileOptions::default().unix_permissions(0)).unwrap();
    let tar = tarred(|t| {
        raw(t, b"./", tar::EntryType::Directory, "", 0o700, b"");
        raw(t, b"./pkg/", tar::EntryType::Directory, "", 0, b"");
        raw(t, b"./pkg/run.sh", tar::EntryType::Regular, "", 0o6755, b"#!");
        raw(t, b"./main.py", tar::EntryType::Regular, "", 0, b"");
    });
    for (bytes, format) in [(zip.finish().unwrap().into_inner(), Format::Zip), (tar, Format::TarGz)] {
        let place = Place::new();
        let extracted = place.extract(&bytes, &Limits::default()).unwrap();
        assert_eq!(extracted, Extracted { files: 2, bytes: 2, format });
        let mode = |name| fs::metadata(place.tree().join(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(
            [mode(""), mode("pkg"), mode("pkg/run.sh"), mode("main.py")],
            [0o755, 0o755, 0o755, 0o644]
        );
    }
}

#[test]
fn members_of_gzip_that_follow_are_read() {
    let whole = {
        let mut t = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(3);
        t.append_data(&mut header, "a", &b"abc"[..]).unwrap();
        t.into_inner().unwrap()
    };
    let mut bytes = Vec::new();
    for part in whole.chunks(300) {
        let mut gzip = GzEncoder::new(&mut bytes, Compression::default());
        gzip.write_all(part).unwrap();
        gzip.finish().unwrap();
    }
    assert_eq!(Place::new().extract(&bytes, &Limits::default()).unwrap().files, 1);
}

#[test]
fn wrong_formats_are_named() {
    for (bytes, expected) in [
        (&b"print('hi')"[..], "a text that starts with \"print('h\""),
        (b"Rar!\x1a\x07\x00", "RAR"),
        (b"7z\xbc\xaf\x27\x1c", "7z"),
        (b"\x7fELF\x02", "a Linux program"),
        (b"", "empty file"),
        (b"\x00\x01\x02\x03", "unknown file"),
    ] {
        let text = refused(bytes);
        assert!(text.contains(expected) && text.contains("ZIP or a TAR.GZ"), "{text}");
    }
    assert!(refused(&zipped(&[])).contains("no files"));
    assert!(refused(&tarred(|_| ())).contains("no files"));
}

#[test]
fn what_is_cut_off_anywhere_is_refused() {
    let content: Vec<u8> = (0..2000u32).flat_map(|n| (n.wrapping_mul(2_654_435_761)).to_le_bytes()).collect();
    let archives = [
        zipped(&[("a.py", &content), ("b/c.py", b"x")]),
        tarred(|t| {
            file(t, "a.py", &content);
            file(t, "b/c.py", b"x");
        }),
    ];
    for archive in archives {
        assert!(Place::new().extract(&archive, &Limits::default()).is_ok());
        for length in (0..archive.len()).step_by(97).chain(archive.len() - 30..archive.len()) {
            refused(&archive[..length]);
        }
    }
}

#[test]
fn what_exists_is_not_touched() {
    let place = Place::new();
    fs::create_dir(place.tree()).unwrap();
    fs::write(place.outer.path().join("archive"), zipped(&[("a", b"1")])).unwrap();
    let result = extract(&place.outer.path().join("archive"), &place.tree(), &Limits::default());
    assert!(matches!(result, Err(ExtractError::Io { .. })), "{result:?}");
    assert_eq!(fs::read_dir(place.tree()).unwrap().count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Never a panic, never a file outside, never something left after an error (`Place` looks).
    #[test]
    fn flipped_bits_do_no_harm(flips in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 1..6), zip: bool) {
        let mut bytes = if zip {
            zipped(&[("a/b.py", b"hello hello hello"), ("c.py", b"x")])
        } else {
            let mut plain = tar::Builder::new(Vec::new());
            for name in ["a/b.py", "c.py"] {
                let mut header = tar::Header::new_gnu();
                header.set_size(5);
                plain.append_data(&mut header, name, &b"hello"[..]).unwrap();
            }
            plain.into_inner().unwrap()
        };
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        if !zip {
            // Flipped before compression: gzip's checksum would hide everything else.
            let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
            gzip.write_all(&bytes).unwrap();
            bytes = gzip.finish().unwrap();
        }
        let _ = Place::new().extract(&bytes, &Limits::default());
    }
}
