//! What `runtime dev` is told: flags over environment over file, checked together.

mod file;
mod print;
pub(crate) mod quantity;
mod resolve;

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf};

pub(crate) use print::{as_json, as_yaml};
pub(crate) use resolve::{ExecutorChoice, LogFormat, OnStop, Settings};
use resolve::{Fault, Given, Source};

use crate::{
    cli::{DevArgs, OPTIONS},
    exit::{Exit, Failure},
};

/// Reads all three sources and reports every fault of every one of them.
pub(crate) fn load(args: &DevArgs, environment: &BTreeMap<String, OsString>) -> Result<Settings, Failure> {
    let mut faults = vec![];
    let config = args.config.clone().or_else(|| environment.get("THE0_CONFIG").map(PathBuf::from));
    let mut given = match config {
        Some(path) => file::read(&path, &mut faults),
        None => vec![],
    };
    given.extend(from_environment(environment, &mut faults));
    given.extend(from_flags(args));
    let home = environment.get("HOME").map(PathBuf::from).unwrap_or_default();
    let settings = resolve::resolve(given, &home, &mut faults);
    if faults.is_empty() { Ok(settings) } else { Err(refuse(&faults)) }
}

/// The process's environment. The only place that reads it.
pub(crate) fn environment() -> BTreeMap<String, OsString> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect()
}

fn from_environment(environment: &BTreeMap<String, OsString>, faults: &mut Vec<Fault>) -> Vec<Given> {
    let mut given = vec![];
    for key in OPTIONS {
        let ours = format!("THE0_{}", key.to_uppercase());
        let names = if key == "docker_host" { vec![ours, "DOCKER_HOST".to_owned()] } else { vec![ours] };
        let Some(name) =
            names.into_iter().find(|name| environment.get(name).is_some_and(|text| !text.is_empty()))
        else {
            continue;
        };
        let source = Source::Environment(name.clone());
        match environment[&name].to_str() {
            Some(text) if key == "images" => {
                given.extend(text.split(',').map(|one| Given::new(key, one.trim(), source.clone())));
            }
            Some(text) => given.push(Given::new(key, text, source)),
            None => faults.push(Fault { key: key.to_owned(), source, reason: "it is not UTF-8".to_owned() }),
        }
    }
    given
}

fn from_flags(args: &DevArgs) -> Vec<Given> {
    let single = [
        ("data_dir", "--data-dir", &args.data_dir),
        ("listen", "--listen", &args.listen),
        ("executor", "--executor", &args.executor),
        ("docker_host", "--docker-host", &args.docker_host),
        ("reconcile_interval", "--reconcile-interval", &args.reconcile_interval),
        ("log_format", "--log-format", &args.log_format),
        ("log_level", "--log-level", &args.log_level),
        ("on_stop", "--on-stop", &args.on_stop),
        ("min_free_bytes", "--min-free-bytes", &args.min_free_bytes),
    ];
    let single = single
        .into_iter()
        .filter_map(|(key, flag, value)| Some(Given::new(key, value.as_ref()?, Source::Flag(flag))));
    let images =
        args.images.iter().map(|image| Given::new("images", image.as_str(), Source::Flag("--image")));
    single.chain(images).collect()
}

fn refuse(faults: &[Fault]) -> Failure {
    let count = if faults.len() == 1 { "1 fault".to_owned() } else { format!("{} faults", faults.len()) };
    let first = Failure::new(Exit::Usage, format!("the configuration has {count}"));
    faults.iter().fold(first, Failure::and)
}

#[cfg(test)]
mod tests;
