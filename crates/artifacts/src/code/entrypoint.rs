//! Checks that a tree holds the file that is to run.

use std::{fs, path::Path};

use crate::extract::{
    Limits,
    inside::{self, Kind},
    shown,
};

/// Most names offered instead.
const SUGGESTIONS: usize = 5;
/// Most entries looked at for suggestions.
const LOOK_AT: usize = 20_000;

/// The file that is to run is not in the bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("entrypoint {name} {reason}{}", offered(near))]
pub struct MissingFile {
    /// The name that was asked for, quoted.
    pub name: String,
    /// What is wrong.
    pub reason: String,
    /// Names in the bundle that may have been meant, the nearest first.
    pub near: Vec<String>,
}

/// Checks that `name` is a file of the tree at `dir`, and suggests near names if not. Blocks.
pub fn require_file(dir: &Path, name: &str) -> Result<(), MissingFile> {
    let missing = |reason: String, near| MissingFile { name: shown(name.as_bytes()), reason, near };
    let plain = inside::plain(name.as_bytes(), Kind::File, &Limits::default().names())
        .map_err(|reason| missing(format!("is not acceptable: {reason}"), Vec::new()))?;
    if plain.starts_with('-') {
        return Err(missing("starts with `-`, like an option".into(), Vec::new()));
    }
    match dir.join(&plain).symlink_metadata() {
        Ok(meta) if meta.is_file() => Ok(()),
        Ok(_) => Err(missing("is a folder; name a file in it".into(), near(dir, &plain))),
        Err(_) => Err(missing("is not in the bundle".into(), near(dir, &plain))),
    }
}

fn offered(near: &[String]) -> String {
    if near.is_empty() {
        return String::new();
    }
    let names: Vec<String> = near.iter().map(|name| shown(name.as_bytes())).collect();
    format!("; it holds {}", names.join(", "))
}

fn near(dir: &Path, wanted: &str) -> Vec<String> {
    let mut ranked: Vec<(usize, String)> = files(dir)
        .into_iter()
        .map(|name| (distance(&name, wanted), name))
        .filter(|(distance, _)| *distance <= 8)
        .collect();
    ranked.sort();
    ranked.into_iter().take(SUGGESTIONS).map(|(_, name)| name).collect()
}

fn files(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    let mut seen = 0;
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            seen += 1;
            if seen > LOOK_AT {
                return found;
            }
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if let Ok(name) = path.strip_prefix(dir) {
                found.push(name.to_string_lossy().into_owned());
            }
        }
    }
    found
}

/// How far a name is from the wanted one: 0 for the same file name in another folder, else single-letter edits.
fn distance(name: &str, wanted: &str) -> usize {
    let file_name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    if file_name(name) == file_name(wanted) {
        return 0;
    }
    let extension = |path: &str| path.rsplit_once('.').map(|(_, extension)| extension.to_owned());
    let other_language = usize::from(extension(name) != extension(wanted)) * 4;
    edits(&file_name(name), &file_name(wanted)).min(edits(name, wanted)) + other_language
}

fn edits(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, r) in right.iter().enumerate() {
            let replace = diagonal + usize::from(l != *r);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}
