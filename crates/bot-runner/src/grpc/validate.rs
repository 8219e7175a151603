//! Pure: from requests to values that are known to be sound, with all faults of a request found at once.

use std::time::Duration;

use the0_core::executor::{AttemptRef, LogQuery};
use the0_model::{BotId, BotRevision, Secret};
use the0_proto::bot::v1 as pb;

use super::{convert::limits_from, deploy::BUNDLE_BYTES_MAX};
use crate::{
    DeployBot, FieldFault,
    commands::{CheckedDeploy, CodePlace, ConfigChange, PAGE_MAX},
    fields,
};

/// Bots on a page when the request does not say.
const PAGE_DEFAULT: u32 = 100;
/// Most variables of environment in a request.
pub(super) const ENV_ENTRIES_MAX: usize = 64;
/// Longest execution id, in bytes.
const EXECUTION_ID_MAX: usize = 128;
/// Longest wait for a stop, in milliseconds.
const WAIT_MS_MAX: u64 = 3_600_000;
/// Most lines of a tail.
const TAIL_MAX: u32 = 1_000_000;

type Faults = Vec<FieldFault>;

pub(super) fn bot_id(text: &str) -> Result<BotId, Faults> {
    fields::bot_id("bot_id", text).map_err(|fault| vec![fault])
}

/// An announced upload.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) deploy: CheckedDeploy,
    pub(super) bytes: u64,
    /// Absent: not checked. Not every client has BLAKE3 at hand.
    pub(super) digest: Option<String>,
}

pub(super) fn deploy(header: pb::DeployHeader) -> Result<Upload, Faults> {
    let mut faults = vec![];
    let (bytes, digest) = (header.bundle_bytes, given(header.bundle_digest));
    if bytes == 0 {
        faults.push(FieldFault::new("bundle_bytes", "is missing; say how many bytes will follow"));
    }
    if let Some(digest) = &digest {
        note(&mut faults, fields::digest("bundle_digest", digest));
    }
    too_many_variables(&mut faults, header.environment.len());
    let deploy = DeployBot {
        bot_id: header.bot_id,
        name: given(header.name),
        version: given(header.version),
        runtime: given(header.runtime),
        entrypoint: given(header.entrypoint),
        kind: given(header.r#type),
        config_json: given(header.config_json).map(Secret::new),
        limits: header.limits.as_ref().map(limits_from),
        environment: Some(secrets(header.environment)),
        network: given(header.network),
        image: given(header.image),
        stop_grace_ms: Some(header.stop_grace_ms).filter(|ms| *ms != 0),
        create_only: header.create_only,
        disabled: header.disabled,
    };
    match deploy.check() {
        Ok(deploy) if faults.is_empty() => Ok(Upload { deploy, bytes, digest }),
        Ok(_) => Err(faults),
        Err(more) => Err(more.into_iter().chain(faults).collect()),
    }
}

/// Whether a bundle is larger than any that is accepted; not a fault of form, so it has its own code.
pub(super) const fn too_large(bytes: u64) -> bool {
    bytes > BUNDLE_BYTES_MAX
}

/// An execution: what to deploy, if anything is to be changed, and where its code is.
#[derive(Debug)]
pub(super) struct Execution {
    pub(super) bot: BotId,
    /// What the client calls it.
    pub(super) name: String,
    pub(super) deploy: Option<(CheckedDeploy, Option<CodePlace>)>,
}

pub(super) fn execute(request: pb::ExecuteBotRequest) -> Result<Execution, Faults> {
    let mut faults = vec![];
    note(&mut faults, fields::label("execution_id", &request.execution_id, EXECUTION_ID_MAX));
    note(&mut faults, fields::label("code_location", &request.code_location, 1024));
    too_many_variables(&mut faults, request.environment.len());
    let changes = !request.bot_config.is_empty()
        || !request.environment.is_empty()
        || request.resource_limits.is_some()
        || [&request.code_location, &request.runtime, &request.entrypoint, &request.version]
            .iter()
            .any(|text| !text.is_empty());
    let code = given(request.code_location).map(|location| CodePlace { location, digest: None });
    let deploy = DeployBot {
        bot_id: request.bot_id,
        version: given(request.version),
        runtime: given(request.runtime),
        entrypoint: given(request.entrypoint),
        config_json: given(request.bot_config).map(Secret::new),
        limits: request.resource_limits.as_ref().map(limits_from),
        environment: Some(secrets(request.environment)).filter(|map| !map.is_empty()),
        ..DeployBot::default()
    };
    match deploy.check() {
        Ok(deploy) if faults.is_empty() => Ok(Execution {
            bot: deploy.bot_id.clone(),
            name: request.execution_id,
            deploy: changes.then_some((deploy, code)),
        }),
        Ok(_) => Err(faults),
        Err(more) => Err(more.into_iter().map(as_in_execute).chain(faults).collect()),
    }
}

pub(super) fn stop(request: &pb::StopBotRequest) -> Result<(BotId, Option<Duration>), Faults> {
    let mut faults = vec![];
    let bot = note(&mut faults, fields::bot_id("bot_id", &request.bot_id));
    if request.wait_ms > WAIT_MS_MAX {
        faults.push(FieldFault::new(
            "wait_ms",
            format_args!("is {}; at most {WAIT_MS_MAX} is allowed", request.wait_ms),
        ));
    }
    let wait = Some(request.wait_ms).filter(|ms| *ms != 0).map(Duration::from_millis);
    bot.filter(|_| faults.is_empty()).map(|bot| (bot, wait)).ok_or(faults)
}

/// A page of bots.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) size: u32,
    pub(super) after: Option<BotId>,
    pub(super) phase: Option<pb::Phase>,
}

