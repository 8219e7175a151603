//! The log: on standard error, for people or for machines.

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, fmt};

use crate::settings::{LogFormat, Settings};

/// Starts logging. Called once.
pub(super) fn start(settings: &Settings) {
    let filter = EnvFilter::try_new(&settings.log_level).unwrap_or_else(|_| EnvFilter::new("info"));
    let plain = crate::settings::environment().get("NO_COLOR").is_some_and(|text| !text.is_empty());
    // Its own errors go nowhere: with standard error closed, telling of them would end the service.
    let builder = fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal() && !plain)
        .log_internal_errors(false);
    // Set once per process, by the process itself: a second time cannot happen.
    let _ = match settings.log_format {
        LogFormat::Text => builder.compact().try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
