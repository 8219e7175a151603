#!/usr/bin/env bash
# Makes sure that bots can run in the sandbox, without Docker: bubblewrap, and a Python for Python bots.
# Safe to run again. Debian 12 brings Python 3.11, Ubuntu 22.04 brings 3.10, Ubuntu 24.04 brings 3.12.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Prints the newest Python of 3.11 or later. A bot sees /usr only, so other places do not count.
usable_python() {
    local python
    for python in /usr/bin/python3 /usr/bin/python3.1[1-9]; do
        if [ -x "$python" ] && "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$python"
            return 0
        fi
    done
    return 1
}

# True if bubblewrap may make namespaces here: some containers and Ubuntu's AppArmor rules forbid it.
sandbox_works() {
    bwrap --ro-bind / / --unshare-all --die-with-parent true 2>/dev/null
}

main() {
    hold_lock sandbox
    have bwrap || apt_install bubblewrap
    if ! usable_python >/dev/null; then
        apt_install python3
        # Ubuntu 22.04's default is too old; a newer one lies beside it.
        usable_python >/dev/null || apt_install python3.11
    fi
    log "bubblewrap: $(bwrap --version)"
    log "python: $(usable_python) ($("$(usable_python)" --version))"
    if sandbox_works; then
        log "the sandbox works"
    else
        log "bubblewrap is installed but may not make namespaces here: $(
            bwrap --ro-bind / / --unshare-all true 2>&1 | head -n 1
        )"
        log "allow it (Ubuntu 24.04: sysctl kernel.apparmor_restrict_unprivileged_userns=0), or run as root, or use Docker"
    fi
}

main "$@"
