//! Opens stores of objects, and finds out where a piece of code is.

mod location;
mod remote;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use object_store::{ObjectStore, local::LocalFileSystem, path::Path as Key};
use the0_model::{Secret, objects::bucket};

use self::location::{Location, parse};

/// How long to wait for a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection.
    pub connect: Duration,
    /// For a short call (head, put of a part, first byte of a get), its retries included.
    pub call: Duration,
    /// For the next bytes of a download.
    pub idle: Duration,
    /// For a whole download.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            call: Duration::from_secs(20),
            idle: Duration::from_secs(20),
            total: Duration::from_mins(10),
        }
    }
}

/// How to reach a store that speaks S3.
#[derive(Debug, Clone)]
pub struct S3Settings {
    /// `host:port` (the scheme follows from `tls`) or a whole URL; AWS itself where there is none.
    pub endpoint: Option<String>,
    /// Access key.
    pub access_key: Secret<String>,
    /// Secret key.
    pub secret_key: Secret<String>,
    /// Region; most servers of one's own take any.
    pub region: String,
    /// Whether the bucket is in the path instead of the host name, as servers of one's own want it.
    pub path_style: bool,
    /// Whether to encrypt the connection.
    pub tls: bool,
}

/// How to reach Google's store.
#[derive(Debug, Clone, Default)]
pub struct GcsSettings {
    /// Key of a service account, as JSON; the machine's own account where there is none.
    pub service_account: Option<Secret<String>>,
}

/// Why a location or a store was refused.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The text is not a location.
    #[error("code location {location:?}: {reason}")]
    Location {
        /// The text.
        location: String,
        /// What is wrong, and what is accepted.
        reason: String,
    },
    /// The name of a bucket is not acceptable.
    #[error("bucket {name:?}: use 1 to 63 of a-z, 0-9, `-`, `_` and `.`, starting with a letter or digit")]
    Bucket {
        /// The name.
        name: String,
    },
    /// The store cannot be opened with these settings.
    #[error("cannot open bucket {bucket:?}")]
    Store {
        /// The bucket.
        bucket: String,
        /// What the client said.
        #[source]
        source: object_store::Error,
    },
    /// The folder of a bucket cannot be made.
    #[error("cannot make the folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// Where a piece of code is.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// An object.
    Object(Object),
    /// A folder or an archive on this machine.
    Local(PathBuf),
}

/// An object in a store.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) key: Key,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Service {
    Directory,
    S3,
    Gcs,
}

/// The stores this process may use. Clients are opened on first use and kept.
pub struct ObjectStores {
    home: Service,
    directory: Option<PathBuf>,
    s3: Option<S3Settings>,
    gcs: Option<GcsSettings>,
    code_bucket: String,
    allow_local_files: bool,
    timeouts: Timeouts,
    opened: Mutex<BTreeMap<(Service, String), Arc<dyn ObjectStore>>>,
}

impl ObjectStores {
    /// Keeps buckets as folders of `path`.
    pub fn directory(path: impl Into<PathBuf>) -> Self {
        Self { directory: Some(path.into()), ..Self::empty(Service::Directory) }
    }

    /// Keeps buckets in a store that speaks S3.
    pub fn s3(settings: S3Settings) -> Self {
        Self { s3: Some(settings), ..Self::empty(Service::S3) }
    }

    /// Keeps buckets in Google's store.
    pub fn gcs(settings: GcsSettings) -> Self {
        Self { gcs: Some(settings), ..Self::empty(Service::Gcs) }
    }

    /// Lets `s3://` locations be read too, where the buckets themselves are elsewhere.
    #[must_use]
    pub fn with_s3(mut self, settings: S3Settings) -> Self {
        self.s3 = Some(settings);
        self
    }

    /// Lets `gs://` locations be read too, where the buckets themselves are elsewhere.
    #[must_use]
    pub fn with_gcs(mut self, settings: GcsSettings) -> Self {
        self.gcs = Some(settings);
        self
    }

    /// Names the bucket of code; `custom-bots` otherwise.
    #[must_use]
    pub fn with_code_bucket(mut self, name: impl Into<String>) -> Self {
        self.code_bucket = name.into();
        self
    }

    /// Lets `file:///…` locations be read: only where those who create bots may read this machine's files anyway.
    #[must_use]
    pub fn allow_local_files(mut self, allow: bool) -> Self {
        self.allow_local_files = allow;
        self
    }

