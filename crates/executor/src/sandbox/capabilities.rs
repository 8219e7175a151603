//! Pure: what protection a machine gives, and in words where it gives none. Nothing is silently weaker.

use the0_core::executor::Protection;

/// What was found out about the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Machine {
    /// Whether the service is root.
    pub(super) root: bool,
    /// Version of the control groups, if any can be made.
    pub(super) cgroups: Option<u8>,
    /// Whether they limit memory, processes, CPU time.
    pub(super) limits: [bool; 3],
    /// Interpreters: name of the runtime, and version or reason.
    pub(super) interpreters: Vec<(String, Result<String, String>)>,
}

/// Each protection, active or not, with the reason.
pub(super) fn protections(machine: &Machine) -> Vec<Protection> {
    let on = |name, detail: &str| Protection { name, active: true, detail: detail.to_owned() };
    let off = |name, detail: &str| Protection { name, active: false, detail: detail.to_owned() };
    let mut all = vec![
        on("namespaces", "mounts, processes, shared memory and host name of its own"),
        on("file system", "the machine read-only and in parts; a private /tmp"),
        on("privileges", "no new privileges, no capabilities for the bot"),
        on("system calls", "a filter denies those that lead out of a sandbox"),
    ];
    all.push(if machine.root {
        on("user", "bots run as nobody, the agent as another user, so that a bot cannot stop it")
    } else {
        off(
            "user",
            "bots run as the service's own user, in a user namespace; run the service as root to separate them",
        )
    });
    let by = match machine.cgroups {
        Some(version) => format!("control groups, version {version}"),
        None => String::new(),
    };
    let why = if machine.root {
        "no control group can be made here"
    } else {
        "the service may make no control groups; run it as root, or give it a group of its own (systemd: Delegate=yes)"
    };
    let fallbacks = [
        ("memory limit", "each process by itself is held to the limit, not all of a bot's together"),
        ("process limit", "a bot may start as many processes as the machine allows"),
        ("cpu limit", "a bot may use every core"),
    ];
    for ((name, fallback), active) in fallbacks.into_iter().zip(machine.limits) {
        // A user without privileges gets a user namespace for each bot, in which the kernel counts (Linux 5.14 or newer).
        let counted_by_user = name == "process limit" && !machine.root;
        all.push(match (active, counted_by_user) {
            (true, _) => on(name, &by),
            (false, true) => on(name, "a limit of the user's processes in the bot's own user namespace"),
            (false, false) => off(name, &format!("{why}; {fallback}")),
        });
    }
    all.push(off(
        "noexec /tmp",
        "bubblewrap cannot forbid programs in /tmp; it has no set-user-id and no devices",
    ));
    all.push(off(
        "network",
        "bots with network share the machine's, its local services included; bots without have none at all",
    ));
    for (runtime, found) in &machine.interpreters {
        match found {
            Ok(version) => all.push(Protection {
                name: "interpreter",
                active: true,
                detail: format!("{runtime}: {version} of this machine"),
            }),
            Err(reason) => {
                all.push(Protection {
                    name: "interpreter",
                    active: false,
                    detail: format!("{runtime}: {reason}"),
                });
            }
        }
    }
    all
}

/// What to do about a bubblewrap that cannot make a sandbox, from what it said.
pub(super) fn advice(said: &str, root: bool) -> &'static str {
    if root {
        "run where namespaces may be made (in a container: with CAP_SYS_ADMIN), or use `--executor docker`"
    } else if said.contains("uid map") || said.contains("ermission denied") || said.contains("not permitted")
    {
        "allow user namespaces: `sysctl kernel.apparmor_restrict_unprivileged_userns=0` (Ubuntu), \
         `sysctl kernel.unprivileged_userns_clone=1` (Debian), or run the service as root"
    } else {
        "raise `sysctl user.max_user_namespaces`, run the service as root, or use `--executor docker`"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_with_a_way_out() {
        let machine = Machine {
            root: false,
            cgroups: None,
            limits: [false; 3],
            interpreters: vec![("python3.11".into(), Ok("3.11.2".into()))],
        };
        let shown: Vec<String> = protections(&machine)
            .into_iter()
            .map(|one| format!("{} {}: {}", if one.active { "+" } else { "-" }, one.name, one.detail))
            .collect();
        insta::assert_snapshot!(shown.join("\n"));
        let best = Machine { root: true, cgroups: Some(2), limits: [true; 3], ..machine };
        let weak: Vec<_> =
            protections(&best).into_iter().filter(|one| !one.active).map(|one| one.name).collect();
        assert_eq!(weak, ["noexec /tmp", "network"]);
    }
}
