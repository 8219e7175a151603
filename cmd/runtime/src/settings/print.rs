//! Pure: the resulting configuration, for people and for machines, with secrets masked.

use std::{fmt::Write, time::Duration};

use serde_json::{Value, json};

use super::resolve::{ExecutorChoice, LogFormat, OnStop, Settings};

/// As the file would say it, with the source of each value beside it.
pub(crate) fn as_yaml(settings: &Settings) -> String {
    let mut out = String::new();
    for (key, value) in pairs(settings) {
        let source = settings.sources.get(key).map_or_else(|| "default".to_owned(), ToString::to_string);
        let Some(map) = value.as_object().filter(|map| !map.is_empty()) else {
            let _ = writeln!(out, "{key}: {value}  # {source}");
            continue;
        };
        let _ = writeln!(out, "{key}:  # {source}");
        for (name, value) in map {
            let _ = writeln!(out, "  {name}: {value}");
        }
    }
    out
}

/// As one object.
pub(crate) fn as_json(settings: &Settings) -> Value {
    Value::Object(pairs(settings).into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn interval(interval: Option<Duration>) -> Value {
    interval.map_or(json!("off"), |interval| json!(format!("{}ms", interval.as_millis())))
}

fn pairs(settings: &Settings) -> Vec<(&'static str, Value)> {
    let images: serde_json::Map<String, Value> =
        settings.images.iter().map(|(runtime, image)| (runtime.to_string(), json!(image))).collect();
    vec![
        ("data_dir", json!(settings.data_dir)),
        ("listen", json!(settings.listen)),
        (
            "executor",
            json!(match settings.executor {
                ExecutorChoice::Auto => "auto",
                ExecutorChoice::Docker => "docker",
                ExecutorChoice::Sandbox => "sandbox",
            }),
        ),
        ("docker_host", settings.docker_host.as_deref().map_or(Value::Null, |url| json!(mask_url(url)))),
        ("images", Value::Object(images)),
        ("reconcile_interval", interval(settings.reconcile_interval)),
        (
            "log_format",
            json!(match settings.log_format {
                LogFormat::Text => "text",
                LogFormat::Json => "json",
            }),
        ),
        ("log_level", json!(settings.log_level)),
        (
            "on_stop",
            json!(match settings.on_stop {
                OnStop::Keep => "keep",
                OnStop::Stop => "stop",
            }),
        ),
        ("min_free_bytes", json!(settings.min_free_bytes)),
    ]
}

/// Hides user and password of a URL.
pub(crate) fn mask_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://***@{host}{path}"),
        None => url.to_owned(),
    }
}
