//! Finds the files of a folder that go into its bundle.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::{IGNORE_FILE, PackError, ignore::Ignore, io_at};
use crate::extract::{
    Limits, bytes_shown,
    inside::{self, Kind, Names},
    shown,
};

/// A file that goes into the bundle.
#[derive(Debug)]
pub(super) struct Found {
    /// Its name in the bundle.
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) executable: bool,
    pub(super) bytes: u64,
}

/// Lists the files of the folder, sorted by name, within limits.
pub(super) fn files(root: &Path, limits: &Limits) -> Result<Vec<Found>, PackError> {
    let ignore = read_ignore(root)?;
    let mut found = Vec::new();
    let mut open = vec![String::new()];
    let mut entries = 0;
    while let Some(folder) = open.pop() {
        let path = root.join(&folder);
        for entry in io_at("list", &path, fs::read_dir(&path))? {
            let entry = io_at("list", &path, entry)?;
            let Some(file_name) = entry.file_name().to_str().map(str::to_owned) else {
                let name = shown(entry.file_name().as_encoded_bytes());
                return Err(PackError::File { name, reason: "is not UTF-8; rename it".into() });
            };
            let name = if folder.is_empty() { file_name } else { format!("{folder}/{file_name}") };
            let kind = io_at("read", &entry.path(), entry.file_type())?;
            if ignore.skips(&name, kind.is_dir()) {
                continue;
            }
            entries += 1;
            if entries > limits.files {
                let what = "the number of files and folders".to_owned();
                return Err(PackError::Limit { what, limit: limits.files.to_string() });
            }
            if kind.is_dir() {
                open.push(name);
            } else if kind.is_file() {
                found.push(look(name, entry.path(), limits)?);
            } else {
                return Err(PackError::File {
                    name: shown(name.as_bytes()),
                    reason: refusal(root, &entry.path()),
                });
            }
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    check_whole(root, &found, limits)?;
    Ok(found)
}

fn read_ignore(root: &Path) -> Result<Ignore, PackError> {
    let path = root.join(IGNORE_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => Ignore::parse(&text).map_err(|reason| PackError::Ignore { reason }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Ignore::default()),
        Err(error) => io_at("read", &path, Err(error)),
    }
}

fn look(name: String, path: PathBuf, limits: &Limits) -> Result<Found, PackError> {
    inside::plain(name.as_bytes(), Kind::File, &limits.names())
        .map_err(|reason| PackError::File { name: shown(name.as_bytes()), reason: format!(": {reason}") })?;
    let meta = io_at("read", &path, path.symlink_metadata())?;
    if meta.len() > limits.file_bytes {
        let what = format!("the size of {}", shown(name.as_bytes()));
        return Err(PackError::Limit { what, limit: bytes_shown(limits.file_bytes) });
    }
    let executable = meta.permissions().mode() & 0o111 != 0;
    Ok(Found { name, path, executable, bytes: meta.len() })
}

fn refusal(root: &Path, path: &Path) -> String {
    let Ok(target) = fs::read_link(path) else {
        return "is neither a file nor a folder; list it in .the0ignore".into();
    };
    let stays = fs::canonicalize(path).ok().zip(fs::canonicalize(root).ok());
    if stays.is_some_and(|(to, root)| to.starts_with(root)) {
        "is a symbolic link, which bundles cannot hold; put the file in its place or list it in .the0ignore"
            .into()
    } else {
        format!(
            "is a symbolic link that leads outside, to {}; copy what is needed or list it in .the0ignore",
            shown(target.as_os_str().as_encoded_bytes())
        )
    }
}

fn check_whole(root: &Path, found: &[Found], limits: &Limits) -> Result<(), PackError> {
    if found.is_empty() {
        return Err(PackError::Empty { path: root.to_owned() });
    }
    let total: u64 = found.iter().map(|file| file.bytes).sum();
    if total > limits.total_bytes {
        let what = format!("the size of all files, {},", bytes_shown(total));
        return Err(PackError::Limit { what, limit: bytes_shown(limits.total_bytes) });
    }
    let mut names = Names::default();
    for file in found {
        names.take(&file.name, Kind::File).map_err(|reason| PackError::File {
            name: shown(file.name.as_bytes()),
            reason: format!(": {reason}"),
        })?;
    }
    Ok(())
}