    /// Sets how long to wait.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// A bucket of the home store.
    pub fn bucket(&self, name: &str) -> Result<Arc<dyn ObjectStore>, OpenError> {
        self.open(self.home, name)
    }

    pub(crate) fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// An object of the code bucket.
    pub(crate) fn code(&self, key: &str) -> Result<Object, OpenError> {
        let refused = |error: object_store::path::Error| OpenError::Location {
            location: key.to_owned(),
            reason: error.to_string(),
        };
        Ok(Object { key: Key::parse(key).map_err(refused)?, store: self.bucket(&self.code_bucket)? })
    }

    /// Finds where `location` is.
    pub(crate) fn resolve(&self, location: &str) -> Result<Place, OpenError> {
        let refused =
            |reason: &str| OpenError::Location { location: location.to_owned(), reason: reason.to_owned() };
        let (service, bucket, key) = match parse(location).map_err(|reason| refused(&reason))? {
            Location::Key(key) => (self.home, self.code_bucket.as_str(), key),
            Location::S3 { bucket, key } => (Service::S3, bucket, key),
            Location::Gcs { bucket, key } => (Service::Gcs, bucket, key),
            Location::File(path) if self.allow_local_files => return Ok(Place::Local(path)),
            Location::File(_) => {
                return Err(refused("files of this machine may not be used here; upload the bundle instead"));
            }
        };
        let key = Key::parse(key).map_err(|error| refused(&error.to_string()))?;
        if service == Service::S3 && self.s3.is_none() {
            return Err(refused("no S3 store is configured"));
        }
        if service == Service::Gcs && self.gcs.is_none() {
            return Err(refused("no Google store is configured"));
        }
        Ok(Place::Object(Object { store: self.open(service, bucket)?, key }))
    }

    fn empty(home: Service) -> Self {
        Self {
            home,
            directory: None,
            s3: None,
            gcs: None,
            code_bucket: bucket::CODE.to_owned(),
            allow_local_files: false,
            timeouts: Timeouts::default(),
            opened: Mutex::new(BTreeMap::new()),
        }
    }

    fn open(&self, service: Service, name: &str) -> Result<Arc<dyn ObjectStore>, OpenError> {
        check_bucket(name)?;
        // A map is not left half-changed by a panic elsewhere.
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = opened.get(&(service, name.to_owned())) {
            return Ok(Arc::clone(store));
        }
        let failed = |source| OpenError::Store { bucket: name.to_owned(), source };
        let store: Arc<dyn ObjectStore> = match (service, &self.directory, &self.s3, &self.gcs) {
            (Service::Directory, Some(root), ..) => open_directory(&root.join(name), name)?,
            (Service::S3, _, Some(settings), _) => {
                Arc::new(remote::s3(settings, name, &self.timeouts).map_err(failed)?)
            }
            (Service::Gcs, _, _, Some(settings)) => {
                Arc::new(remote::gcs(settings, name, &self.timeouts).map_err(failed)?)
            }
            // `resolve` asks first; the home store always has its settings.
            (Service::Directory | Service::S3 | Service::Gcs, ..) => {
                return Err(OpenError::Bucket { name: name.to_owned() });
            }
        };
        opened.insert((service, name.to_owned()), Arc::clone(&store));
        Ok(store)
    }
}

impl fmt::Debug for ObjectStores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectStores")
            .field("home", &self.home)
            .field("directory", &self.directory)
            .field("code_bucket", &self.code_bucket)
            .finish_non_exhaustive()
    }
}

fn open_directory(path: &Path, name: &str) -> Result<Arc<dyn ObjectStore>, OpenError> {
    std::fs::create_dir_all(path).map_err(|source| OpenError::Folder { path: path.to_owned(), source })?;
    let store = LocalFileSystem::new_with_prefix(path)
        .map_err(|source| OpenError::Store { bucket: name.to_owned(), source })?;
    // What was acknowledged must survive a power cut.
    Ok(Arc::new(store.with_fsync(true).with_automatic_cleanup(true)))
}

/// In a directory store the name becomes a folder, so it must not lead outside.
fn check_bucket(name: &str) -> Result<(), OpenError> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    if !starts_well || name.len() > 63 || !name.chars().all(plain) {
        return Err(OpenError::Bucket { name: name.to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
