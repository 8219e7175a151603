//! Removes what a bot may have made: any tree at all.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// Name of a folder that was moved up, before its number.
const LIFTED: &str = ".removing-";

/// Removes a folder with all that is in it, even what a bot of the same user has closed. Does nothing if it is absent.
/// Links are removed, never followed.
///
/// A bot can nest folders deeper than a stack, a path or the number of open files allows, so nothing descends: folders
/// within folders are moved up into `root`, until none has another in it.
pub(crate) fn remove_tree(root: &Path) -> io::Result<()> {
    match absent_is_none(fs::symlink_metadata(root))? {
        None => return Ok(()),
        Some(found) if !found.is_dir() => return Err(io::ErrorKind::NotADirectory.into()),
        Some(_) => open(root),
    }
    // Listed before the first is moved, so that none is found twice.
    let mut first = Vec::new();
    for entry in absent_is_none(fs::read_dir(root))?.into_iter().flatten() {
        first.push(entry?);
    }
    let mut lift = Lift { root, lifted: 0 };
    for entry in first {
        lift.remove_or_lift(&entry)?;
    }
    let mut emptied = 0;
    while emptied < lift.lifted {
        let folder = lift.place(emptied);
        for entry in absent_is_none(fs::read_dir(&folder))?.into_iter().flatten() {
            lift.remove_or_lift(&entry?)?;
        }
        absent_is_none(fs::remove_dir(&folder))?;
        emptied += 1;
    }
    absent_is_none(fs::remove_dir(root)).map(drop)
}

struct Lift<'a> {
    root: &'a Path,
    /// How many numbers are used.
    lifted: u64,
}

impl Lift<'_> {
    fn place(&self, number: u64) -> PathBuf {
        self.root.join(format!("{LIFTED}{number}"))
    }

    fn remove_or_lift(&mut self, entry: &fs::DirEntry) -> io::Result<()> {
        let path = entry.path();
        if !entry.file_type()?.is_dir() {
            return absent_is_none(fs::remove_file(path)).map(drop);
        }
        // Moving it changes what `..` in it means, for which it must be writable itself.
        open(&path);
        loop {
            let place = self.place(self.lifted);
            self.lifted += 1;
            match fs::rename(&path, place) {
                // Left by a removal that was cut short; it has its turn under its own name.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::AlreadyExists
                            | io::ErrorKind::DirectoryNotEmpty
                            | io::ErrorKind::NotADirectory
                    ) => {}
                // Gone: an empty one left by a removal that was cut short, whose place another took.
                done => return absent_is_none(done).map(drop),
            }
        }
    }
}

/// What cannot be opened says so when it is read.
fn open(folder: &Path) {
    let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
}

fn absent_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(there) => Ok(Some(there)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::{ffi::OsStrExt, fs::symlink};

    use rustix::fs::{Mode, OFlags, mkdirat, openat};

    use super::*;

    #[test]
    fn folders_nested_deeper_than_any_stack_are_removed() {
        let root = tempfile::tempdir().unwrap();
        let unit = root.path().join("unit");
        fs::create_dir_all(unit.join("state")).unwrap();
        let mut inner = fs::File::open(unit.join("state")).unwrap();
        for _ in 0..20_000 {
            mkdirat(&inner, "d", Mode::RWXU).unwrap();
            inner = openat(&inner, "d", OFlags::DIRECTORY, Mode::empty()).unwrap().into();
        }
        remove_tree(&unit).unwrap();
        assert!(!unit.exists());
    }

    #[test]
    fn what_links_lead_to_stays() {
        let root = tempfile::tempdir().unwrap();
        let (unit, precious) = (root.path().join("unit"), root.path().join("precious"));
        fs::create_dir_all(unit.join("state/inner")).unwrap();
        fs::create_dir(&precious).unwrap();
        fs::write(precious.join("file"), "").unwrap();
        symlink(&precious, unit.join("state/folder")).unwrap();
        symlink(&precious, unit.join("state/inner/folder")).unwrap();
        symlink(precious.join("file"), unit.join("file")).unwrap();
        remove_tree(&unit).unwrap();
        assert!(!unit.exists() && precious.join("file").exists());
        symlink(&precious, &unit).unwrap();
        assert!(remove_tree(&unit).is_err(), "the folder itself is never a link");
        assert!(precious.join("file").exists());
    }

    #[test]
    fn a_removal_that_was_cut_short_is_finished() {
        let root = tempfile::tempdir().unwrap();
        let unit = root.path().join("unit");
        fs::create_dir_all(unit.join("state/a/b")).unwrap();
        for name in [".removing-0", ".removing-1/inner", ".removing-2", ".removing-4/x/y"] {
            fs::create_dir_all(unit.join(name)).unwrap();
        }
        fs::write(unit.join(".removing-3"), "").unwrap();
        remove_tree(&unit).unwrap();
        remove_tree(&unit).unwrap();
        assert!(!unit.exists());
    }

    #[test]
    fn closed_folders_are_removed_whatever_they_are_called() {
        let root = tempfile::tempdir().unwrap();
        let unit = root.path().join("unit");
        let closed = unit.join(std::ffi::OsStr::from_bytes(b"state/\xff\xfe"));
        fs::create_dir_all(closed.join("deeper")).unwrap();
        for folder in [closed.join("deeper"), closed] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o000)).unwrap();
        }
        remove_tree(&unit).unwrap();
        assert!(!unit.exists());
    }
}
