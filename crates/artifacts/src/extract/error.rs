//! Why an archive was refused.

use std::{io, path::PathBuf};

/// Why an archive was refused. Nothing of it is left behind.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// It is neither ZIP nor TAR.GZ.
    #[error("this is {found}, not a bundle; give a ZIP or a TAR.GZ archive")]
    Format {
        /// What its first bytes look like.
        found: String,
    },
    /// There is no file in it.
    #[error("the archive holds no files")]
    Empty,
    /// An entry's name is not acceptable.
    #[error("entry {entry}: {reason}")]
    Name {
        /// The name, quoted and shortened.
        entry: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An entry is neither a file nor a folder.
    #[error("entry {entry} is {kind}; only files and folders are allowed")]
    Kind {
        /// The name, quoted and shortened.
        entry: String,
        /// What it is.
        kind: String,
    },
    /// Something is over a limit.
    #[error("{what} is over the limit of {limit}")]
    Limit {
        /// What is too large, with the entry's name where it is one entry.
        what: String,
        /// The limit, with its unit.
        limit: String,
    },
    /// An entry is packed in a way that is not read here.
    #[error("entry {entry} is {how}, which is not supported; pack it again without that")]
    Unsupported {
        /// The name, quoted and shortened.
        entry: String,
        /// How it is packed.
        how: String,
    },
    /// It is cut off, altered, or contradicts itself.
    #[error("the archive is damaged{}: {reason}", near(entry.as_deref()))]
    Damaged {
        /// The entry at or after which this shows, quoted and shortened, if any.
        entry: Option<String>,
        /// What is wrong.
        reason: String,
    },
    /// This machine failed to read or write.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl ExtractError {
    /// Whether the same archive will be refused again; only this machine's own failures pass.
    pub fn is_permanent(&self) -> bool {
        !matches!(self, Self::Io { .. })
    }
}

fn near(entry: Option<&str>) -> String {
    entry.map(|entry| format!(" at entry {entry}")).unwrap_or_default()
}

/// A name as it may be shown: quoted, escaped, at most 80 characters.
pub(crate) fn shown(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(raw);
    let short: String = text.chars().take(80).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    format!("{short:?}{more}")
}
