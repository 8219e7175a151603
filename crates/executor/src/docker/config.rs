//! How units are run on Docker.

use std::{collections::BTreeMap, time::Duration};

use the0_core::ExecutorError;
use the0_model::{Runtime, UnitSpec};

use super::pull::PullPolicy;

/// How units are run on Docker. The user of the bots is the one of the [`Provision`](crate::Provision).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerConfig {
    /// Where Docker listens (`unix:///path`, `/path` or `tcp://host:port`); `None` for `/var/run/docker.sock`.
    pub host: Option<String>,
    /// Hash of the data directory, in hex; its first 8 digits tell installations on one machine apart.
    pub data_hash: String,
    /// Images in place of the runtimes' own.
    pub images: BTreeMap<Runtime, String>,
    /// Network of units that may reach the outside.
    pub network: String,
    /// Most containers made at once. More are slower for all of them: making one is work for the kernel.
    pub start_width: usize,
    /// Longest waits.
    pub timeouts: Timeouts,
    /// Whether missing images are pulled.
    pub pull: PullPolicy,
}

/// Longest waits for Docker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For one ordinary call.
    pub call: Duration,
    /// For making a container's processes, on a busy machine.
    pub start: Duration,
    /// For any sign of progress while an image is pulled.
    pub pull_stall: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            call: Duration::from_secs(30),
            start: Duration::from_mins(2),
            pull_stall: Duration::from_mins(2),
        }
    }
}

impl DockerConfig {
    /// The defaults, for the data directory with this hash.
    pub fn new(data_hash: impl Into<String>) -> Self {
        Self {
            host: None,
            data_hash: data_hash.into(),
            images: BTreeMap::new(),
            network: "bridge".to_owned(),
            start_width: 4,
            timeouts: Timeouts::default(),
            pull: PullPolicy::default(),
        }
    }

    /// The image of a unit: its own, the one configured for its runtime, or the runtime's.
    pub(super) fn image<'a>(&'a self, spec: &'a UnitSpec) -> Result<&'a str, ExecutorError> {
        let configured = self.images.get(&spec.runtime).map(String::as_str);
        let image = spec.image.as_deref().or(configured).unwrap_or_else(|| spec.runtime.default_image());
        if is_image_name(image) {
            Ok(image)
        } else {
            Err(ExecutorError::Refused {
                reason: format!("image {image:?} is not a name; use [host/]name[:tag][@digest]"),
            })
        }
    }
}

/// The name becomes part of a URL, so nothing that could lead elsewhere in it is let through.
fn is_image_name(image: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':' | '@');
    image.starts_with(|c: char| c.is_ascii_alphanumeric())
        && image.len() <= 512
        && image.chars().all(plain)
        && !image.contains("..")
        && !image.contains("//")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_names_that_lead_elsewhere_are_refused() {
        for good in [
            "python:3.11-slim",
            "localhost:5000/a/b:c",
            "a@sha256:0f",
            "mcr.microsoft.com/dotnet/runtime:8.0",
        ] {
            assert!(is_image_name(good), "{good}");
        }
        for bad in ["", "../containers", "a/../b", "a b", "a?x=1", "-a", "/a", "a//b", "a%2e", "a\nb"] {
            assert!(!is_image_name(bad), "{bad}");
        }
    }
}
