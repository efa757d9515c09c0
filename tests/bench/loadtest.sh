#!/usr/bin/env bash
# What a journey a hit costs the agent, at 1,000 journeys a second through one program: a small table, in about a minute
# once the release build is there. Needs a machine that has nothing else to do; nothing is asserted.
set -eu
cd "$(dirname "$0")/../.."
cargo build --quiet --release --example magnum_api
exec cargo bench --quiet --bench loadtest </dev/null
