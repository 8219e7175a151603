//! What was chosen, in a few lines, before the log begins.

use std::net::TcpListener;

use the0_bot_runner::grpc::ServiceInfo;
use the0_core::executor::Description;

use super::data_dir::DataDir;
use crate::output::{self, Paint, Style, table};

/// Prints it. That nobody reads it is no reason not to run.
pub(crate) fn print(
    info: &ServiceInfo,
    data: &DataDir,
    listener: &TcpListener,
    executor: &Description,
    why: &str,
) {
    let address = listener.local_addr().map(|address| format!("http://{address}")).unwrap_or_default();
    let style = Style::detect();
    let rows = vec![
        ("data", data.path().display().to_string().into()),
        ("store", info.store.as_str().into()),
        ("objects", info.objects.as_str().into()),
        ("executor", format!("{} {} ({why})", executor.kind, executor.version).into()),
        ("generation", info.generation.to_string().into()),
        ("api", address.into()),
    ];
    let _ = output::line(format!("runtime {} runs", info.version));
    let _ = output::line(table::pairs(style, rows));
    for weak in executor.protections.iter().filter(|protection| !protection.active) {
        let text = format!("not in force here: {}: {}", weak.name, weak.detail);
        let _ = output::line(style.paint(Paint::Bad, &text));
    }
}
