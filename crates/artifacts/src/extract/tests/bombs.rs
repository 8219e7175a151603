//! Archives that are small and would become huge. Time and memory are bounded as well.

use std::{
    io::Read,
    time::{Duration, Instant},
};

use super::{hostile::find, *};

/// Compresses that many zeros in pieces, so that this test needs no memory either.
fn zeros(count: u64, to: &mut dyn Write) {
    std::io::copy(&mut std::io::repeat(0).take(count), to).map(drop).unwrap();
}

fn refused_soon(bytes: &[u8]) -> String {
    let start = Instant::now();
    let text = refused(bytes);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(peak_memory() < 256 << 20, "{} MiB", peak_memory() >> 20);
    text
}

/// The most memory this process ever held, in bytes.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[test]
fn ten_gigabytes_of_zeros_are_refused_at_once() {
    const SIZE: u64 = 10 << 30;
    // Whole, so that nothing but the ratio is wrong with it: as large as it takes to notice.
    let mut header = tar::Header::new_gnu();
    header.set_path("zeros").unwrap();
    header.set_size(64 << 20);
    header.set_cksum();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(header.as_bytes()).unwrap();
    zeros((64 << 20) + 1024, &mut gzip);
    assert!(refused_soon(&gzip.finish().unwrap()).contains("ratio"));

    header.set_size(SIZE);
    header.set_cksum();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(header.as_bytes()).unwrap();
    assert!(refused_soon(&gzip.finish().unwrap()).contains("\"zeros\""));

    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("zeros", SimpleFileOptions::default()).unwrap();
    zeros(64 << 20, &mut zip);
    let bomb = zip.finish().unwrap().into_inner();
    assert!(refused_soon(&bomb).contains("ratio"));

    // It says 10 bytes and holds 64 MiB.
    let mut lying = bomb.clone();
    for at in [find(&bomb, b"PK\x03\x04", 0) + 22, find(&bomb, b"PK\x01\x02", 0) + 24] {
        lying[at..at + 4].copy_from_slice(&10u32.to_le_bytes());
    }
    assert!(refused_soon(&lying).contains("\"zeros\""));
}

#[test]
fn hundred_thousand_entries_are_too_many() {
    let names: Vec<String> = (0..60_000).map(|n| format!("f{n}")).collect();
    let entries: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
    assert!(refused_soon(&zipped(&entries)).contains("number of entries"));
    let tar = tarred(|t| {
        for n in 0..100_000 {
            file(t, &format!("f{n}"), b"");
        }
    });
    // So many equal headers are a bomb as well; either word will do.
    // Not timed: up to the limit, files are really made.
    let text = refused(&tar);
    assert!(peak_memory() < 256 << 20);
    assert!(text.contains("number of entries") || text.contains("ratio"), "{text}");
}

#[test]
fn a_long_name_without_end_is_not_kept_in_memory() {
    let name = tarred(|t| raw(t, b"x", tar::EntryType::GNULongName, "", 0o644, &vec![b'a'; 7 << 20]));
    assert!(refused_soon(&name).contains("between two entries"));
    let pax = tarred(|t| raw(t, b"x", tar::EntryType::XHeader, "", 0o644, &vec![b'a'; 7 << 20]));
    assert!(refused_soon(&pax).contains("between two entries"));
}

#[test]
fn a_full_total_is_refused_before_the_disk_is_full() {
    let limits = Limits { total_bytes: 1000, file_bytes: 600, ..Limits::default() };
    let content = [7u8; 500];
    let over = [("a", &content[..]), ("b", &content[..]), ("c", &b"1"[..])];
    let tar = tarred(|t| over.iter().for_each(|(name, content)| file(t, name, content)));
    for bytes in [zipped(&over), tar, zipped(&[("a", &[7; 601])])] {
        let error = Place::new().extract(&bytes, &limits).unwrap_err();
        assert!(matches!(error, ExtractError::Limit { .. }), "{error:?}");
    }
    assert!(Place::new().extract(&zipped(&over[..2]), &limits).is_ok());
}

#[test]
fn overlapping_entries_are_refused() {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("a", SimpleFileOptions::default()).unwrap();
    zip.write_all(b"content").unwrap();
    zip.shallow_copy_file("a", "b").unwrap();
    refused(&zip.finish().unwrap().into_inner());
}
