//! What a unit is held to, as Docker says and as the unit itself finds.

use std::time::Duration;

use serde_json::Value;
use the0_core::Executor;

use crate::rig::{CANARY, FOREVER, Rig, owner, read_when_there};

/// Tries what must not work and writes what it found.
const PROBE: &str = r"
import json, os, subprocess, time
found = {}
for line in open('/proc/self/status'):
    name, _, value = line.partition(':')
    if name in ('Uid', 'Gid', 'CapEff', 'CapBnd', 'NoNewPrivs', 'Seccomp'):
        found[name] = value.split()[0]
def attempt(name, action):
    try:
        action()
        found[name] = 'done'
    except Exception as error:
        found[name] = type(error).__name__
def run_from_tmp():
    open('/tmp/x', 'w').write('#!/bin/sh\n')
    os.chmod('/tmp/x', 0o755)
    subprocess.run(['/tmp/x'], check=True)
attempt('root', lambda: open('/x', 'w'))
attempt('code', lambda: open('/bot/x', 'w'))
attempt('tools', lambda: open('/the0/x', 'w'))
attempt('input', lambda: open('/var/the0/in/x', 'w'))
attempt('state', lambda: open('/state/x', 'w').write('x'))
attempt('out', lambda: open('/var/the0/out/x', 'w').write('x'))
attempt('tmp', lambda: open('/tmp/y', 'w').write('x'))
attempt('run_from_tmp', run_from_tmp)
attempt('fill_tmp', lambda: open('/tmp/z', 'wb').write(bytes(80 << 20)))
attempt('dial', lambda: __import__('socket').create_connection(('192.0.2.1', 80), 1))
found['processes'] = sum(name.isdigit() for name in os.listdir('/proc'))
found['host'] = os.uname().nodename
found['env'] = dict(os.environ)
open('/state/found.new', 'w').write(json.dumps(found) + '\n')
os.rename('/state/found.new', '/state/found')
while True: time.sleep(0.1)
";

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_finds_itself_confined() {
    let Some(rig) = Rig::new().await else { return };
    let executor = rig.executor().await;
    let mut spec = rig.spec("b_1", PROBE);
    spec.limits.memory_bytes = 256 << 20;
    executor.start(&spec, &owner()).await.unwrap();
    let text = read_when_there(rig.units().unit(&spec.id).state().join("found")).await;
    executor.stop(&spec.id, Duration::from_secs(5)).await.unwrap();
    let found: Value = serde_json::from_str(&text).unwrap();
    for name in ["root", "code", "tools", "input", "run_from_tmp", "fill_tmp", "dial"] {
        assert_ne!(found[name], "done", "{name}: {text}");
    }
    for name in ["state", "out", "tmp"] {
        assert_eq!(found[name], "done", "{name}: {text}");
    }
    let run_as = the0_executor::RunAs::for_service();
    assert_eq!(found["Uid"], run_as.uid.to_string());
    assert_eq!(found["Gid"], run_as.gid.to_string());
    assert_eq!(found["CapEff"], "0000000000000000");
    assert_eq!(found["CapBnd"], "0000000000000000");
    assert_eq!(found["NoNewPrivs"], "1");
    assert_eq!(found["Seccomp"], "2", "the filter is on");
    assert_eq!(found["host"], "b-1");
    assert!(found["processes"].as_u64().unwrap() <= 3, "it sees only its own: {text}");
    assert!(!text.contains(CANARY), "nothing is in the container's environment: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_shows_the_limits_and_no_key() {
    let Some(rig) = Rig::new().await else { return };
    let executor = rig.executor().await;
    let spec = rig.spec("b1", FOREVER);
    executor.start(&spec, &owner()).await.unwrap();
    let inspected = rig.inspect(&spec.id).await;
    let listed = rig.containers().await;
    let host = inspected.host_config.clone().unwrap();
    assert_eq!(host.memory, Some(64 << 20));
    assert_eq!(host.memory_swap, Some(64 << 20));
    assert_eq!(host.nano_cpus, Some(500_000_000));
    assert_eq!(host.pids_limit, Some(258));
    assert_eq!(host.readonly_rootfs, Some(true));
    assert_eq!(host.privileged, Some(false));
    assert_eq!(host.cap_drop, Some(vec!["ALL".to_owned()]));
    assert_eq!(host.security_opt, Some(vec!["no-new-privileges:true".to_owned()]));
    assert_eq!(host.network_mode.as_deref(), Some("none"));
    assert_eq!(host.binds, None);
    assert_eq!(host.init, Some(false));
    let writable: Vec<_> = inspected
        .mounts
        .clone()
        .unwrap_or_default()
        .into_iter()
        .filter(|mount| mount.rw == Some(true))
        .filter_map(|mount| mount.destination)
        .collect();
    assert_eq!(writable.len(), 3, "{writable:?}");
    let shown =
        format!("{}{}", serde_json::to_string(&inspected).unwrap(), serde_json::to_string(&listed).unwrap());
    assert!(!shown.contains(CANARY) && !shown.contains("TOKEN"), "{shown}");
    // The files it was told are for nobody else on this machine, and go with the attempt.
    let input = rig.units().unit(&spec.id).attempt(1).input();
    assert!(std::fs::read_to_string(input.join("config.json")).unwrap().contains(CANARY));
    executor.stop(&spec.id, Duration::from_secs(5)).await.unwrap();
    assert!(!input.exists());
    assert!(!format!("{executor:?}").contains(CANARY));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_what_protects_and_what_does_not() {
    let Some(rig) = Rig::new().await else { return };
    let found = the0_core::Executor::describe(&rig.executor().await);
    assert_eq!(found.kind, "docker");
    assert!(found.version.starts_with("engine "), "{}", found.version);
    let info = rig.docker.info().await.unwrap();
    let live = found.protections.iter().find(|entry| entry.name == "live restore").unwrap();
    assert_eq!(live.active, info.live_restore_enabled.unwrap_or(false), "{live:?}");
    assert!(found.protections.iter().any(|entry| entry.name == "seccomp" && entry.active));
}
