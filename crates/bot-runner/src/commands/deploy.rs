//! Pure: from what an operator asks for to the bot that is to be stored.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use the0_model::{
    Bot, BotId, BotRevision, Limits, Network, Runtime, Secret, SegmentId,
    bot::{BotError, CustomBot, RuntimeFields},
};

use crate::{FieldFault, fields};

/// A request to create a bot or to change an existing one, as it came. Fields are named as in `DeployHeader`.
///
/// Absent means: keep what is stored, or the default for a new bot.
#[derive(Debug, Clone, Default)]
pub struct DeployBot {
    /// Its id.
    pub bot_id: String,
    /// Name of the program.
    pub name: Option<String>,
    /// Version of the program.
    pub version: Option<String>,
    /// Runtime by name; required for a new bot.
    pub runtime: Option<String>,
    /// File to run.
    pub entrypoint: Option<String>,
    /// Kind of the program, in the platform's words: `realtime/sma`.
    pub kind: Option<String>,
    /// Configuration as JSON text.
    pub config_json: Option<Secret<String>>,
    /// All limits, defaults filled in.
    pub limits: Option<Limits>,
    /// More environment.
    pub environment: Option<BTreeMap<String, Secret<String>>>,
    /// `outside` or `none`.
    pub network: Option<String>,
    /// Image in place of the runtime's own.
    pub image: Option<String>,
    /// Time between SIGTERM and SIGKILL, in milliseconds.
    pub stop_grace_ms: Option<u64>,
    /// An existing bot is an error.
    pub create_only: bool,
    /// Do not start it yet.
    pub disabled: bool,
}

/// A request that was found sound. Made by [`DeployBot::check`], before any bundle is uploaded.
#[derive(Debug, Clone)]
pub struct CheckedDeploy {
    /// Its id.
    pub bot_id: BotId,
    name: Option<String>,
    version: Option<String>,
    /// Runtime, if given.
    pub runtime: Option<Runtime>,
    /// File to run, if given.
    pub entrypoint: Option<String>,
    kind: Option<String>,
    config: Option<Secret<Map<String, Value>>>,
    limits: Option<Limits>,
    environment: Option<BTreeMap<String, Secret<String>>>,
    network: Option<Network>,
    image: Option<String>,
    stop_grace_ms: Option<u64>,
    /// An existing bot is an error.
    pub create_only: bool,
    disabled: bool,
}

/// Where the code was put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodePlace {
    /// Key in the code bucket, or a whole URL.
    pub location: String,
    /// BLAKE3 of the bundle in hex, where it is known.
    pub digest: Option<String>,
}

impl DeployBot {
    /// Checks every field and reports all faults together.
    pub fn check(self) -> Result<CheckedDeploy, Vec<FieldFault>> {
        let mut faults = Faults::default();
        let bot_id = faults.note(fields::bot_id("bot_id", &self.bot_id));
        let runtime = self.runtime.as_deref().and_then(|text| faults.note(fields::runtime("runtime", text)));
        let network = self.network.as_deref().and_then(|text| faults.note(fields::network("network", text)));
        let config = self
            .config_json
            .as_ref()
            .and_then(|text| faults.note(fields::config("config_json", text.expose())))
            .map(Secret::new);
        for (field, text, most) in
            [("name", &self.name, 200), ("version", &self.version, 100), ("type", &self.kind, 200)]
        {
            faults.each(text.as_deref(), |text| fields::label(field, text, most));
        }
        faults.each(self.entrypoint.as_deref(), |text| fields::entrypoint("entrypoint", text));
        faults.each(self.image.as_deref(), |text| fields::image("image", text));
        faults.each(self.stop_grace_ms, |ms| fields::stop_grace_ms("stop_grace_ms", ms));
        faults.many(self.limits.as_ref().map(|given| fields::limits("limits", given)));
        faults.many(self.environment.as_ref().map(|given| fields::env("environment", given)));
        match bot_id {
            Some(bot_id) if faults.0.is_empty() => Ok(CheckedDeploy {
                bot_id,
                name: self.name,
                version: self.version,
                runtime,
                entrypoint: self.entrypoint,
                kind: self.kind,
                config,
                limits: self.limits,
                environment: self.environment,
                network,
                image: self.image,
                stop_grace_ms: self.stop_grace_ms,
                create_only: self.create_only,
                disabled: self.disabled,
            }),
            Some(_) | None => Err(faults.0),
        }
    }
}

