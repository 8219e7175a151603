//! `DeployBot`: a bundle comes in pieces, is spooled, checked, stored, and only then does anything change.

use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::{Stream, StreamExt};
use tempfile::NamedTempFile;
use the0_artifacts::{CodeCache, CodeError, StoredBundle, require_file};
use the0_model::{Bot, BotId, Runtime};
use the0_proto::bot::v1::{DeployBotRequest, deploy_bot_request::Part};
use tokio::{
    io::AsyncWriteExt,
    sync::{Mutex, Semaphore},
};
use tonic::Status;

use super::{
    status::{invalid, of_command},
    validate::{self, Upload},
};
use crate::{
    BotCommands, CommandError, Deployed, FieldFault,
    commands::{CheckedDeploy, CodePlace},
};

/// Largest bundle accepted, in bytes.
pub const BUNDLE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Largest piece of one accepted, in bytes.
pub const CHUNK_BYTES_MAX: usize = 1024 * 1024;
/// Longest wait for the next piece.
const PIECE_WAIT: Duration = Duration::from_secs(30);
/// Longest upload.
const UPLOAD_WAIT: Duration = Duration::from_mins(30);
/// Uploads at once. Each may hold a bundle of the largest size on disk.
const UPLOADS_MAX: usize = 8;
/// Deployments of different bots rarely share one of these; of the same bot, always.
const TURNS: usize = 32;

/// Takes bundles in.
#[derive(Debug)]
pub struct Bundles {
    cache: Arc<CodeCache>,
    spool: PathBuf,
    uploads: Semaphore,
    turns: [Mutex<()>; TURNS],
}

impl Bundles {
    /// Spools into `spool`, which is made, and emptied of what a crash left there.
    pub fn new(cache: Arc<CodeCache>, spool: impl Into<PathBuf>) -> io::Result<Self> {
        let spool = spool.into();
        match std::fs::remove_dir_all(&spool) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        std::fs::create_dir_all(&spool)?;
        Ok(Self {
            cache,
            spool,
            uploads: Semaphore::new(UPLOADS_MAX),
            turns: std::array::from_fn(|_| Mutex::new(())),
        })
    }

    /// Receives a bundle and deploys it. Whatever goes wrong, and whenever the client leaves, nothing stays behind.
    pub(super) async fn deploy(
        &self,
        commands: &BotCommands,
        parts: impl Stream<Item = Result<DeployBotRequest, Status>> + Send,
    ) -> Result<Deployed, Status> {
        let busy =
            || Status::resource_exhausted(format!("{UPLOADS_MAX} uploads are running; try again later"));
        let _permit = self.uploads.try_acquire().map_err(|_| busy())?;
        let upload_wait =
            || Status::deadline_exceeded(format!("the upload took over {} s", UPLOAD_WAIT.as_secs()));
        let receive = async {
            let mut parts = std::pin::pin!(parts);
            let upload = header(next(parts.as_mut()).await?)?;
            // Refused before the bundle comes, while it is cheap.
            refuse_early(commands, &upload.deploy).await?;
            let file = self.receive(&upload, parts.as_mut()).await?;
            Ok::<_, Status>((upload, file))
        };
        let (upload, file) =
            tokio::time::timeout(UPLOAD_WAIT, receive).await.map_err(|_| upload_wait())??;
        let _turn = self.turn(&upload.deploy.bot_id).lock().await;
        self.commit(commands, &upload.deploy, file.path()).await
    }

    /// Removes the bundle of a bot that is gone.
    pub(super) async fn forget(&self, bot: &BotId, digest: &str) {
        let _turn = self.turn(bot).lock().await;
        self.remove(bot, digest).await;
    }

    async fn receive(
        &self,
        upload: &Upload,
        mut parts: std::pin::Pin<&mut (impl Stream<Item = Result<DeployBotRequest, Status>> + Send)>,
    ) -> Result<NamedTempFile, Status> {
        let spooled = NamedTempFile::new_in(&self.spool).map_err(|error| disk(&error))?;
        let mut file = tokio::fs::File::from_std(spooled.reopen().map_err(|error| disk(&error))?);
        let (mut hasher, mut received) = (blake3::Hasher::new(), 0_u64);
        while let Some(part) = next(parts.as_mut()).await? {
            let Some(Part::Chunk(chunk)) = part.part else {
                return Err(fault("header", "was sent twice; only the first message holds it"));
            };
            if chunk.len() > CHUNK_BYTES_MAX {
                let text =
                    format!("a chunk has {} bytes; at most {CHUNK_BYTES_MAX} are allowed", chunk.len());
                return Err(Status::resource_exhausted(text));
            }
            received += chunk.len() as u64;
            if received > upload.bytes {
                return Err(fault("bundle_bytes", format!("is {}, but more came", upload.bytes)));
            }
            hasher.update(&chunk);
            file.write_all(&chunk).await.map_err(|error| disk(&error))?;
        }
        file.flush().await.map_err(|error| disk(&error))?;
        if received < upload.bytes {
            return Err(fault("bundle_bytes", format!("is {}, but only {received} came", upload.bytes)));
        }
        let came = hasher.finalize().to_hex();
        if upload.digest.as_ref().is_some_and(|announced| announced != came.as_str()) {
            return Err(fault("bundle_digest", "differs from what came; the bundle was damaged on its way"));
        }
        Ok(spooled)
    }

