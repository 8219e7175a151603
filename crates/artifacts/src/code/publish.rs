//! Puts an unpacked tree in its place, and takes trees away.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};

use super::{CodeError, cache_io, is_digest};
use crate::scratch::Scratch;

/// Makes the tree read-only and durable and renames it to its place. Where another was faster, that one stays.
pub(super) fn publish(tree: Scratch, place: &Path) -> Result<(), CodeError> {
    cache_io("make read-only", tree.path(), make_read_only(tree.path()))?;
    // Without this a power cut could leave the new name with empty files below it.
    let synced = fs::File::open(tree.path()).and_then(|folder| Ok(rustix::fs::syncfs(folder)?));
    cache_io("write out", tree.path(), synced)?;
    match tree.rename_to(place) {
        Err(error) if is_taken(&error) => Ok(()),
        result => cache_io("rename a tree to", place, result),
    }
}

fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty)
}

/// Marks the tree as used now. False if it is not there.
pub(super) fn touch(place: &Path) -> bool {
    if !place.is_dir() {
        return false;
    }
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
    };
    // Only the order of eviction depends on it.
    let _ = rustix::fs::utimensat(CWD, place, &times, AtFlags::empty());
    true
}

/// See [`CodeCache::prune`](super::CodeCache::prune).
pub(super) fn prune(root: &Path, keep: &BTreeSet<String>, max_bytes: u64) -> Result<Vec<String>, CodeError> {
    let mut trees = cache_io("list", root, trees(root))?;
    trees.sort_by_key(|tree| tree.used);
    let mut total: u64 = trees.iter().map(|tree| tree.bytes).sum();
    let mut removed = Vec::new();
    for tree in trees {
        if total <= max_bytes {
            break;
        }
        if keep.contains(&tree.digest) {
            continue;
        }
        cache_io("remove", &tree.path, remove(root, &tree.path))?;
        total -= tree.bytes;
        removed.push(tree.digest);
    }
    Ok(removed)
}

/// Renames the tree away first, so that nobody ever finds half of it.
fn remove(root: &Path, tree: &Path) -> io::Result<()> {
    let scratch = Scratch::directory(root)?;
    fs::rename(tree, scratch.path())
    // Dropping the scratch folder removes the tree that took its place.
}

struct Tree {
    path: PathBuf,
    digest: String,
    bytes: u64,
    used: std::time::SystemTime,
}

fn trees(root: &Path) -> io::Result<Vec<Tree>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let digest = entry.file_name().to_string_lossy().into_owned();
        if !is_digest(&digest) {
            continue;
        }
        let path = entry.path();
        let mut bytes = 0;
        each(&path, &mut |_, meta| {
            bytes += meta.len();
            Ok(())
        })?;
        found.push(Tree { bytes, used: entry.metadata()?.modified()?, digest, path });
    }
    Ok(found)
}

fn make_read_only(root: &Path) -> io::Result<()> {
    each(root, &mut |path, meta| {
        let executable = meta.is_dir() || meta.permissions().mode() & 0o100 != 0;
        fs::set_permissions(path, fs::Permissions::from_mode(if executable { 0o555 } else { 0o444 }))
    })
}

/// Visits everything below `root`, and `root` itself first. There are no links in such trees.
fn each(root: &Path, visit: &mut dyn FnMut(&Path, &fs::Metadata) -> io::Result<()>) -> io::Result<()> {
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        let meta = path.symlink_metadata()?;
        visit(&path, &meta)?;
        if meta.is_dir() {
            for entry in fs::read_dir(&path)? {
                open.push(entry?.path());
            }
        }
    }
    Ok(())
}
