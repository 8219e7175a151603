# Shared by the scripts in this directory; meant to be sourced, after `set -euo pipefail`.
# shellcheck shell=bash

# Everything the scripts keep between runs: image tarballs, the log and pid of a Docker daemon they started.
CACHE_DIR="${THE0_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/the0-runtime}"
# shellcheck disable=SC2034 # for the scripts that source this
REPO_DIR="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

if [ -t 2 ] && [ -z "${NO_COLOR:-}" ]; then
    BOLD=$'\e[1m' RED=$'\e[31m' RESET=$'\e[0m'
else
    BOLD='' RED='' RESET=''
fi

# Says what is going on, on stderr, so that a script's stdout stays its result.
log() {
    printf '%s==>%s %s\n' "$BOLD" "$RESET" "$*" >&2
}

# Says what went wrong and ends the script.
die() {
    printf '%serror:%s %s\n' "$RED" "$RESET" "$*" >&2
    exit 1
}

# True if every named command exists.
have() {
    local name
    for name in "$@"; do
        command -v "$name" >/dev/null 2>&1 || return 1
    done
}

# Runs a command as root: directly, or by sudo.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        die "this needs root: run it as root, or install sudo ($*)"
    fi
}

# Holds a lock until the script ends, so that two of the same kind do not install side by side.
# The lock is file descriptor 9: close it (9>&-) for a child that outlives the script.
hold_lock() {
    mkdir -p "$CACHE_DIR"
    exec 9>"$CACHE_DIR/$1.lock"
    flock 9
}

# Installs Debian packages without asking anything. The lists are fetched once per script; a broken
# third-party list is no reason to stop, a package that cannot be found afterwards is.
apt_install() {
    have apt-get || die "cannot install $*: there is no apt-get here; install it by hand and run this again"
    if [ -z "${APT_UPDATED:-}" ]; then
        log "reading package lists"
        as_root apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=2 update >/dev/null ||
            log "some package lists could not be read; going on with the others"
        APT_UPDATED=1
    fi
    log "installing $*"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 \
        -o Dpkg::Use-Pty=0 install --no-install-recommends "$@" >/dev/null ||
        die "apt-get could not install $*"
}

# Waits until a command succeeds: `wait_until SECONDS command...`.
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.2
    done
}

# Prints the Docker client that reaches a daemon: the first on PATH may be a wrapper for another machine.
docker_cli() {
    local cli
    for cli in docker /usr/bin/docker; do
        if have "$cli" && timeout 10 "$cli" version --format '{{.Server.Version}}' >/dev/null 2>&1; then
            echo "$cli"
            return 0
        fi
    done
    return 1
}

# True if a Docker daemon answers.
docker_answers() {
    docker_cli >/dev/null
}

# Where the pid of a Docker daemon is kept that these scripts started.
DOCKERD_PID_FILE="$CACHE_DIR/docker/dockerd.pid"

# Prints the pid of the Docker daemon these scripts started, if it still runs.
our_dockerd() {
    local pid
    pid="$(cat "$DOCKERD_PID_FILE" 2>/dev/null)" || return 1
    [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ] || return 1
    echo "$pid"
}

# Makes sure that cargo and a C compiler are there (SQLite and ring are partly C). Under sudo the user's own
# Rust is used, which root's PATH does not show.
need_cargo() {
    local home
    if ! have cargo && [ -n "${SUDO_USER:-}" ]; then
        home="$(getent passwd "$SUDO_USER" | cut -d: -f6)"
        export CARGO_HOME="${CARGO_HOME:-$home/.cargo}" RUSTUP_HOME="${RUSTUP_HOME:-$home/.rustup}"
        PATH="$CARGO_HOME/bin:$PATH"
    elif ! have cargo; then
        PATH="$HOME/.cargo/bin:$PATH"
    fi
    have cargo || die "cargo is missing: install Rust 1.95 or newer (https://rustup.rs) and run this again"
    have cc || apt_install gcc libc6-dev
}
