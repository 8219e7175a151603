use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use the0_model::{LogStream, UnitId, agent::file};
use tokio::time::timeout;

use super::*;
use crate::units::{UnitsDir, make_dir};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(10);

struct Writer {
    unit: UnitDir,
    attempt: u64,
    file: File,
}

impl Writer {
    fn new(unit: &UnitDir, attempt: u64) -> Self {
        let folder = unit.attempt(attempt).attempt();
        make_dir(&folder, 0o700).unwrap();
        Self { unit: unit.clone(), attempt, file: create(&folder.join(file::OUTPUT)) }
    }

    fn line(&mut self, text: &str) {
        let line = LogLine {
            at: Timestamp::UNIX_EPOCH,
            stream: LogStream::Stdout,
            partial: false,
            text: text.as_bytes().to_vec(),
        };
        self.file.write_all(&line.encode()).unwrap();
    }

    fn rotate(&mut self) {
        let folder = self.unit.attempt(self.attempt).attempt();
        fs::rename(folder.join(file::OUTPUT), folder.join(file::OUTPUT_OLD)).unwrap();
        self.file = create(&folder.join(file::OUTPUT));
    }
}

fn create(path: &std::path::Path) -> File {
    OpenOptions::new().create_new(true).append(true).open(path).unwrap()
}

fn unit() -> (tempfile::TempDir, UnitDir) {
    let root = tempfile::tempdir().unwrap();
    let unit = UnitsDir::new(root.path().to_path_buf()).unit(&UnitId::new("bot/b1").unwrap());
    make_dir(unit.path(), 0o700).unwrap();
    (root, unit)
}

fn query(tail: Option<usize>, follow: bool) -> LogQuery {
    LogQuery { attempt: AttemptRef::Latest, tail, follow }
}

async fn texts(unit: &UnitDir, query: LogQuery) -> Vec<String> {
    let lines = read(unit.clone(), query).await.unwrap();
    lines.map(|line| String::from_utf8(line.unwrap().line.text).unwrap()).collect().await
}

type Lines = BoxStream<'static, Result<LogRecord, ExecutorError>>;

async fn next(lines: &mut Lines) -> Option<(u64, String)> {
    let line = timeout(PATIENCE, lines.next()).await.expect("something comes")?.unwrap();
    Some((line.attempt, String::from_utf8(line.line.text).unwrap()))
}

#[tokio::test]
async fn a_tail_goes_back_over_the_rotation() {
    let (_root, unit) = unit();
    let mut writer = Writer::new(&unit, 1);
    (0..5).for_each(|n| writer.line(&n.to_string()));
    writer.rotate();
    (5..8).for_each(|n| writer.line(&n.to_string()));
    assert_eq!(texts(&unit, query(None, false)).await, ["0", "1", "2", "3", "4", "5", "6", "7"]);
    assert_eq!(texts(&unit, query(Some(2), false)).await, ["6", "7"]);
    assert_eq!(texts(&unit, query(Some(5), false)).await, ["3", "4", "5", "6", "7"]);
    assert_eq!(texts(&unit, query(Some(0), false)).await, Vec::<String>::new());
    assert_eq!(texts(&unit, query(Some(100), false)).await.len(), 8);
}

#[tokio::test]
async fn a_follower_misses_nothing_over_rotations_and_restarts() {
    let (_root, unit) = unit();
    let mut writer = Writer::new(&unit, 1);
    writer.line("first");
    let mut lines = read(unit.clone(), query(None, true)).await.unwrap();
    assert_eq!(next(&mut lines).await, Some((1, "first".into())));
    let following = unit.clone();
    let written = std::thread::spawn(move || {
        for attempt in 1..=3 {
            if attempt > 1 {
                writer = Writer::new(&following, attempt);
            }
            for n in 0..2000 {
                writer.line(&n.to_string());
                // Once per attempt, so that nothing is gone before it can be read.
                if n == 1000 {
                    writer.rotate();
                }
            }
        }
    });
    for attempt in 1..=3 {
        for n in 0..2000 {
            assert_eq!(next(&mut lines).await, Some((attempt, n.to_string())));
        }
    }
    written.join().unwrap();
    unit.purge().unwrap();
    assert_eq!(next(&mut lines).await, None, "the stream ends with the unit");
}

