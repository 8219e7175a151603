#!/usr/bin/env bash
# Stops the Docker daemon that scripts/setup-docker.sh started, and no other. Safe to run again.
# Containers go on running (--live-restore) and are found again by the next daemon.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

gone() {
    ! our_dockerd >/dev/null
}

main() {
    local pid
    if ! pid="$(our_dockerd)"; then
        log "docker: no daemon of ours runs"
        return 0
    fi
    log "stopping dockerd, pid $pid"
    as_root kill -TERM "$pid"
    wait_until 30 gone || die "dockerd (pid $pid) did not stop within 30 s; it is left alone"
    as_root rm -f "$DOCKERD_PID_FILE"
}

main "$@"
