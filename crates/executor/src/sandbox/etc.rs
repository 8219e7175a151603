//! The `/etc` of units: one folder of copied and made files. Bound one by one, each of them would cost every start a mount,
//! and bubblewrap takes longer for each mount that is there already.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use crate::units::{absent_is_fine, make_dir, write_atomically};

/// The folder and where its files come from.
#[derive(Debug)]
pub(super) struct Etc {
    folder: PathBuf,
    /// The machine's.
    source: PathBuf,
    /// Folders of the machine that are bound as they are.
    bound: Vec<PathBuf>,
    /// Files of the machine that are copied.
    copied: Mutex<BTreeMap<PathBuf, Copied>>,
}

/// What a copy was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copied {
    /// By an earlier service, if at all.
    Unknown,
    /// There was no such file.
    Absent,
    /// A file of this time and length.
    From(SystemTime, u64),
}

impl Etc {
    /// Makes it in `folder`: `made` files, and those of `source` that are named in `wanted`. What is there is changed and
    /// never made anew, because units that run see this very folder.
    pub(super) fn make(
        folder: PathBuf,
        source: &Path,
        wanted: &[PathBuf],
        made: &[(&str, String)],
    ) -> io::Result<Self> {
        make_dir(&folder, 0o755)?;
        for (name, text) in made {
            write_atomically(&folder.join(name), text.as_bytes(), 0o644)?;
        }
        let (bound, copied): (Vec<_>, Vec<_>) = wanted.iter().cloned().partition(|path| path.is_dir());
        let this = Self { folder, source: source.to_path_buf(), bound, copied: Mutex::default() };
        for path in &this.bound {
            this.make_place(&this.place(path))?;
        }
        for path in &copied {
            this.make_place(this.place(path).parent().unwrap_or(&this.folder))?;
        }
        *this.copied.lock().unwrap_or_else(PoisonError::into_inner) =
            copied.into_iter().map(|path| (path, Copied::Unknown)).collect();
        this.refresh();
        Ok(this)
    }

    /// The folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Folders of the machine that go over it; there is a place for each.
    pub(super) fn bound(&self) -> &[PathBuf] {
        &self.bound
    }

    /// Copies what has changed, for units that run to see as well. Blocking.
    pub(super) fn refresh(&self) {
        // Held all the while: two copies of one file would use one draft.
        let mut copied = self.copied.lock().unwrap_or_else(PoisonError::into_inner);
        for (path, known) in copied.iter_mut() {
            if let Err(error) = self.renew(path, known) {
                tracing::warn!(path = %path.display(), %error, "units see an older copy of a file");
            }
        }
    }

    fn renew(&self, path: &Path, known: &mut Copied) -> io::Result<()> {
        let found = match fs::metadata(path) {
            Ok(found) => Copied::From(found.modified()?, found.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Copied::Absent,
            Err(error) => return Err(error),
        };
        if found == *known {
            return Ok(());
        }
        if found == Copied::Absent {
            absent_is_fine(fs::remove_file(self.place(path)))?;
        } else {
            write_atomically(&self.place(path), &fs::read(path)?, 0o644)?;
        }
        *known = found;
        Ok(())
    }

    fn place(&self, path: &Path) -> PathBuf {
        self.folder.join(path.strip_prefix(&self.source).unwrap_or(path))
    }

    /// Makes a folder in it, for every user to pass.
    fn make_place(&self, place: &Path) -> io::Result<()> {
        let mut above: Vec<_> = place.ancestors().take_while(|above| *above != self.folder).collect();
        above.reverse();
        above.into_iter().try_for_each(|above| make_dir(above, 0o755))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn copies_follow_the_machine() {
        let home = tempfile::tempdir().unwrap();
        let (source, folder) = (home.path().join("etc"), home.path().join(".etc"));
        fs::create_dir_all(source.join("ssl/certs")).unwrap();
        for name in ["hosts", "resolv.conf", "ssl/openssl.cnf"] {
            fs::write(source.join(name), name).unwrap();
        }
        let wanted =
            ["hosts", "resolv.conf", "ssl/certs", "ssl/openssl.cnf", "absent"].map(|name| source.join(name));
        let etc = Etc::make(folder.clone(), &source, &wanted, &[("passwd", "bot".into())]).unwrap();
        let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
        assert_eq!(etc.bound(), [source.join("ssl/certs")]);
        assert!(folder.join("ssl/certs").is_dir() && read("absent").is_none());
        assert_eq!(read("passwd").as_deref(), Some("bot"));
        assert_eq!(read("ssl/openssl.cnf").as_deref(), Some("ssl/openssl.cnf"));

        fs::write(source.join("resolv.conf"), "another network").unwrap();
        fs::remove_file(source.join("hosts")).unwrap();
        fs::write(source.join("absent"), "here now").unwrap();
        etc.refresh();
        assert_eq!(read("resolv.conf").as_deref(), Some("another network"));
        assert_eq!(read("hosts"), None);
        assert_eq!(read("absent").as_deref(), Some("here now"));

        // Units that run look into this folder, whoever made it.
        let seen = fs::File::open(&folder).unwrap();
        fs::remove_file(source.join("absent")).unwrap();
        Etc::make(folder.clone(), &source, &wanted, &[("passwd", "bot".into())]).unwrap();
        assert_eq!(seen.metadata().unwrap().ino(), fs::metadata(&folder).unwrap().ino());
        assert_eq!(read("absent"), None);
    }
}
