#!/usr/bin/env bash
# Makes sure that a Docker daemon answers on the default socket. Safe to run again.
# What is there is used as it is; else Debian's docker.io is installed and, where no init system starts it,
# its daemon is started in the background. `scripts/stop-docker.sh` stops that daemon and no other.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

SOCKET=/var/run/docker.sock

# dockerd needs root's paths, which a user's PATH may lack.
find_dockerd() {
    PATH="$PATH:/usr/sbin:/sbin:/usr/local/sbin" command -v dockerd
}

# True if a daemon answers root but not the caller. A second one beside it would share its networks and fight over them.
answers_root_only() {
    [ "$(id -u)" -ne 0 ] && [ -S "$SOCKET" ] && [ ! -w "$SOCKET" ] && have docker &&
        as_root timeout 10 docker version >/dev/null 2>&1
}

# Starts a daemon that outlives this script, with the caller allowed to use its socket.
# --live-restore: containers go on running while the daemon is restarted, as on any production host.
start_dockerd() {
    local dockerd log_file
    dockerd="$(find_dockerd)"
    log_file="$(dirname "$DOCKERD_PID_FILE")/dockerd.log"
    mkdir -p "$(dirname "$DOCKERD_PID_FILE")"
    as_root rm -f "$DOCKERD_PID_FILE"
    log "starting $dockerd (log: $log_file)"
    as_root setsid --fork "$dockerd" --live-restore --group "$(id -g)" \
        --host "unix://$SOCKET" --pidfile "$DOCKERD_PID_FILE" >"$log_file" 2>&1 </dev/null 9>&-
    if ! wait_until 60 docker_answers; then
        tail -n 20 "$log_file" >&2
        die "dockerd did not answer within 60 s; its last lines are above"
    fi
}

main() {
    hold_lock docker
    if docker_answers; then
        log "docker: a daemon answers already"
    elif answers_root_only; then
        die "a Docker daemon runs but $(id -un) may not use it: join its group (usermod -aG docker $(id -un)) or use sudo"
    else
        if ! find_dockerd >/dev/null || ! have docker; then
            apt_install docker.io iptables
        fi
        # With systemd, installing has started it, or may be asked to.
        if [ -d /run/systemd/system ]; then
            as_root systemctl start docker || true
            wait_until 30 docker_answers || true
        fi
        docker_answers || start_dockerd
    fi
    local cli
    cli="$(docker_cli)" || die "a Docker daemon is installed but does not answer on $SOCKET"
    log "docker: $("$cli" version --format 'engine {{.Server.Version}}, API {{.Server.APIVersion}}')"
}

main "$@"
