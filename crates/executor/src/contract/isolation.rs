//! What a unit may see, reach and do.

use std::{fs, path::Path};

use serde_json::json;
use the0_model::{Network, Secret};

use super::{FOREVER, Subject};

/// Without network there is no route, not even to the machine's own services.
pub async fn without_network_there_is_no_way_out(subject: &Subject) {
    let script = "import socket\ndef main(bot_id, config):\n    \
                  names = [name for _, name in socket.if_nameindex()]\n    \
                  probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n    \
                  try: probe.connect(('192.0.2.1', 9)); print('route', names)\n    \
                  except OSError as error: print('no route', error.errno, set(names) - {'lo'} or '')\n";
    let spec = subject.python("cut", script);
    assert_eq!(spec.network, Network::None);
    subject.end(&spec).await;
    let said = subject.output(&spec.id).await.join("\n");
    assert!(said.starts_with("no route 101"), "ENETUNREACH: {said}");
}

/// A bot is not root, has no capabilities, cannot gain any, and cannot write what is not its own.
pub async fn a_bot_has_no_privileges(subject: &Subject) {
    let script = "import os\ndef main(bot_id, config):\n    \
                  status = dict(line.split(':\\t', 1) for line in open('/proc/self/status').read().splitlines() if ':\\t' in line)\n    \
                  print('uid', os.getuid(), os.geteuid(), os.getgid(), [g for g in os.getgroups() if g != os.getgid()])\n    \
                  print('caps', *[int(status[name], 16) for name in ('CapPrm', 'CapEff', 'CapAmb')])\n    \
                  print('nnp', status['NoNewPrivs'].strip(), 'seccomp', status['Seccomp'].strip())\n    \
                  for path in ('/x', '/bot/x', '/the0/x', '/usr/x', '/etc/x', '/var/the0/in/x', '/var/the0/in/config.json'):\n        \
                  try: open(path, 'w'); print('wrote', path)\n        \
                  except OSError as error: assert error.errno in (13, 30), (path, error)\n    \
                  for path in ('/tmp/x', '/state/x', '/var/the0/out/x'): open(path, 'w').write('y')\n    \
                  print('done')\n"
        .replace("        try: open(path, 'w')", "        try:\n            open(path, 'w')")
        .replace("; print('wrote', path)", "\n            print('wrote', path)");
    let spec = subject.python("bare", &script);
    let exit = subject.end(&spec).await;
    let said = subject.output(&spec.id).await;
    assert_eq!(said.last().map(String::as_str), Some("done"), "{said:?} {exit}");
    assert!(!said.iter().any(|line| line.starts_with("wrote")), "{said:?}");
    assert!(!said[0].starts_with("uid 0") && said[0].ends_with("[]"), "{said:?}");
    assert_eq!(said[1], "caps 0 0 0");
    assert_eq!(said[2], "nnp 1 seccomp 2");
}

/// Neither the machine's processes and files nor the service's environment are seen.
pub async fn a_bot_sees_no_more_than_it_should(subject: &Subject) {
    let script = "import os\ndef main(bot_id, config):\n    \
                  print('pids', len([name for name in os.listdir('/proc') if name.isdigit()]))\n    \
                  print('seen', [path for path in ('/home', '/root/.ssh', '/var/lib', '/etc/shadow', '/run/docker.sock') \
                  if os.path.exists(path) and (os.path.isdir(path) and os.access(path, os.R_OK) and os.listdir(path) or os.access(path, os.R_OK))])\n    \
                  print('env', *sorted(os.environ))\n    print('up')\n    \
                  import time\n    time.sleep(600)\n";
    let spec = subject.python("blind", script);
    subject.up(&spec).await;
    let said = subject.output(&spec.id).await;
    let pids: u32 = said[0].split(' ').nth(1).unwrap().parse().unwrap();
    assert!(pids <= 3, "{said:?}");
    assert!(
        !said[1].contains("shadow") && !said[1].contains(".ssh") && !said[1].contains("docker"),
        "{said:?}"
    );
    assert!(said[2].contains(" BOT_ID ") && !said[2].contains("CARGO"), "{said:?}");
}

/// A key in the configuration or the environment is neither in a command line nor readable by other users.
pub async fn keys_do_not_show(subject: &Subject) {
    let mut spec = subject.python("secret", FOREVER);
    spec.config = Secret::new(json!({"apiKey": "canary-4711"}));
    spec.env.insert("TOKEN".to_owned(), Secret::new("canary-4711".to_owned()));
    subject.up(&spec).await;
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let shown = line.windows(11).any(|part| part == b"canary-4711");
        assert!(!shown, "{}", String::from_utf8_lossy(&line));
    }
    let inside = subject.dir(&spec.id);
    assert_eq!(mode(inside.path()) & 0o077, 0, "others do not enter");
    for file in fs::read_dir(inside.attempt(1).input()).unwrap().flatten() {
        assert_eq!(mode(&file.path()) & 0o007, 0, "others do not read");
    }
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode()
}
