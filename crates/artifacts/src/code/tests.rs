use std::{io::Write, os::unix::fs::MetadataExt};

use object_store::{ObjectStoreExt, PutPayload, path::Path as Key};
use tempfile::TempDir;
use the0_model::BotId;

use super::*;
use crate::extract::ExtractError;

mod s3;

fn bundle(content: &str) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    for (name, mode) in [("main.py", 0o644), ("bin/run", 0o755)] {
        archive.start_file(name, zip::write::SimpleFileOptions::default().unix_permissions(mode)).unwrap();
        archive.write_all(content.as_bytes()).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

struct Home {
    folder: TempDir,
    stores: Arc<ObjectStores>,
    cache: CodeCache,
}

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stores = ObjectStores::directory(folder.path().join("objects")).allow_local_files(true);
        Self::with(folder, stores)
    }

    fn with(folder: TempDir, stores: ObjectStores) -> Self {
        let stores = Arc::new(stores);
        let cache =
            CodeCache::new(Arc::clone(&stores), folder.path().join("code"), Limits::default()).unwrap();
        Self { folder, stores, cache }
    }

    async fn put(&self, key: &str, bytes: &[u8]) {
        let bucket = self.stores.bucket("custom-bots").unwrap();
        bucket.put(&Key::parse(key).unwrap(), PutPayload::from(bytes.to_vec())).await.unwrap();
    }

    /// What is in the cache: trees, and anything that should not be there.
    fn held(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.folder.path().join("code"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != ".index")
            .collect();
        names.sort();
        names
    }
}

fn at(location: &str, digest: Option<String>) -> CodeRef {
    CodeRef { location: location.into(), version: "1.0.0".into(), digest }
}

#[tokio::test]
async fn a_bundle_is_fetched_once_and_read_only() {
    let home = Home::new();
    let bytes = bundle("a");
    home.put("u/b/1.0.0", &bytes).await;
    let cached = home.cache.fetch(&at("u/b/1.0.0", None)).await.unwrap();
    assert_eq!(cached.digest, digest(&bytes));
    assert_eq!(fs::read_to_string(cached.dir.join("main.py")).unwrap(), "a");
    let mode = |name| cached.dir.join(name).metadata().unwrap().mode() & 0o7777;
    assert_eq!([mode(""), mode("bin"), mode("bin/run"), mode("main.py")], [0o555, 0o555, 0o555, 0o444]);
    assert_eq!(home.held(), std::slice::from_ref(&cached.digest));

    // The object may even be gone, once its digest is known.
    home.stores.bucket("custom-bots").unwrap().delete(&Key::from("u/b/1.0.0")).await.unwrap();
    assert_eq!(home.cache.fetch(&at("u/b/1.0.0", Some(cached.digest.clone()))).await.unwrap(), cached);
    // Without a digest, what is gone is gone.
    let error = home.cache.fetch(&at("u/b/1.0.0", None)).await.unwrap_err();
    assert!(matches!(error, CodeError::NotFound { .. }) && error.is_permanent(), "{error:?}");
}

#[tokio::test]
async fn a_changed_object_is_fetched_again() {
    let home = Home::new();
    home.put("k", &bundle("a")).await;
    let first = home.cache.fetch(&at("k", None)).await.unwrap();
    assert_eq!(home.cache.fetch(&at("k", None)).await.unwrap(), first);
    home.put("k", &bundle("longer")).await;
    let second = home.cache.fetch(&at("k", None)).await.unwrap();
    assert_ne!(first, second);
    assert_eq!(fs::read_to_string(second.dir.join("main.py")).unwrap(), "longer");
}

#[tokio::test]
async fn what_is_wrong_is_permanent_and_leaves_nothing() {
    let home = Home::new();
    home.put("k", &bundle("a")).await;
    home.put("text", b"print('hi')").await;
    let wrong = home.cache.fetch(&at("k", Some(digest(b"other")))).await.unwrap_err();
    assert!(matches!(wrong, CodeError::Digest { .. }), "{wrong:?}");
    let text = home.cache.fetch(&at("text", None)).await.unwrap_err();
    assert!(matches!(text, CodeError::Archive { source: ExtractError::Format { .. }, .. }), "{text:?}");
    let outside = home.cache.fetch(&at("k", Some("../../etc".into()))).await.unwrap_err();
    assert!(matches!(outside, CodeError::NotADigest { .. }), "{outside:?}");
    let missing = home.cache.fetch(&at("nope", None)).await.unwrap_err();
    for error in [wrong, text, outside, missing] {
        assert!(error.is_permanent(), "{error:?}");
    }
    assert!(home.held().is_empty(), "{:?}", home.held());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_fetches_at_once_give_one_whole_tree() {
    let home = Home::new();
    let bytes = bundle("a");
    for key in ["k0", "k1"] {
        home.put(key, &bytes).await;
    }
    // A second cache on the same folder is what a second process would be: it shares nothing else.
    let other =
        CodeCache::new(Arc::clone(&home.stores), home.folder.path().join("code"), Limits::default()).unwrap();
    let expected = digest(&bytes);
    let fetches = (0..16).map(|n| {
        let cache = if n % 2 == 0 { &home.cache } else { &other };
        let code = at(&format!("k{}", (n / 2) % 2), (n % 3 == 0).then(|| expected.clone()));
        async move { cache.fetch(&code).await.unwrap() }
    });
    for cached in futures::future::join_all(fetches).await {
        assert_eq!(cached.digest, expected);
        assert_eq!(fs::read_to_string(cached.dir.join("bin/run")).unwrap(), "a");
    }
    assert_eq!(home.held(), [expected]);
}

#[tokio::test]
async fn a_folder_and_an_archive_of_this_machine_can_be_run() {
    let home = Home::new();
    let source = home.folder.path().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("main.py"), "1").unwrap();
    let location = format!("file://{}", source.display());
    let first = home.cache.fetch(&at(&location, None)).await.unwrap();
    assert_eq!(home.cache.fetch(&at(&location, None)).await.unwrap(), first);
    fs::write(source.join("main.py"), "2").unwrap();
    assert_ne!(home.cache.fetch(&at(&location, None)).await.unwrap(), first);
    let archive = home.folder.path().join("b.zip");
    fs::write(&archive, bundle("z")).unwrap();
    let cached = home.cache.fetch(&at(&format!("file://{}", archive.display()), None)).await.unwrap();
    assert_eq!(cached.digest, digest(&bundle("z")));
    assert_eq!(home.held().len(), 3);
    let error = home.cache.fetch(&at("file:///nonexistent/x", None)).await.unwrap_err();
    assert!(error.is_permanent(), "{error:?}");
}

