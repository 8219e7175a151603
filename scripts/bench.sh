#!/usr/bin/env bash
# Measures the targets of the README with release builds, each side by side with what it is compared to, in one run.
# Prints medians, ratios and targets; does not judge a time while other programs use more than a quarter of the CPU.
# --quick measures fewer rounds; --check ends with 1 if a target was missed, with 2 if one could not be judged.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$REPO_DIR"

OPTIONS=()
CHECK=''
MISSED=''
UNJUDGED=''

# Runs one benchmark, shows its rows, and goes on: one run shows all that is missed.
bench() {
    local status=0
    "$@" "${OPTIONS[@]}" --check 9>&- || status=$?
    case "$status" in
        0) ;;
        2) UNJUDGED=1 ;;
        1) MISSED=1 ;;
        *) die "$* ended with $status" ;;
    esac
}

# A benchmark of the executors, without cargo's words.
crate_bench() {
    local name="$1"
    shift
    cargo bench --quiet --package the0-executor --bench "$name" -- "$@"
}

main() {
    local argument
    for argument in "$@"; do
        case "$argument" in
            --quick) OPTIONS+=(--quick) ;;
            --check) CHECK=1 ;;
            *) die "unknown argument $argument; usage: scripts/bench.sh [--quick] [--check]" ;;
        esac
    done
    need_cargo
    have python3 || apt_install python3
    scripts/setup-sandbox.sh
    ! docker_answers || scripts/setup-images.sh
    log "building (a few minutes the first time)"
    make --no-print-directory release
    # One by one: together they would be built with each other's features, and be built again when they run.
    cargo bench --quiet --no-run --package the0-core --bench reconcile
    cargo bench --quiet --no-run --package the0-executor --benches
    log "measuring"
    printf '| %-44s | %11s | %11s | %8s | %9s |\n' what ours 'against' ratio target
    bench python3 scripts/bench.py reconcile
    bench crate_bench sandbox_start
    if docker_answers; then
        bench crate_bench docker_start
    else
        log "Docker does not answer: its start is not measured"
    fi
    bench python3 scripts/bench.py service
    if docker_answers; then
        bench python3 scripts/bench.py service --executor docker
    fi
    if [ -n "$MISSED" ]; then
        log "a target was MISSED"
        [ -z "$CHECK" ] || exit 1
    elif [ -n "$UNJUDGED" ]; then
        log "not everything could be judged: the machine is busy"
        [ -z "$CHECK" ] || exit 2
    else
        log "all targets reached"
    fi
}

main "$@"
