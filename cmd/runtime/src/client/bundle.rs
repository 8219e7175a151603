//! The bundle to upload: packed from a directory, or an archive as it is.

use std::{fs::File, io::IsTerminal, path::Path};

use futures::{Stream, StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use the0_artifacts::{Format, Limits};
use the0_proto::bot::v1::{DeployBotRequest, DeployHeader, deploy_bot_request::Part};
use tokio_util::io::ReaderStream;

use crate::exit::Failure;

/// Bytes sent at a time; the service accepts up to 1 MiB.
const CHUNK_BYTES: usize = 256 * 1024;

/// A bundle on disk.
#[derive(Debug)]
pub(super) struct Bundle {
    file: File,
    /// Its size.
    pub(super) bytes: u64,
    /// BLAKE3 in hex.
    pub(super) digest: String,
}

/// Packs a directory, or takes an archive as it is. Equal directories give equal bundles, so that deploying twice changes
/// nothing.
pub(super) fn pack(source: &Path) -> Result<Bundle, Failure> {
    let refused = |error: &dyn std::error::Error| {
        let cause = error.source().map_or_else(String::new, |cause| format!(": {cause}"));
        Failure::usage(format!("{}: {error}{cause}", source.display()))
    };
    let scratch = tempfile::tempdir()?;
    let into = scratch.path().join("bundle");
    let packed = the0_artifacts::pack(source, &into, Format::TarGz, &Limits::default(), &mut |_| ());
    let packed = packed.map_err(|error| refused(&error))?;
    // The open file outlives its name.
    let file = File::open(&packed.archive).map_err(|error| refused(&error))?;
    Ok(Bundle { file, bytes: packed.size, digest: packed.digest })
}

/// A bar on standard error, where a person may be looking.
pub(super) fn progress(bundle: &Bundle, quiet: bool) -> ProgressBar {
    if quiet || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(bundle.bytes);
    if let Ok(style) =
        ProgressStyle::with_template("uploading {bar:30} {bytes}/{total_bytes} {bytes_per_sec}")
    {
        bar.set_style(style);
    }
    bar
}

/// The messages of an upload. It ends early if the file can no longer be read, which the service then says.
pub(super) fn parts(
    header: DeployHeader,
    bundle: Bundle,
    progress: ProgressBar,
) -> impl Stream<Item = DeployBotRequest> + Send + 'static {
    let chunks = ReaderStream::with_capacity(tokio::fs::File::from_std(bundle.file), CHUNK_BYTES)
        .take_while(|chunk| std::future::ready(chunk.is_ok()))
        .filter_map(|chunk| std::future::ready(chunk.ok()))
        .map(move |chunk| {
            progress.inc(chunk.len() as u64);
            DeployBotRequest { part: Some(Part::Chunk(chunk.to_vec())) }
        });
    stream::once(std::future::ready(DeployBotRequest { part: Some(Part::Header(header)) })).chain(chunks)
}
