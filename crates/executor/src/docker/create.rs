//! Pure: a unit → the body of Docker's create call.
//!
//! What the bot knows (configuration, environment) is not in it: those are in files that only the unit can read, so that
//! `docker inspect` shows no key.

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, Mount, MountBindOptions,
    MountBindOptionsPropagationEnum, MountType, ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
};
use the0_model::{Limits, Network, UnitId, UnitSpec, agent::path};

use crate::{
    labels::Labels,
    launch::{self, Parts},
};

/// The agent's own two threads, on top of the bot's.
const AGENT_PIDS: i64 = 2;
/// Files the agent itself may need open, on top of the bot's. It lowers the bot's own limit.
const AGENT_FILES: i64 = 64;
/// Docker's own record of the agent's words, kept for an agent that cannot even open its files.
const LOG_BYTES_MAX: &str = "64k";
/// A tmpfs of size 0 has no limit at all, so none is made smaller than this.
const TMP_BYTES_MIN: u64 = 4096;
/// Longest host name Linux accepts, in bytes.
const HOSTNAME_MAX: usize = 63;

/// What is the same for every unit of an executor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings<'a> {
    pub(super) image: &'a str,
    pub(super) network: &'a str,
    pub(super) run_as: (u32, u32),
}

/// Name of a unit's container. Docker keeps names unique, which makes starts idempotent.
pub(super) fn container_name(data_hash: &str, unit: &UnitId) -> String {
    let short: String = data_hash.chars().take(8).collect();
    format!("the0-{short}-{}", unit.slug())
}

/// The whole create call.
pub(super) fn body(
    spec: &UnitSpec,
    labels: &Labels,
    parts: &Parts,
    settings: Settings<'_>,
) -> ContainerCreateBody {
    let (uid, gid) = settings.run_as;
    let [agent, execute] = launch::COMMAND;
    ContainerCreateBody {
        hostname: Some(hostname(&spec.id)),
        user: Some(format!("{uid}:{gid}")),
        // The image's own entrypoint and health check must not run: the agent is PID 1.
        entrypoint: Some(vec![agent.to_owned()]),
        cmd: Some(vec![execute.to_owned()]),
        healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }),
        image: Some(settings.image.to_owned()),
        working_dir: Some(path::CODE.to_owned()),
        labels: Some(labels.encode().into_iter().collect()),
        stop_signal: Some("SIGTERM".to_owned()),
        host_config: Some(HostConfig {
            mounts: Some(launch::mounts(parts).iter().map(bind).collect()),
            ..host(spec, settings)
        }),
        ..ContainerCreateBody::default()
    }
}

fn host(spec: &UnitSpec, settings: Settings<'_>) -> HostConfig {
    let limits = &spec.limits;
    let memory = signed(limits.memory_bytes);
    let tmpfs = format!("rw,noexec,nosuid,nodev,size={}", limits.tmp_bytes.max(TMP_BYTES_MIN));
    let network = match spec.network {
        Network::None => "none",
        Network::Outside => settings.network,
    };
    HostConfig {
        memory: Some(memory),
        // Memory and swap together: the same number means no swap.
        memory_swap: Some(memory),
        nano_cpus: Some(i64::from(limits.cpu_millis) * 1_000_000),
        pids_limit: Some(i64::from(limits.pids) + AGENT_PIDS),
        ulimits: Some(ulimits(limits)),
        network_mode: Some(network.to_owned()),
        readonly_rootfs: Some(true),
        privileged: Some(false),
        cap_drop: Some(vec!["ALL".to_owned()]),
        // The daemon's default seccomp profile stays in force, because none is named here.
        security_opt: Some(vec!["no-new-privileges:true".to_owned()]),
        tmpfs: Some([("/tmp".to_owned(), tmpfs)].into_iter().collect()),
        log_config: Some(log_config()),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        auto_remove: Some(false),
        init: Some(false),
        ..HostConfig::default()
    }
}

/// A mount of this kind fails if the directory is missing, where the older `Binds` would create it, owned by root.
fn bind(mount: &launch::Mount) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(mount.source.to_string_lossy().into_owned()),
        target: Some(mount.target.to_owned()),
        read_only: Some(!mount.writable),
        bind_options: Some(MountBindOptions {
            propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
            ..MountBindOptions::default()
        }),
        ..Mount::default()
    }
}

fn ulimits(limits: &Limits) -> Vec<ResourcesUlimits> {
    let limit = |name: &str, value: i64| ResourcesUlimits {
        name: Some(name.to_owned()),
        soft: Some(value),
        hard: Some(value),
    };
    vec![limit("nofile", i64::from(limits.open_files) + AGENT_FILES), limit("core", 0)]
}

/// The agent keeps the bot's output itself. What Docker keeps are the agent's own words, a few lines at most.
fn log_config() -> HostConfigLogConfig {
    let options = [("max-size", LOG_BYTES_MAX), ("max-file", "1")];
    HostConfigLogConfig {
        typ: Some("json-file".to_owned()),
        config: Some(options.map(|(key, value)| (key.to_owned(), value.to_owned())).into_iter().collect()),
    }
}

fn hostname(unit: &UnitId) -> String {
    let id = unit.as_str().split('/').nth(1).unwrap_or_default();
    let plain: String = id.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let short: String = plain.trim_matches('-').chars().take(HOSTNAME_MAX).collect();
    let name = short.trim_end_matches('-');
    if name.is_empty() { "unit".to_owned() } else { name.to_owned() }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
