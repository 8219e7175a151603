//! `runtime version`.

use serde_json::json;

use super::{json, line};
use crate::exit::{Exit, Failure};

/// Shows the version.
pub(crate) fn show(as_json: bool) -> Result<Exit, Failure> {
    let version = env!("CARGO_PKG_VERSION");
    if as_json {
        json(&json!({"version": version, "os": std::env::consts::OS, "arch": std::env::consts::ARCH}))?;
    } else {
        line(format!("runtime {version} ({}-{})", std::env::consts::OS, std::env::consts::ARCH))?;
    }
    Ok(Exit::Ok)
}
