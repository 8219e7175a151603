//! Pure: what a Docker daemon says of itself → which protections are in force.

use bollard::models::{SystemInfo, SystemInfoCgroupDriverEnum, SystemVersion};
use the0_core::executor::{Description, Protection};

use super::NAME;

/// The first releases of runc, per line, without the escapes of November 2025 (CVE-2025-31133, -52565, -52881).
const RUNC_SAFE: [(u32, u32, u32); 3] = [(1, 2, 8), (1, 3, 3), (1, 4, 0)];

/// What is behind the executor and what it protects.
pub(super) fn description(version: &SystemVersion, info: &SystemInfo, run_as: (u32, u32)) -> Description {
    let engine = version.version.as_deref().unwrap_or("unknown");
    let api = version.api_version.as_deref().unwrap_or("unknown");
    Description {
        kind: NAME,
        version: format!("engine {engine}, API {api}"),
        protections: vec![
            user(run_as),
            always("read-only root", "only /state, /tmp and the attempt's own directories can be written"),
            always("capabilities", "all dropped, no new privileges"),
            always("process namespace", "units see only their own processes"),
            flag("memory limit", info.memory_limit, memory_detail(info)),
            flag("cpu limit", info.cpu_cfs_quota, cgroups(info)),
            flag("process limit", info.pids_limit, cgroups(info)),
            security(info, "seccomp", "the daemon's profile", "system calls are not filtered"),
            security(info, "apparmor", "the daemon's profile", "not on this machine"),
            security(info, "userns", "root in a unit is nobody outside", "the daemon does not remap users"),
            live_restore(info),
            runc(version),
        ],
    }
}

fn always(name: &'static str, detail: &str) -> Protection {
    Protection { name, active: true, detail: detail.to_owned() }
}

fn flag(name: &'static str, active: Option<bool>, detail: String) -> Protection {
    Protection { name, active: active == Some(true), detail }
}

fn user((uid, gid): (u32, u32)) -> Protection {
    Protection { name: "unprivileged user", active: uid != 0, detail: format!("units run as {uid}:{gid}") }
}

fn cgroups(info: &SystemInfo) -> String {
    let version = info.cgroup_version.map_or_else(|| "unknown".to_owned(), |version| version.to_string());
    let driver = info.cgroup_driver.unwrap_or(SystemInfoCgroupDriverEnum::EMPTY);
    format!("cgroup version {version}, driver {driver}")
}

fn memory_detail(info: &SystemInfo) -> String {
    let swap =
        if info.swap_limit == Some(true) { "swap included" } else { "swap is NOT limited by this kernel" };
    format!("{}, {swap}", cgroups(info))
}

/// Docker lists what is in force as `name=seccomp,profile=default`.
fn security(info: &SystemInfo, name: &'static str, yes: &str, no: &str) -> Protection {
    let options = info.security_options.as_deref().unwrap_or_default();
    let wanted = format!("name={name}");
    let found = options.iter().find(|option| option.split(',').next() == Some(wanted.as_str()));
    let open = found.is_some_and(|option| option.contains("unconfined"));
    let name = if name == "userns" { "user namespace" } else { name };
    match found {
        Some(_) if !open => Protection { name, active: true, detail: yes.to_owned() },
        _ => Protection { name, active: false, detail: no.to_owned() },
    }
}

fn live_restore(info: &SystemInfo) -> Protection {
    let name = "live restore";
    if info.live_restore_enabled == Some(true) {
        let detail = "units go on running while Docker restarts".to_owned();
        Protection { name, active: true, detail }
    } else {
        let detail =
            "a restart of Docker kills every unit; set \"live-restore\": true in daemon.json".to_owned();
        Protection { name, active: false, detail }
    }
}

fn runc(version: &SystemVersion) -> Protection {
    let components = version.components.as_deref().unwrap_or_default();
    let found = components.iter().find(|component| component.name == "runc");
    let text = found.map_or("", |component| component.version.as_str());
    let (active, detail) = match numbers(text) {
        None => (false, "version of runc is unknown".to_owned()),
        Some(found) if is_safe(found) => (true, format!("runc {text}")),
        Some(_) => {
            let advice = "has known ways out of a container unless its distributor mended it";
            (false, format!("runc {text} {advice}; update to 1.2.8, 1.3.3 or newer"))
        }
    };
    Protection { name: "container runtime", active, detail }
}

fn is_safe(found: (u32, u32, u32)) -> bool {
    let (major, minor, patch) = found;
    let line = RUNC_SAFE.iter().find(|safe| (safe.0, safe.1) == (major, minor));
    line.map_or(found > RUNC_SAFE[RUNC_SAFE.len() - 1], |safe| patch >= safe.2)
}

/// `1.1.5` of `1.1.5+ds1`; a release candidate counts as older than its release.
fn numbers(text: &str) -> Option<(u32, u32, u32)> {
    let plain = text.split(['+', '~', '-']).next()?;
    let mut parts = plain.trim_start_matches('v').split('.').map(|part| part.parse().ok());
    let found = (parts.next()??, parts.next()??, parts.next()??);
    let candidate = text.contains("-rc") || text.contains("~rc");
    if candidate { Some((found.0, found.1, found.2.checked_sub(1)?)) } else { Some(found) }
}

#[cfg(test)]
mod tests {
    use bollard::models::SystemVersionComponents;

    use super::*;

    fn runc_of(text: &str) -> Protection {
        runc(&SystemVersion {
            components: Some(vec![SystemVersionComponents {
                name: "runc".into(),
                version: text.into(),
                details: None,
            }]),
            ..SystemVersion::default()
        })
    }

    #[test]
    fn an_old_runc_is_named() {
        for old in ["1.1.5+ds1", "1.2.7", "1.3.2", "1.0.0-rc95"] {
            assert!(!runc_of(old).active, "{old}");
        }
        for new in ["1.2.8", "1.3.3", "1.4.0", "1.5.1", "2.0.0"] {
            assert!(runc_of(new).active, "{new}");
        }
        assert!(runc_of("1.1.5+ds1").detail.contains("1.1.5+ds1"));
        assert!(!runc_of("").active);
    }

    #[test]
    fn what_is_not_in_force_says_why() {
        let info = SystemInfo {
            security_options: Some(vec!["name=seccomp,profile=unconfined".into(), "name=userns".into()]),
            live_restore_enabled: Some(false),
            memory_limit: Some(true),
            swap_limit: Some(false),
            ..SystemInfo::default()
        };
        let found = description(&SystemVersion::default(), &info, (65534, 65534));
        let get = |name: &str| found.protections.iter().find(|entry| entry.name == name).unwrap();
        assert!(!get("seccomp").active && !get("apparmor").active && get("user namespace").active);
        assert!(get("live restore").detail.contains("daemon.json"));
        assert!(get("memory limit").active && get("memory limit").detail.contains("NOT limited"));
        assert!(get("unprivileged user").active);
    }
}
