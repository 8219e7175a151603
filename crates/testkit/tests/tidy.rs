//! Holds the source to the rules of `ARCHITECTURE.md`, as a test: a rule nobody checks is a wish.

#![expect(clippy::unwrap_used, reason = "a source that cannot be read fails the test")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use walkdir::WalkDir;

const LINES_MAX: usize = 400;
const MAIN_LINES_MAX: usize = 60;

/// Which of our crates each crate may depend on. Arrows only point down.
fn arrows() -> BTreeMap<&'static str, Vec<&'static str>> {
    let services = vec!["the0-model", "the0-core", "the0-proto", "the0-backends", "the0-artifacts"];
    BTreeMap::from([
        ("the0-model", vec![]),
        ("the0-proto", vec![]),
        ("the0-core", vec!["the0-model", "the0-proto"]),
        ("the0-artifacts", vec!["the0-model"]),
        ("the0-executor", vec!["the0-model", "the0-core", "the0-artifacts"]),
        ("the0-backends", vec!["the0-model", "the0-core"]),
        ("the0-agent", vec!["the0-model", "the0-artifacts"]),
        ("the0-bot-runner", services),
        ("the0-testkit", vec![]),
        (
            "the0-runtime",
            vec![
                "the0-model",
                "the0-proto",
                "the0-core",
                "the0-artifacts",
                "the0-executor",
                "the0-backends",
                "the0-agent",
                "the0-bot-runner",
            ],
        ),
    ])
}

/// Drivers that a crate must not even know of.
const FORBIDDEN: [(&str, &[&str]); 4] = [
    ("the0-model", &["tokio", "async-trait", "futures", "tonic", "bollard", "rusqlite", "object_store"]),
    ("the0-core", &["bollard", "rusqlite", "mongodb", "async-nats", "kube", "object_store"]),
    ("the0-agent", &["tokio", "tonic", "bollard", "rusqlite", "the0-core"]),
    ("the0-bot-runner", &["bollard", "kube", "the0-executor"]),
];

#[test]
fn pure_files_keep_their_word() {
    let banned = [
        "async fn",
        "async move",
        ".await",
        "tokio",
        "::now()",
        "std::fs",
        "std::net",
        "std::env",
        "rand::",
        "HashMap",
    ];
    let mut seen = 0;
    let mut faults = vec![];
    for source in sources() {
        if !source.text.starts_with("//! Pure:") {
            continue;
        }
        seen += 1;
        for (number, line) in source.code_lines() {
            for word in
                banned.iter().filter(|word| line.contains(**word) && !line.contains("std::env::consts"))
            {
                faults.push(format!("{}:{number}: `{word}` in a pure file", source.name));
            }
        }
    }
    assert!(seen >= 10, "only {seen} pure files found: is this test looking in the right place?");
    report(&faults);
}

#[test]
fn files_can_be_read_in_one_sitting() {
    let mut faults = vec![];
    for source in sources() {
        let most = if source.name == "cmd/runtime/src/main.rs" { MAIN_LINES_MAX } else { LINES_MAX };
        let lines = source.text.lines().count();
        if lines > most {
            faults.push(format!("{}: {lines} lines, at most {most}", source.name));
        }
    }
    report(&faults);
}

#[test]
fn crates_depend_downwards_only_and_opt_into_the_lints() {
    let arrows = arrows();
    let mut faults = vec![];
    for manifest in manifests() {
        let text = fs::read_to_string(&manifest).unwrap();
        let parsed: toml::Table = text.parse().unwrap();
        let name = parsed["package"]["name"].as_str().unwrap();
        let dependencies: Vec<&str> = parsed
            .get("dependencies")
            .and_then(toml::Value::as_table)
            .map(|table| table.keys().map(String::as_str).collect())
            .unwrap_or_default();
        let Some(allowed) = arrows.get(name) else {
            faults.push(format!("{name} is not in the table of arrows"));
            continue;
        };
        for ours in dependencies.iter().filter(|name| name.starts_with("the0-")) {
            if !allowed.contains(ours) {
                faults.push(format!("{name} must not depend on {ours}"));
            }
        }
        for (_, drivers) in FORBIDDEN.iter().filter(|(of, _)| *of == name) {
            for driver in drivers.iter().filter(|driver| dependencies.contains(*driver)) {
                faults.push(format!("{name} must not know {driver}"));
            }
        }
        let lints =
            parsed.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool);
        if lints != Some(true) {
            faults.push(format!("{name} does not opt into the workspace's lints"));
        }
    }
    report(&faults);
}

#[test]
fn generated_types_stay_in_the_grpc_modules() {
    let mut faults = vec![];
    for source in sources() {
        let allowed = source.name.contains("/grpc")
            || source.name.starts_with("crates/proto/")
            || source.name.starts_with("cmd/");
        if !allowed && source.text.contains(concat!("the0_", "proto::")) {
            faults.push(format!("{} touches generated types", source.name));
        }
    }
    report(&faults);
}

#[test]
fn nothing_is_left_half_done_and_nothing_reads_the_environment_behind_our_back() {
    // Spelled in two halves so that this file does not find itself.
    let everywhere = [
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("FIX", "ME"),
        concat!("TO", "DO"),
        concat!("#[ig", "nore"),
        concat!("/wo", "rk/"),
    ];
    let mut faults = vec![];
    for source in sources() {
        for (number, line) in source.lines() {
            for word in everywhere.iter().filter(|word| line.contains(**word)) {
                faults.push(format!("{}:{number}: `{word}`", source.name));
            }
        }
        let exempt = source.name.starts_with("cmd/")
            || source.name.contains("/tests/")
            || source.name.contains("/benches/");
        if exempt || source.name.contains("build.rs") || source.name.contains("/examples/") {
            continue;
        }
        for (number, line) in source.code_lines() {
            // The agent passes a fixed list of its own environment on; it reads no setting there.
            if line.contains("env::var") && !line.contains("env::vars_os()") {
                faults.push(format!("{}:{number}: configuration is parsed once, in cmd", source.name));
            }
        }
    }
    report(&faults);
}

/// A source file of ours.
struct Source {
    name: String,
    text: String,
}

impl Source {
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// The lines before the tests, comments left out.
    fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines()
            .take_while(|(_, line)| !line.starts_with("#[cfg(test)]") && !line.starts_with("#[cfg(any(test"))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

fn sources() -> Vec<Source> {
    let root = root();
    let mut found: Vec<Source> = ["crates", "cmd"]
        .iter()
        .flat_map(|folder| WalkDir::new(root.join(folder)).sort_by_file_name())
        .filter_map(Result::ok)
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "rs"))
        .map(|entry| Source {
            name: entry.path().strip_prefix(&root).unwrap().display().to_string(),
            text: fs::read_to_string(entry.path()).unwrap(),
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(found.len() > 40, "only {} sources found", found.len());
    found
}

fn manifests() -> Vec<PathBuf> {
    let root = root();
    let mut found: Vec<PathBuf> = ["crates", "cmd"]
        .iter()
        .flat_map(|folder| fs::read_dir(root.join(folder)).unwrap())
        .map(|entry| entry.unwrap().path().join("Cargo.toml"))
        .filter(|path| path.exists())
        .collect();
    found.sort();
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn report(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
