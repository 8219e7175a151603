#!/usr/bin/env bash
# Builds the binary and shows the life of real bots, each step checked: see demo.py. Ends with 0 only if every step was
# seen, and leaves nothing running. Arguments: --executor auto|docker|sandbox, --clean (remove what an interrupted demo left).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$REPO_DIR"

main() {
    local executor=auto
    case "${1:-}" in
        --executor) executor="${2:?--executor needs auto, docker or sandbox}" ;;
        --clean) exec python3 scripts/demo.py --clean ;;
        '') ;;
        *) die "unknown argument $1; usage: scripts/demo.sh [--executor auto|docker|sandbox | --clean]" ;;
    esac
    need_cargo
    if [ "$executor" != sandbox ] && docker_answers; then
        executor=docker
    elif [ "$executor" = docker ]; then
        die "Docker does not answer; start it, or use --executor sandbox"
    else
        executor=sandbox
    fi
    case "$executor" in
        docker) scripts/setup-images.sh ;;
        sandbox) scripts/setup-sandbox.sh ;;
    esac
    have python3 || apt_install python3
    log "building (a few minutes the first time)"
    make --no-print-directory release
    exec python3 scripts/demo.py --executor "$executor" --runtime "$REPO_DIR/bin/runtime"
}

main "$@"