#[tokio::test]
async fn a_deployed_bundle_is_stored_and_warm() {
    let home = Home::new();
    let bot = BotId::new("b1").unwrap();
    let upload = home.folder.path().join("upload");
    fs::write(&upload, bundle("a")).unwrap();
    let accept = |dir: &Path| require_file(dir, "main.py");
    let stored = home.cache.store_bundle(&bot, &upload, accept).await.unwrap().unwrap();
    assert_eq!(stored.key, format!("deployed/b1/{}", stored.digest));
    assert_eq!(stored.size, bundle("a").len() as u64);
    let object = home.folder.path().join("objects/custom-bots").join(&stored.key);
    assert_eq!(fs::read(&object).unwrap(), bundle("a"));
    assert_eq!(home.held(), std::slice::from_ref(&stored.digest));
    // Again is the same; and another cache finds it in the store.
    assert_eq!(home.cache.store_bundle(&bot, &upload, accept).await.unwrap().unwrap(), stored);
    let other =
        CodeCache::new(Arc::clone(&home.stores), home.folder.path().join("c2"), Limits::default()).unwrap();
    other.fetch(&at(&stored.key, Some(stored.digest.clone()))).await.unwrap();
    home.cache.remove_bundle(&bot, &stored.digest).await.unwrap();
    home.cache.remove_bundle(&bot, &stored.digest).await.unwrap();
    assert!(!object.exists());
}

#[tokio::test]
async fn a_refused_deploy_leaves_nothing() {
    let home = Home::new();
    let bot = BotId::new("b1").unwrap();
    let upload = home.folder.path().join("upload");
    fs::write(&upload, bundle("a")).unwrap();
    let missing = home.cache.store_bundle(&bot, &upload, |dir| require_file(dir, "mian.py")).await;
    let missing = missing.unwrap().unwrap_err();
    assert_eq!(missing.near, ["main.py"]);
    assert_eq!(missing.to_string(), "entrypoint \"mian.py\" is not in the bundle; it holds \"main.py\"");
    fs::write(&upload, b"no archive").unwrap();
    let bad = home.cache.store_bundle(&bot, &upload, |_| Ok::<(), ()>(())).await.unwrap_err();
    assert!(bad.is_permanent(), "{bad:?}");
    assert!(home.held().is_empty(), "{:?}", home.held());
    assert!(!home.folder.path().join("objects/custom-bots/deployed").exists());
}

#[test]
fn entrypoints_that_cannot_run_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("pkg")).unwrap();
    fs::write(folder.path().join("pkg/main.py"), "").unwrap();
    for (name, word) in
        [("main.py", "pkg/main.py"), ("pkg", "folder"), ("-c", "option"), ("../x", "`..`"), ("", "empty")]
    {
        let text = require_file(folder.path(), name).unwrap_err().to_string();
        assert!(text.contains(word), "{text}");
    }
    require_file(folder.path(), "pkg/main.py").unwrap();
}

#[tokio::test]
async fn leftovers_are_swept_and_old_trees_pruned() {
    let home = Home::new();
    let mut digests = Vec::new();
    for content in ["a", "b", "c"] {
        home.put(content, &bundle(content)).await;
        digests.push(home.cache.fetch(&at(content, None)).await.unwrap().digest);
    }
    // The first was used last.
    home.cache.fetch(&at("a", Some(digests[0].clone()))).await.unwrap();
    let removed = home.cache.prune(&[digests[1].clone()].into(), 1).unwrap();
    assert_eq!(removed, [digests[2].clone(), digests[0].clone()]);
    assert_eq!(home.held(), [digests[1].clone()]);
    assert!(home.cache.prune(&BTreeSet::new(), u64::MAX).unwrap().is_empty());

    let code = home.folder.path().join("code");
    for name in [".tmp-1-1", ".tmp-1-2"] {
        fs::create_dir_all(code.join(name).join("deep")).unwrap();
    }
    let hours = code.metadata().unwrap().modified().unwrap() - Duration::from_hours(2);
    fs::File::open(code.join(".tmp-1-1")).unwrap().set_modified(hours).unwrap();
    CodeCache::new(Arc::clone(&home.stores), &code, Limits::default()).unwrap();
    assert!(!code.join(".tmp-1-1").exists() && code.join(".tmp-1-2").exists());
}
