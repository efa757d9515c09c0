#!/usr/bin/env bash
# canihaz and its peers side by side: a table in markdown on stdout, progress on stderr. Nothing is asserted.
#
#   tests/bench/peers.sh                    everything, in about half an hour on a quiet machine
#   tests/bench/peers.sh --quick            fewer rates, 3 repetitions: about 8 minutes
#   tests/bench/peers.sh --install          builds oha first where it isn't there; takes minutes
#   tests/bench/peers.sh --only cpu --rate 1000 --tools canihaz,wrk2 --reps 5 --seconds 8
#   tests/bench/peers.sh --only cpu --tools canihaz,again=target/release/canihaz
#                                           the same twice: how far apart is noise alone, now, on this machine
#   tests/bench/peers.sh --help             all options
#
# Installs wrk, h2load and ab with apt-get where they are missing, through sudo where it isn't root; where that can't
# be, it goes on with the peers that are there. wrk2, vegeta and k6 are taken when they are in PATH, or where
# WRK2=/path/to/wrk and the like say. nginx has to be there: tests/run installs it. Needs two cores. Relative paths in
# its arguments are relative to the repository.
set -eu
cd "$(dirname "$0")/../.."

tools=${CARGO_TARGET_DIR:-$PWD/target}/bench-tools
PATH=$PATH:$tools/bin
export PATH

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

# The packages of the peers that are missing, a line each.
missing_packages() {
    command -v wrk >/dev/null || echo wrk
    command -v h2load >/dev/null || echo nghttp2-client
    command -v ab >/dev/null || echo apache2-utils
}

install_packages() {
    echo "peers.sh: installing $*" >&2
    {
        as_root apt-get update -q </dev/null &&
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$@" </dev/null
    } >&2 || echo "peers.sh: going on without $*" >&2
}

missing=$(missing_packages)
if [ -n "$missing" ]; then
    # Words, not lines: one argument a package.
    # shellcheck disable=SC2086
    install_packages $missing
fi

case " $* " in
    *" --install "*)
        if ! command -v oha >/dev/null && [ -z "${OHA-}" ]; then
            echo "peers.sh: building oha into $tools" >&2
            cargo install oha --locked --no-default-features --features rustls --root "$tools" </dev/null >&2
        fi
        ;;
esac

# 2,000 connections, on both sides.
ulimit -n "$(ulimit -Hn)" || true

exec cargo bench --quiet --bench peers -- "$@" </dev/null