impl CheckedDeploy {
    /// The bot to store: the existing one with what was asked for, or a new one.
    pub fn onto(&self, existing: Option<&Bot>, code: Option<&CodePlace>) -> Result<Bot, Vec<FieldFault>> {
        let mut bot = existing.cloned().unwrap_or_else(|| blank(self.bot_id.clone()));
        let custom = &mut bot.custom;
        set(&mut custom.config.name, self.name.as_ref());
        set(&mut custom.version, self.version.as_ref());
        if let Some(runtime) = self.runtime {
            runtime.as_str().clone_into(&mut custom.config.runtime);
        }
        if let Some(entrypoint) = &self.entrypoint {
            custom.config.entrypoints.insert("bot".to_owned(), entrypoint.clone());
        }
        if let Some(kind) = &self.kind {
            custom.config.rest.insert("type".to_owned(), Value::String(kind.clone()));
        }
        if let Some(code) = code {
            custom.file_path.clone_from(&code.location);
            bot.runtime.code_digest.clone_from(&code.digest);
        }
        set(&mut bot.config, self.config.as_ref());
        set(&mut bot.runtime.env, self.environment.as_ref());
        set_option(&mut bot.runtime.limits, self.limits.as_ref());
        set_option(&mut bot.runtime.network, self.network.as_ref());
        set_option(&mut bot.runtime.image, self.image.as_ref());
        set_option(&mut bot.runtime.stop_grace_ms, self.stop_grace_ms.as_ref());
        if self.disabled {
            bot.enabled = Some(false);
        }
        let faults = unrunnable(&bot);
        if faults.is_empty() { Ok(bot) } else { Err(faults) }
    }
}

/// What keeps a bot from ever becoming a unit. Refused at once, while someone is there to read it.
fn unrunnable(bot: &Bot) -> Vec<FieldFault> {
    let mut faults = Vec::new();
    if bot.custom.file_path.is_empty() {
        faults.push(FieldFault::new("code_location", "is missing; a new bot needs code"));
    }
    match bot.unit_spec() {
        Ok(_) => {}
        Err(BotError::Runtime(_)) if bot.custom.config.runtime.is_empty() => {
            let names = Runtime::ALL.map(Runtime::as_str).join(", ");
            faults
                .push(FieldFault::new("runtime", format_args!("is missing; a new bot needs one of {names}")));
        }
        Err(error @ BotError::Runtime(_)) => faults.push(FieldFault::new("runtime", error)),
        Err(error @ BotError::NoEntrypoint { .. }) => faults.push(FieldFault::new("entrypoint", error)),
    }
    faults
}

fn blank(id: BotId) -> Bot {
    Bot {
        id,
        segment_id: SegmentId(0),
        config: Secret::default(),
        custom: CustomBot::default(),
        enabled: None,
        runtime: RuntimeFields::default(),
        revision: BotRevision(0),
    }
}

fn set<T: Clone>(place: &mut T, value: Option<&T>) {
    if let Some(value) = value {
        place.clone_from(value);
    }
}

fn set_option<T: Clone>(place: &mut Option<T>, value: Option<&T>) {
    if let Some(value) = value {
        *place = Some(value.clone());
    }
}

/// Gathers faults, so that all are reported together.
#[derive(Default)]
struct Faults(Vec<FieldFault>);

impl Faults {
    fn note<T>(&mut self, checked: Result<T, FieldFault>) -> Option<T> {
        checked.map_err(|fault| self.0.push(fault)).ok()
    }

    fn each<T>(&mut self, value: Option<T>, check: impl FnOnce(T) -> Result<(), FieldFault>) {
        if let Some(value) = value {
            self.note(check(value));
        }
    }

    fn many(&mut self, checked: Option<Result<(), Vec<FieldFault>>>) {
        if let Some(Err(faults)) = checked {
            self.0.extend(faults);
        }
    }
}

#[cfg(test)]
mod tests;