#[tokio::test]
async fn a_slow_follower_reads_the_file_between_two_rotations() {
    let (_root, unit) = unit();
    let mut writer = Writer::new(&unit, 1);
    writer.line("one");
    let mut lines = read(unit.clone(), query(None, true)).await.unwrap();
    assert_eq!(next(&mut lines).await, Some((1, "one".into())));
    for text in ["two", "three"] {
        writer.rotate();
        writer.line(text);
    }
    assert_eq!(next(&mut lines).await, Some((1, "two".into())));
    assert_eq!(next(&mut lines).await, Some((1, "three".into())));
}

#[tokio::test]
async fn a_discarded_attempt_is_followed_by_the_one_in_its_place() {
    let (_root, unit) = unit();
    let mut lines = read(unit.clone(), query(None, true)).await.unwrap();
    Writer::new(&unit, 1).line("failed start");
    assert_eq!(next(&mut lines).await, Some((1, "failed start".into())));
    unit.attempt(1).remove().unwrap();
    Writer::new(&unit, 1).line("second try");
    assert_eq!(next(&mut lines).await, Some((1, "second try".into())));
}

#[tokio::test]
async fn a_record_in_two_writes_is_one_and_garbage_is_none() {
    let (_root, unit) = unit();
    let mut writer = Writer::new(&unit, 1);
    let mut lines = read(unit.clone(), query(None, true)).await.unwrap();
    writer.file.write_all(b"1970-01-01T00:00:00Z stdout F ha").unwrap();
    assert!(timeout(Duration::from_millis(50), lines.next()).await.is_err(), "half a record is none");
    writer.file.write_all(b"lf\n\x00\xff garbage\n").unwrap();
    writer.file.write_all(&vec![b'x'; 300_000]).unwrap();
    writer.file.write_all(b"\n").unwrap();
    writer.line("after");
    assert_eq!(next(&mut lines).await, Some((1, "half".into())));
    assert_eq!(next(&mut lines).await, Some((1, "after".into())), "what is too long is skipped");
}

#[tokio::test]
async fn what_a_crash_cut_short_is_shown() {
    let (_root, unit) = unit();
    let mut writer = Writer::new(&unit, 1);
    writer.line("whole");
    writer.file.write_all(b"1970-01-01T00:00:00Z stdout F cut").unwrap();
    assert_eq!(texts(&unit, query(None, false)).await, ["whole", "cut"]);
}

#[tokio::test]
async fn a_unit_that_prints_without_end_is_read_to_an_end() {
    let (_root, unit) = unit();
    let mut writer = Writer::new(&unit, 1);
    (0..10).for_each(|n| writer.line(&n.to_string()));
    let mut lines = read(unit.clone(), query(None, false)).await.unwrap();
    for n in 0..10 {
        assert_eq!(next(&mut lines).await, Some((1, n.to_string())));
        writer.line("more");
    }
    assert_eq!(next(&mut lines).await, None);
}

#[tokio::test]
async fn a_line_is_there_in_less_than_fifty_milliseconds() {
    let (_root, unit) = unit();
    let mut writer = Writer::new(&unit, 1);
    let mut lines = read(unit.clone(), query(None, true)).await.unwrap();
    let mut took = Vec::new();
    for n in 0..41 {
        let begun = Instant::now();
        writer.line(&n.to_string());
        assert_eq!(next(&mut lines).await, Some((1, n.to_string())));
        took.push(begun.elapsed());
    }
    took.sort();
    assert!(took[20] < Duration::from_millis(50), "median {:?}, worst {:?}", took[20], took[40]);
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let (root, unit) = unit();
    let nobody = UnitsDir::new(root.path().to_path_buf()).unit(&UnitId::new("bot/nobody").unwrap());
    for (unit, attempt, follow) in [
        (&nobody, AttemptRef::Latest, false),
        (&nobody, AttemptRef::Latest, true),
        (&unit, AttemptRef::Latest, false),
        (&unit, AttemptRef::Previous, true),
        (&unit, AttemptRef::Number(3), true),
    ] {
        let asked = read(unit.clone(), LogQuery { attempt, tail: None, follow }).await;
        assert!(matches!(asked, Err(ExecutorError::NotFound { .. })), "{attempt:?} {follow}");
    }
}
