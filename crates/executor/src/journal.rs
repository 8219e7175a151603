//! Reads what units print: the attempts' files, and with `follow` what comes after, over rotations and restarts.
//!
//! Nothing is polled: inotify rings, and then everything is looked at again, so that a lost or merged event loses no
//! line. Memory is bounded by one block and one record, whatever the unit prints.

mod cursor;
mod tail;

use std::{collections::VecDeque, io, path::PathBuf};

use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use inotify::{EventMask, EventStream, Inotify, WatchDescriptor, WatchMask};
use the0_core::{
    ExecutorError,
    executor::{AttemptRef, LogQuery, LogRecord},
};
use the0_model::LogLine;

use self::cursor::{Cursor, Step};
use crate::units::{AttemptDir, UnitDir};

/// Reads the output of one attempt of `unit`; with `follow`, of those after it too, until the unit's folder is removed.
///
/// # Errors
/// [`ExecutorError::NotFound`] if there is no such unit or attempt.
pub async fn read(
    unit: UnitDir,
    query: LogQuery,
) -> Result<BoxStream<'static, Result<LogRecord, ExecutorError>>, ExecutorError> {
    // Watching begins before the first look, so that nothing falls between.
    let watch = if query.follow { Some(Watch::new(&unit)?) } else { None };
    let opened = blocking(move || open(&unit, &query)).await?;
    let reader = Reader { cursor: Some(opened), watch, ready: VecDeque::new(), gone: false };
    Ok(stream::unfold(reader, |mut reader| async move {
        let next = reader.next().await.transpose()?;
        if next.is_err() {
            reader.cursor = None;
        }
        Some((next, reader))
    })
    .boxed())
}

/// The last lines of an attempt, oldest first. For a record of how it ended; blocking.
pub(crate) fn last_lines(attempt: &AttemptDir, lines: usize) -> Vec<LogLine> {
    let Ok(start) = tail::start(&attempt.attempt(), Some(lines)) else { return Vec::new() };
    let mut cursor = Cursor::once(start);
    let mut found = VecDeque::new();
    while let Ok(Step::Lines(more)) = cursor.step() {
        found.extend(more);
        found.drain(..found.len().saturating_sub(lines));
    }
    found.into()
}

fn open(unit: &UnitDir, query: &LogQuery) -> Result<Cursor, ExecutorError> {
    let attempts = unit.attempts().map_err(|error| failed(&error))?;
    let missing = |what: String| ExecutorError::NotFound { what };
    let latest = attempts.last().copied();
    let name = unit.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let wanted = match query.attempt {
        AttemptRef::Latest => latest,
        AttemptRef::Previous => attempts.iter().rev().nth(1).copied(),
        AttemptRef::Number(number) => attempts.contains(&number).then_some(number),
    };
    let attempt = match (wanted, query.attempt) {
        (Some(number), _) => number,
        // A unit that is being made for the first time: its output is waited for.
        (None, AttemptRef::Latest) if query.follow && unit.path().is_dir() => 0,
        (None, AttemptRef::Latest) => return Err(missing(format!("output of {name}"))),
        (None, AttemptRef::Previous) => return Err(missing(format!("an earlier attempt of {name}"))),
        (None, AttemptRef::Number(number)) => return Err(missing(format!("attempt {number} of {name}"))),
    };
    let start = tail::start(&unit.attempt(attempt).attempt(), query.tail).map_err(|error| failed(&error))?;
    Ok(if query.follow {
        Cursor::following(unit.clone(), attempt, start)
    } else {
        Cursor::at(attempt, start)
    })
}

struct Reader {
    /// Absent after a fault, so that the stream ends with it.
    cursor: Option<Cursor>,
    watch: Option<Watch>,
    ready: VecDeque<LogLine>,
    gone: bool,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<LogRecord>, ExecutorError> {
        loop {
            let Some(mut cursor) = self.cursor.take() else { return Ok(None) };
            let attempt = cursor.attempt();
            if let Some(line) = self.ready.pop_front() {
                self.cursor = Some(cursor);
                return Ok(Some(LogRecord { attempt, line }));
            }
            let (cursor, step) = blocking(move || {
                let step = cursor.step().map_err(|error| failed(&error))?;
                Ok((cursor, step))
            })
            .await?;
            let attempt = cursor.attempt();
            self.cursor = Some(cursor);
            match step {
                Step::Lines(lines) => self.ready.extend(lines),
                Step::Idle => {
                    let Some(watch) = &mut self.watch else { return Ok(None) };
                    if self.gone {
                        return Ok(None);
                    }
                    if !watch.renew(attempt)? {
                        self.gone = watch.rung().await?;
                    }
                }
            }
        }
    }
}