pub(super) fn list(request: &pb::ListBotsRequest) -> Result<Page, Faults> {
    let mut faults = vec![];
    if request.page_size > PAGE_MAX {
        faults.push(FieldFault::new(
            "page_size",
            format_args!("is {}; at most {PAGE_MAX} is allowed", request.page_size),
        ));
    }
    let after = match request.page_token.as_str() {
        "" => None,
        token => note(
            &mut faults,
            BotId::new(token).map_err(|_| FieldFault::new("page_token", "was not given by this service")),
        ),
    };
    let phase = pb::Phase::try_from(request.phase);
    if phase.is_err() {
        faults.push(FieldFault::new("phase", format_args!("{} is not known", request.phase)));
    }
    let size = if request.page_size == 0 { PAGE_DEFAULT } else { request.page_size };
    let phase = phase.ok().filter(|phase| *phase != pb::Phase::Unspecified);
    if faults.is_empty() { Ok(Page { size, after, phase }) } else { Err(faults) }
}

pub(super) fn set_config(
    request: &pb::SetBotConfigRequest,
) -> Result<(BotId, ConfigChange, Option<BotRevision>), Faults> {
    let mut faults = vec![];
    let bot = note(&mut faults, fields::bot_id("bot_id", &request.bot_id));
    let change = note(&mut faults, ConfigChange::parse("config_json", &request.config_json, request.merge));
    if request.expected_revision < 0 {
        faults.push(FieldFault::new("expected_revision", "is negative"));
    }
    let expected = Some(request.expected_revision).filter(|revision| *revision != 0).map(BotRevision);
    match (bot, change) {
        (Some(bot), Some(change)) if faults.is_empty() => Ok((bot, change, expected)),
        _ => Err(faults),
    }
}

pub(super) fn logs(request: &pb::StreamLogsRequest) -> Result<(BotId, LogQuery), Faults> {
    let mut faults = vec![];
    let bot = note(&mut faults, fields::bot_id("bot_id", &request.bot_id));
    if request.previous && request.attempt != 0 {
        faults.push(FieldFault::new("attempt", "cannot be given together with previous"));
    }
    if request.tail.is_some_and(|tail| tail > TAIL_MAX) {
        faults.push(FieldFault::new("tail", format_args!("is over {TAIL_MAX}; leave it out for all lines")));
    }
    let attempt = match (request.previous, request.attempt) {
        (true, _) => AttemptRef::Previous,
        (false, 0) => AttemptRef::Latest,
        (false, number) => AttemptRef::Number(number),
    };
    let tail = request.tail.and_then(|tail| usize::try_from(tail).ok());
    let query = LogQuery { attempt, tail, follow: request.follow };
    bot.filter(|_| faults.is_empty()).map(|bot| (bot, query)).ok_or(faults)
}

fn note<T>(faults: &mut Faults, checked: Result<T, FieldFault>) -> Option<T> {
    checked.map_err(|fault| faults.push(fault)).ok()
}

fn given(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn secrets(
    environment: impl IntoIterator<Item = (String, String)>,
) -> std::collections::BTreeMap<String, Secret<String>> {
    environment.into_iter().map(|(name, value)| (name, Secret::new(value))).collect()
}

fn too_many_variables(faults: &mut Faults, count: usize) {
    if count > ENV_ENTRIES_MAX {
        let problem = format!("has {count} variables; at most {ENV_ENTRIES_MAX} are allowed");
        faults.push(FieldFault::new("environment", problem));
    }
}

/// Faults are named as the request names its fields.
fn as_in_execute(fault: FieldFault) -> FieldFault {
    let field = match fault.field.as_str() {
        "config_json" => "bot_config".to_owned(),
        other => other
            .strip_prefix("limits")
            .map_or_else(|| other.to_owned(), |rest| format!("resource_limits{rest}")),
    };
    FieldFault { field, ..fault }
}

#[cfg(test)]
mod tests;
