//! The configuration file: a flat YAML map.

use std::{collections::BTreeMap, path::Path};

use serde_json::Value;
use serde_saphyr::Spanned;

use super::resolve::{Fault, Given, Source};

/// Largest file read, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Reads the file. Faults of single keys are found later, by whoever knows the keys.
pub(crate) fn read(path: &Path, faults: &mut Vec<Fault>) -> Vec<Given> {
    let whole = |reason: String| Fault { key: String::new(), source: at(path, 0), reason };
    let text = match std::fs::metadata(path) {
        Ok(found) if found.len() > FILE_BYTES_MAX => {
            Err(format!("it has {} bytes, at most {FILE_BYTES_MAX}", found.len()))
        }
        Ok(_) => std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}")),
        Err(error) => Err(format!("cannot be read: {error}")),
    };
    match text.and_then(|text| parse(path, &text, faults)) {
        Ok(given) => given,
        Err(reason) => {
            faults.push(whole(reason));
            vec![]
        }
    }
}

fn parse(path: &Path, text: &str, faults: &mut Vec<Fault>) -> Result<Vec<Given>, String> {
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(vec![]);
    }
    let map: BTreeMap<String, Spanned<Value>> =
        serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    let mut given = vec![];
    for (key, value) in map {
        let source = at(path, value.referenced.line());
        match value.value {
            Value::Object(images) if key == "images" => {
                for (runtime, image) in images {
                    if let Value::String(image) = image {
                        given.push(Given::new(&key, &format!("{runtime}={image}"), source.clone()));
                    } else {
                        let reason = format!("the image of {runtime} must be a text");
                        faults.push(Fault { key: key.clone(), source: source.clone(), reason });
                    }
                }
            }
            Value::Null if crate::cli::OPTIONS.contains(&key.as_str()) => {}
            Value::String(text) => given.push(Given::new(&key, &text, source)),
            Value::Number(number) => given.push(Given::new(&key, &number.to_string(), source)),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                let known = crate::cli::OPTIONS.contains(&key.as_str());
                let reason = if known { "a text is expected here" } else { "there is no such setting" };
                faults.push(Fault { key, source, reason: reason.to_owned() });
            }
        }
    }
    Ok(given)
}

fn at(path: &Path, line: u64) -> Source {
    Source::File { path: path.to_owned(), line }
}