/// Rings when something in a unit's folder may have changed.
struct Watch {
    unit: UnitDir,
    events: EventStream<[u8; 4096]>,
    /// The folder of all units.
    root: WatchDescriptor,
    watched: Vec<WatchDescriptor>,
}

impl Watch {
    fn new(unit: &UnitDir) -> Result<Self, ExecutorError> {
        let inotify = Inotify::init().map_err(|error| ExecutorError::Failed {
            action: "follow the output",
            reason: format!("{error}; if many are followed, raise the sysctl fs.inotify.max_user_instances"),
        })?;
        // Seen from above, because the folder itself does not tell while a deleted file in it is still open here.
        let above = unit.path().parent().unwrap_or(unit.path());
        let root =
            inotify.watches().add(above, WatchMask::DELETE | WatchMask::MOVED_FROM | WatchMask::ONLYDIR);
        let root = match root {
            Ok(root) if unit.path().is_dir() => root,
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&error)),
            Ok(_) | Err(_) => {
                let name = unit.path().file_name().unwrap_or_default().to_string_lossy();
                return Err(ExecutorError::NotFound { what: format!("output of {name}") });
            }
        };
        let events = inotify.into_event_stream([0; 4096]).map_err(|error| failed(&error))?;
        Ok(Self { unit: unit.clone(), events, root, watched: Vec::new() })
    }

    fn mask() -> WatchMask {
        WatchMask::MODIFY | WatchMask::CREATE | WatchMask::MOVED_TO | WatchMask::ONLYDIR
    }

    /// Watches the folders of the current attempt. True if one was not watched before: then something may have been
    /// missed and another look is due.
    fn renew(&mut self, attempt: u64) -> Result<bool, ExecutorError> {
        let dir = self.unit.attempt(attempt);
        let mut folders: Vec<PathBuf> =
            vec![self.unit.path().into(), self.unit.attempts_path(), dir.path().to_path_buf(), dir.attempt()];
        // A newer attempt has its folders before its first output, which must ring too.
        for newer in self
            .unit
            .attempts()
            .map_err(|error| failed(&error))?
            .into_iter()
            .filter(|number| *number > attempt)
        {
            let dir = self.unit.attempt(newer);
            folders.extend([dir.path().to_path_buf(), dir.attempt()]);
        }
        let mut watched = Vec::with_capacity(folders.len());
        for folder in folders {
            match self.events.watches().add(&folder, Self::mask()) {
                Ok(descriptor) => watched.push(descriptor),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(&error)),
            }
        }
        let news = watched.iter().any(|descriptor| !self.watched.contains(descriptor));
        for old in std::mem::replace(&mut self.watched, watched) {
            if !self.watched.contains(&old) {
                // Already gone with its folder, in most cases.
                let _ = self.events.watches().remove(old);
            }
        }
        Ok(news)
    }

    /// Waits for a ring. True if the unit's folder is gone.
    async fn rung(&mut self) -> Result<bool, ExecutorError> {
        match self.events.next().await {
            Some(Ok(event)) => {
                let ours = event.name.as_deref() == self.unit.path().file_name();
                // Without the folder above there is no unit either.
                Ok(event.wd == self.root && (ours || event.mask.contains(EventMask::IGNORED)))
            }
            Some(Err(error)) => Err(failed(&error)),
            None => Ok(true),
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ExecutorError> + Send + 'static,
) -> Result<T, ExecutorError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| failed(&io::Error::other(error)))?
}

fn failed(error: &io::Error) -> ExecutorError {
    ExecutorError::Failed { action: "read the output", reason: error.to_string() }
}

#[cfg(test)]
mod tests;