    async fn commit(
        &self,
        commands: &BotCommands,
        deploy: &CheckedDeploy,
        file: &Path,
    ) -> Result<Deployed, Status> {
        let before = existing(commands, &deploy.bot_id).await?;
        let needed = needed_file(deploy, before.as_ref())?;
        let accept = move |tree: &Path| require_file(tree, &needed).map_err(|missing| missing.to_string());
        let stored =
            self.cache.store_bundle(&deploy.bot_id, file, accept).await.map_err(|error| of_code(&error))?;
        let stored: StoredBundle = stored.map_err(|missing| fault("entrypoint", missing))?;
        let code = CodePlace { location: stored.key, digest: Some(stored.digest.clone()) };
        let old = before.and_then(|bot| bot.runtime.code_digest).filter(|old| *old != stored.digest);
        match commands.deploy(deploy, Some(&code)).await {
            Ok(deployed) => {
                if let Some(old) = old {
                    self.remove(&deploy.bot_id, &old).await;
                }
                Ok(deployed)
            }
            Err(error) => {
                let used = existing(commands, &deploy.bot_id).await?.and_then(|bot| bot.runtime.code_digest);
                if used.as_ref() != Some(&stored.digest) {
                    self.remove(&deploy.bot_id, &stored.digest).await;
                }
                Err(of_command(&error))
            }
        }
    }

    async fn remove(&self, bot: &BotId, digest: &str) {
        if let Err(error) = self.cache.remove_bundle(bot, digest).await {
            tracing::warn!(%bot, digest, error = chain(&error), "a bundle nobody needs was not removed");
        }
    }

    fn turn(&self, bot: &BotId) -> &Mutex<()> {
        let hash = blake3::hash(bot.as_str().as_bytes());
        &self.turns[usize::from(hash.as_bytes()[0]) % TURNS]
    }
}

async fn next(
    mut parts: std::pin::Pin<&mut (impl Stream<Item = Result<DeployBotRequest, Status>> + Send)>,
) -> Result<Option<DeployBotRequest>, Status> {
    let silence = || Status::deadline_exceeded(format!("nothing came for {} s", PIECE_WAIT.as_secs()));
    tokio::time::timeout(PIECE_WAIT, parts.next()).await.map_err(|_| silence())?.transpose()
}

fn header(first: Option<DeployBotRequest>) -> Result<Upload, Status> {
    let Some(Part::Header(header)) = first.and_then(|first| first.part) else {
        return Err(fault("header", "is missing; the first message must hold it"));
    };
    let upload = validate::deploy(header).map_err(|faults| invalid(&faults))?;
    if validate::too_large(upload.bytes) {
        let text = format!("the bundle has {} bytes; at most {BUNDLE_BYTES_MAX} are allowed", upload.bytes);
        return Err(Status::resource_exhausted(text));
    }
    Ok(upload)
}

async fn refuse_early(commands: &BotCommands, deploy: &CheckedDeploy) -> Result<(), Status> {
    let before = existing(commands, &deploy.bot_id).await?;
    if before.is_some() && deploy.create_only {
        return Err(of_command(&CommandError::AlreadyExists { bot: deploy.bot_id.clone() }));
    }
    let to_come = CodePlace { location: "to come".to_owned(), digest: None };
    deploy.onto(before.as_ref(), Some(&to_come)).map(drop).map_err(|faults| invalid(&faults))
}

/// The file that must be in the bundle: the entrypoint named now, or before, or the runtime's own.
fn needed_file(deploy: &CheckedDeploy, before: Option<&Bot>) -> Result<String, Status> {
    let to_come = CodePlace { location: "to come".to_owned(), digest: None };
    let bot = deploy.onto(before, Some(&to_come)).map_err(|faults| invalid(&faults))?;
    let spec = bot.unit_spec().map_err(|error| fault("runtime", error))?;
    let runtime: Runtime = spec.runtime;
    Ok(runtime.entrypoint_file(&spec.entrypoint).to_owned())
}

async fn existing(commands: &BotCommands, bot: &BotId) -> Result<Option<Bot>, Status> {
    match commands.get(bot).await {
        Ok(view) => Ok(Some(view.bot)),
        Err(CommandError::NotFound { .. }) => Ok(None),
        Err(error) => Err(of_command(&error)),
    }
}

fn fault(field: &str, problem: impl std::fmt::Display) -> Status {
    invalid(&[FieldFault::new(field, problem)])
}

fn of_code(error: &CodeError) -> Status {
    let text = chain(error);
    if is_full(error) {
        return full();
    }
    match error {
        CodeError::Archive { source, .. } if source.is_permanent() => fault("bundle", text),
        CodeError::Store { .. } | CodeError::Timeout { .. } => Status::unavailable(text),
        CodeError::Archive { .. }
        | CodeError::Open(_)
        | CodeError::NotADigest { .. }
        | CodeError::NotFound { .. }
        | CodeError::Digest { .. }
        | CodeError::Folder { .. }
        | CodeError::Cache { .. } => Status::internal(text),
    }
}

fn disk(error: &io::Error) -> Status {
    if is_full(error) { full() } else { Status::internal(format!("the bundle could not be kept: {error}")) }
}

/// Whether a full disk is among the causes: the directory store wraps it in errors of its own.
fn is_full(error: &(dyn Error + 'static)) -> bool {
    let full =
        |error: &io::Error| matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    error.downcast_ref::<io::Error>().is_some_and(full) || error.source().is_some_and(is_full)
}

fn full() -> Status {
    Status::resource_exhausted("the data directory is full; free some space and deploy again")
}

/// The error with its causes in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(here) = cause {
        text = format!("{text}: {here}");
        cause = here.source();
    }
    text
}
