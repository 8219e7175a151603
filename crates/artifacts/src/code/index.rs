//! Notes which bundle a place held, and the stamp by which the store told it from others.

use std::{fs, io, path::PathBuf};

use super::is_digest;
use crate::scratch::Scratch;

/// What a place held last.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) stamp: String,
    pub(super) digest: String,
}

/// One small file per place, named by a hash of the location.
#[derive(Debug)]
pub(super) struct Index {
    folder: PathBuf,
}

impl Index {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// What the place held last. An unreadable note is no note.
    pub(super) fn last(&self, location: &str) -> Option<Held> {
        let text = fs::read_to_string(self.file(location)).ok()?;
        let (digest, rest) = text.split_once('\n')?;
        let (stamp, end) = rest.split_once('\n')?;
        (is_digest(digest) && end == location)
            .then(|| Held { stamp: stamp.to_owned(), digest: digest.to_owned() })
    }

    /// Notes what the place holds, in one step.
    pub(super) fn record(&self, location: &str, stamp: &str, digest: &str) -> io::Result<()> {
        let scratch = Scratch::directory(&self.folder)?;
        let file = scratch.path().join("note");
        fs::write(&file, format!("{digest}\n{stamp}\n{location}"))?;
        fs::rename(&file, self.file(location))
    }

    fn file(&self, location: &str) -> PathBuf {
        self.folder.join(blake3::hash(location.as_bytes()).to_hex().as_str())
    }
}
