#!/usr/bin/env bash
# Installs a stock gRPC client (Python's grpcio with reflection) into an environment of its own, for the test that drives
# the service from outside as grpcurl would. Prints the path of its Python.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

VENV="$CACHE_DIR/grpc-client"

usable() {
    [ -x "$VENV/bin/python" ] && "$VENV/bin/python" -c 'import grpc, grpc_reflection' 2>/dev/null
}

main() {
    hold_lock grpc-client
    if ! usable; then
        have python3 || apt_install python3
        python3 -c 'import ensurepip, venv' 2>/dev/null || apt_install python3-venv
        log "installing a stock gRPC client"
        rm -rf "$VENV"
        python3 -m venv "$VENV"
        "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check 'grpcio>=1.60' 'grpcio-reflection>=1.60' >&2
        usable || die "the gRPC client was installed into $VENV but does not import"
    fi
    echo "$VENV/bin/python"
}

main "$@"
