//! Folders and files that vanish unless they are kept.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Names of scratch things start with this, so that leftovers of a crash are known.
pub(crate) const PREFIX: &str = ".tmp-";

static NEXT: AtomicU64 = AtomicU64::new(0);

/// A folder that is removed when dropped, unless it was renamed to its place.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    kept: bool,
}

impl Scratch {
    /// Makes an empty folder in `parent`, under a name nobody else uses. It is 0755: after a rename others must read it.
    pub(crate) fn directory(parent: &Path) -> io::Result<Self> {
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = parent.join(format!("{PREFIX}{}-{number}", std::process::id()));
            match fs::DirBuilder::new().mode(0o755).create(&path) {
                Ok(()) => {
                    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
                    return Ok(Self { path, kept: false });
                }
                // Another process with the same id (another container on the same disk, or one that crashed).
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Moves it to its place in one step. Fails where something that is not an empty folder is there already.
    pub(crate) fn rename_to(mut self, place: &Path) -> io::Result<()> {
        fs::rename(&self.path, place)?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if let Err(error) = remove_tree(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove a temporary folder");
        }
    }
}

/// Removes a tree, read-only folders included. What is not there counts as removed.
pub(crate) fn remove_tree(root: &Path) -> io::Result<()> {
    // Without root's rights, entries of a read-only folder cannot be removed.
    let writable = |folder: &Path| fs::set_permissions(folder, fs::Permissions::from_mode(0o755));
    match root.symlink_metadata() {
        Ok(meta) if meta.is_dir() => {
            writable(root)?;
            let mut open = vec![root.to_owned()];
            while let Some(folder) = open.pop() {
                for entry in fs::read_dir(&folder)? {
                    let entry = entry?;
                    if entry.file_type()?.is_dir() {
                        writable(&entry.path())?;
                        open.push(entry.path());
                    }
                }
            }
            fs::remove_dir_all(root)
        }
        Ok(_) => fs::remove_file(root),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes scratch folders in `parent` that are older than `age`, as left by a crash. Returns how many.
///
/// The disk's own clock is asked (a folder made now), so a disk shared over a network is judged rightly too.
pub(crate) fn sweep(parent: &Path, age: Duration) -> io::Result<usize> {
    let now = Scratch::directory(parent)?;
    let now = now.path().metadata()?.modified()?;
    let mut removed = 0;
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        // It may vanish meanwhile: its owner is done.
        let Ok(modified) = entry.metadata().and_then(|meta| meta.modified()) else { continue };
        if now.duration_since(modified).is_ok_and(|old| old > age) {
            remove_tree(&entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}
