#!/usr/bin/env bash
# Everything that has to pass, from a fresh machine: installs what the tests need, checks formatting and lints,
# builds, and runs every test against the fake, the sandbox and Docker. Stops what it started, however it ends.
# Arguments go to `cargo test`: scripts/test.sh backoff -- --nocapture
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$REPO_DIR"

# A test that needs Docker or the sandbox fails without it; unset, it would be skipped with a line saying so.
export THE0_TEST_DOCKER=required THE0_TEST_SANDBOX=required THE0_TEST_BWRAP=required THE0_TEST_GRPC_CLIENT=required
# In containers Node comes with the image; in the sandbox it is the machine's own, which not every machine has.
if have node; then export THE0_TEST_NODE=required; fi
# Snapshots are compared, never written.
export INSTA_UPDATE=no
# What is built here is built once: incremental files would only cost time and space.
export CARGO_INCREMENTAL=0

SUMMARY=()
FAILED=()
CHILD=''
# The Docker daemon of ours that ran before, which is not for us to stop.
HAD_DOCKER=unknown

# Runs one stage, notes how long it took, and goes on: one run shows all that is wrong.
stage() {
    local name="$1" began=$SECONDS result=ok
    shift
    log "$name"
    "$@" || result=FAILED
    [ "$result" = ok ] || FAILED+=("$name")
    SUMMARY+=("$(printf '%-10s %-6s %4d s' "$name" "$result" $((SECONDS - began)))")
    [ "$result" = ok ]
}

# Runs a command as the leader of its own process group, so that a signal to this script ends all of it.
grouped() {
    local status=0
    set -m
    "$@" </dev/null &
    CHILD=$!
    set +m
    wait "$CHILD" || status=$?
    CHILD=''
    return "$status"
}

# A stock gRPC client for the test that drives the service from outside.
setup_client() {
    THE0_GRPC_PYTHON="$(scripts/setup-grpc-client.sh)" || return 1
    export THE0_GRPC_PYTHON
}

managed_containers() {
    "$(docker_cli)" ps --all --quiet --filter label=runtime.managed=true
}

# A daemon that ran before us may hold other people's bots; in one started for the tests, whatever is left was
# forgotten by a test.
nothing_left_behind() {
    local left
    [ -z "$HAD_DOCKER" ] && our_dockerd >/dev/null || return 0
    left="$(managed_containers)"
    [ -n "$left" ] || return 0
    "$(docker_cli)" ps --all --filter label=runtime.managed=true >&2
    # shellcheck disable=SC2086 # one argument per container
    "$(docker_cli)" rm --force $left >/dev/null
    log "the tests left these containers behind"
    return 1
}

finish() {
    local status=$?
    trap - EXIT INT TERM
    [ -z "$CHILD" ] || kill -TERM -- "-$CHILD" 2>/dev/null || true
    [ -n "$HAD_DOCKER" ] || "$REPO_DIR/scripts/stop-docker.sh" || status=1
    # Under sudo, the build belongs to the user again.
    if [ -n "${SUDO_UID:-}" ] && [ -d target ]; then
        chown -R "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" target
    fi
    if [ "${#SUMMARY[@]}" -gt 0 ]; then
        printf '\n' >&2
        printf '    %s\n' "${SUMMARY[@]}" >&2
    fi
    if [ "${#FAILED[@]}" -gt 0 ]; then
        log "FAILED: ${FAILED[*]} (in $SECONDS s)"
        status=1
    elif [ "$status" -ne 0 ]; then
        log "stopped before the end, after $SECONDS s"
    else
        log "all passed in $SECONDS s"
    fi
    exit "$status"
}

main() {
    trap finish EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    need_cargo
    HAD_DOCKER="$(our_dockerd || true)"
    stage sandbox scripts/setup-sandbox.sh || exit 1
    stage docker scripts/setup-docker.sh || exit 1
    stage images scripts/setup-images.sh || exit 1
    stage client setup_client || exit 1

    stage format grouped cargo fmt --all --check || true
    stage lint grouped cargo clippy --workspace --all-targets --all-features -- -D warnings || true
    # Built first and whole: the tests of the executors start the binary itself, as PID 1 of a bot.
    stage build grouped cargo build --workspace --all-features || exit 1
    stage test grouped cargo test --workspace --all-features --no-fail-fast "$@" || true
    stage leftovers nothing_left_behind || true
}

main "$@"
