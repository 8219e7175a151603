//! The same over the real protocol, against a server in this process, and against servers in trouble.

use std::{future::Future, net::SocketAddr};

use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use the0_model::Secret;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::*;
use crate::open::{S3Settings, Timeouts};

/// Accepts connections until dropped.
struct Server {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Server {
    async fn start<F: Future<Output = ()> + Send + 'static>(
        serve: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                // Otherwise small answers wait for 40 ms.
                stream.set_nodelay(true).unwrap();
                connections.spawn(serve(stream));
            }
        });
        Self { address, _tasks: tasks }
    }

    async fn s3(root: &Path) -> Self {
        fs::create_dir_all(root.join("custom-bots")).unwrap();
        let mut service = s3s::service::S3ServiceBuilder::new(s3s_fs::FileSystem::new(root).unwrap());
        service.set_auth(s3s::auth::SimpleAuth::from_single("access", "secret"));
        let service = service.build();
        Self::start(move |stream| {
            let service = service.clone();
            async move {
                let _ =
                    Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
            }
        })
        .await
    }

    /// Reads a request and gives the same answer always; then waits, or closes.
    async fn answering(answer: &'static str, close: bool) -> Self {
        Self::start(move |mut stream| async move {
            let mut request = [0; 4096];
            while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                let _ = stream.write_all(answer.as_bytes()).await;
                if close {
                    return;
                }
            }
        })
        .await
    }

    fn home(&self, secret: &str) -> Home {
        self.home_with(secret, Timeouts::default())
    }

    /// For servers in trouble.
    fn impatient_home(&self) -> Home {
        let timeouts = Timeouts {
            call: Duration::from_millis(1500),
            idle: Duration::from_millis(500),
            total: Duration::from_secs(5),
            ..Timeouts::default()
        };
        self.home_with("secret", timeouts)
    }

    fn home_with(&self, secret: &str, timeouts: Timeouts) -> Home {
        let settings = S3Settings {
            endpoint: Some(self.address.to_string()),
            access_key: Secret::new("access".into()),
            secret_key: Secret::new(secret.into()),
            region: "us-east-1".into(),
            path_style: true,
            tls: false,
        };
        Home::with(tempfile::tempdir().unwrap(), ObjectStores::s3(settings).with_timeouts(timeouts))
    }
}

#[tokio::test]
async fn bundles_travel_over_s3() {
    let root = tempfile::tempdir().unwrap();
    let server = Server::s3(root.path()).await;
    let home = server.home("secret");
    home.put("u/b/1.0.0", &bundle("a")).await;
    let cached = home.cache.fetch(&at("u/b/1.0.0", None)).await.unwrap();
    assert_eq!(home.cache.fetch(&at("s3://custom-bots/u/b/1.0.0", None)).await.unwrap(), cached);
    assert_eq!(home.cache.fetch(&at("u/b/1.0.0", None)).await.unwrap(), cached);
    let missing = home.cache.fetch(&at("u/b/9.9.9", None)).await.unwrap_err();
    assert!(matches!(missing, CodeError::NotFound { .. }), "{missing:?}");

    // Larger than one part, so it goes up in several.
    let mut noise = vec![0; 17 << 20];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    let mut archive = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    archive.start_file("noise", zip::write::SimpleFileOptions::default()).unwrap();
    archive.write_all(&noise).unwrap();
    let upload = home.folder.path().join("upload");
    fs::write(&upload, archive.finish().unwrap().into_inner()).unwrap();
    let bot = BotId::new("b1").unwrap();
    let stored = home.cache.store_bundle(&bot, &upload, |_| Ok::<(), ()>(())).await.unwrap().unwrap();
    let other = server.home("secret");
    let fetched = other.cache.fetch(&at(&stored.key, Some(stored.digest.clone()))).await.unwrap();
    assert_eq!(fs::read(fetched.dir.join("noise")).unwrap(), noise);

    let stranger = server.home("wrong").cache.fetch(&at("u/b/1.0.0", None)).await.unwrap_err();
    assert!(!stranger.is_permanent(), "{stranger:?}");
}

#[tokio::test]
async fn a_store_in_trouble_is_told_in_time_and_passes() {
    let silent = Server::answering("", false).await;
    let failing = Server::answering("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n", false).await;
    let closing = Server::answering("", true).await;
    for server in [&silent, &failing, &closing] {
        let home = server.impatient_home();
        let start = std::time::Instant::now();
        let error = home.cache.fetch(&at("k", None)).await.unwrap_err();
        assert!(matches!(error, CodeError::Timeout { .. } | CodeError::Store { .. }), "{error:?}");
        assert!(!error.is_permanent(), "{error:?}");
        assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
        assert!(home.held().is_empty());
    }
}

#[tokio::test]
async fn a_declared_size_over_the_limit_is_not_downloaded() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 900000000\r\netag: \"x\"\r\n\
                  last-modified: Sat, 01 Jan 2022 00:00:00 GMT\r\n\r\n";
    let server = Server::answering(answer, false).await;
    let home = server.impatient_home();
    let error = home.cache.fetch(&at("k", Some(digest(b"x")))).await.unwrap_err();
    assert!(matches!(error, CodeError::Archive { source: ExtractError::Limit { .. }, .. }), "{error:?}");
}

#[tokio::test]
async fn what_was_fetched_runs_on_while_the_store_is_away() {
    let root = tempfile::tempdir().unwrap();
    let server = Server::s3(root.path()).await;
    let home = server.impatient_home();
    home.put("k", &bundle("a")).await;
    let cached = home.cache.fetch(&at("k", None)).await.unwrap();
    drop(server);
    assert_eq!(home.cache.fetch(&at("k", None)).await.unwrap(), cached);
    assert!(!home.cache.fetch(&at("other", None)).await.unwrap_err().is_permanent());
}
