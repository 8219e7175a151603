//! What goes to standard output: tables for people, JSON for machines, colours only where they are seen.

mod style;
pub(crate) mod table;
pub(crate) mod times;
pub(crate) mod version;

use std::io::{self, Write};

use serde_json::Value;
pub(crate) use style::{Paint, Style};

use crate::exit::{Exit, Failure};

/// Writes text and a newline.
pub(crate) fn line(text: impl AsRef<str>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_ref().as_bytes())?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// Writes a value as JSON, indented.
pub(crate) fn json(value: &Value) -> Result<(), Failure> {
    line(format!("{value:#}"))
}

/// Writes a value as JSON on one line, for streams.
pub(crate) fn json_line(value: &Value) -> Result<(), Failure> {
    line(value.to_string())
}

/// Writes bytes as they are.
pub(crate) fn bytes(bytes: &[u8]) -> Result<Exit, Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()?;
    Ok(Exit::Ok)
}
