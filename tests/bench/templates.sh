#!/usr/bin/env bash
# What values that change by hit cost: a small table, in about a minute once the release build is there. Nothing is
# asserted.
set -eu
cd "$(dirname "$0")/../.."
exec cargo bench --quiet --bench templates </dev/null
