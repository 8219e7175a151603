//! `runtime bots deploy`.

use std::{collections::HashMap, path::Path};

use serde_json::{Map, Value};
use the0_proto::bot::v1::{DeployHeader, ResourceLimits};

use super::{
    Client, answer,
    bundle::{self, Bundle},
    config, json,
    manifest::{self, Manifest, ManifestLimits},
    wait,
};
use crate::{cli::DeployArgs, exit::Exit, exit::Failure, output, settings::quantity};

const MIB: u64 = 1 << 20;

/// A bundle on disk and what is to be said of it.
#[derive(Debug)]
pub(super) struct Prepared {
    header: DeployHeader,
    bundle: Bundle,
}

/// Reads the manifest and packs the directory. Needs no service.
pub(super) fn prepare(args: &DeployArgs) -> Result<Prepared, Failure> {
    let source = &args.source;
    let found = std::fs::metadata(source)
        .map_err(|error| Failure::usage(format!("{} cannot be read: {error}", source.display())))?;
    quantity::duration(&args.wait.timeout).map_err(Failure::usage)?;
    let manifest = if found.is_dir() { read_manifest(source)? } else { Manifest::default() };
    let mut header = header(args, &manifest)?;
    if header.bot_id.is_empty() {
        return Err(Failure::usage("--id is needed: an archive's own bot.yaml is not read"));
    }
    let bundle = bundle::pack(source)?;
    header.bundle_bytes = bundle.bytes;
    header.bundle_digest.clone_from(&bundle.digest);
    Ok(Prepared { header, bundle })
}

/// Uploads it.
pub(super) async fn run(mut client: Client, args: &DeployArgs, prepared: Prepared) -> Result<Exit, Failure> {
    let timeout = quantity::duration(&args.wait.timeout).map_err(Failure::usage)?;
    let Prepared { header, bundle } = prepared;
    let before = if args.wait.wait {
        wait::position(&mut client, &header.bot_id).await?
    } else {
        wait::Position::default()
    };
    let progress = bundle::progress(&bundle, client.json);
    let deployed = answer(client.rpc.deploy_bot(bundle::parts(header, bundle, progress.clone())).await);
    progress.finish_and_clear();
    let deployed = deployed?;
    let bot = deployed.bot.unwrap_or_default();
    if args.wait.wait && bot.enabled {
        // Unchanged, it need not start again.
        let beyond = if deployed.changed { before.attempt } else { before.if_running() };
        return wait::until_running(client, &bot.id, beyond, timeout).await;
    }
    if client.json {
        let (created, changed) = (deployed.created, deployed.changed);
        output::json(&serde_json::json!({"bot": json::bot(&bot), "created": created, "changed": changed}))?;
        return Ok(Exit::Ok);
    }
    let what = match (deployed.created, deployed.changed) {
        (true, _) => "is deployed",
        (false, true) => "is updated",
        (false, false) => "is unchanged: the same code and settings were there already",
    };
    let next = if bot.enabled {
        format!("see `runtime bots logs -f {}`", bot.id)
    } else {
        format!("it is switched off, start it with `runtime bots start {}`", bot.id)
    };
    output::line(format!("{} {what}; {next}", bot.id))?;
    Ok(Exit::Ok)
}

fn read_manifest(dir: &Path) -> Result<Manifest, Failure> {
    let path = dir.join(manifest::FILE);
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Failure::usage(format!("{} cannot be read: {error}", path.display()))
            .and("write one with `runtime init`, or give a ZIP or TAR.GZ bundle")
    })?;
    manifest::parse(&text).map_err(|error| Failure::usage(format!("{}/{error}", dir.display())))
}

fn header(args: &DeployArgs, manifest: &Manifest) -> Result<DeployHeader, Failure> {
    let or = |flag: &Option<String>, text: &str| flag.clone().unwrap_or_else(|| text.to_owned());
    let mut environment: HashMap<String, String> =
        manifest.env.iter().map(|(name, value)| (name.clone(), value.expose().clone())).collect();
    for pair in &args.env {
        let (name, value) =
            pair.split_once('=').ok_or_else(|| Failure::usage(format!("--env {pair:?} is not KEY=VALUE")))?;
        environment.insert(name.to_owned(), value.to_owned());
    }
    Ok(DeployHeader {
        bot_id: or(&args.id, &manifest.name),
        name: manifest.name.clone(),
        version: or(&args.version, &manifest.version),
        runtime: or(&args.runtime, &manifest.runtime),
        entrypoint: or(&args.entrypoint, &manifest.entrypoints.bot),
        config_json: config_json(args, manifest)?,
        limits: Some(limits(args, manifest.limits)?),
        environment,
        network: manifest.network.clone(),
        image: or(&args.image, &manifest.image),
        stop_grace_ms: manifest.stop_grace_ms,
        bundle_bytes: 0,
        bundle_digest: String::new(),
        create_only: args.create_only,
        disabled: args.disabled,
        r#type: manifest.kind.clone(),
    })
}

/// `--config` replaces the manifest's, `--set` changes single keys of either.
fn config_json(args: &DeployArgs, manifest: &Manifest) -> Result<String, Failure> {
    let given = args.config.as_deref().map(config::document_of).transpose()?;
    if args.set.is_empty() {
        let own =
            || manifest.config.as_ref().map(|config| Value::Object(config.expose().clone()).to_string());
        return Ok(given.or_else(own).unwrap_or_default());
    }
    let mut map = match given {
        Some(text) => serde_json::from_str::<Map<String, Value>>(&text)
            .map_err(|error| Failure::usage(format!("--config is no JSON object: {error}")))?,
        None => manifest.config.as_ref().map(|config| config.expose().clone()).unwrap_or_default(),
    };
    map.extend(config::from_pairs(&args.set)?);
    Ok(Value::Object(map).to_string())
}

fn limits(args: &DeployArgs, manifest: ManifestLimits) -> Result<ResourceLimits, Failure> {
    let memory = args.memory.as_deref().map(quantity::bytes).transpose();
    let cpu = args.cpu.as_deref().map(quantity::cpu_millis).transpose();
    Ok(ResourceLimits {
        memory_bytes: memory
            .map_err(|reason| Failure::usage(format!("--memory {reason}")))?
            .unwrap_or(manifest.memory_mb.saturating_mul(MIB)),
        cpu_millis: cpu
            .map_err(|reason| Failure::usage(format!("--cpu {reason}")))?
            .unwrap_or(manifest.cpu_millis),
        pids: manifest.pids,
        tmp_bytes: manifest.tmp_mb.saturating_mul(MIB),
        log_bytes: manifest.log_mb.saturating_mul(MIB),
        file_bytes: manifest.file_mb.saturating_mul(MIB),
        open_files: manifest.open_files,
    })
}
