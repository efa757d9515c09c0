#!/usr/bin/env bash
# What one thread of hits holds, and what two do: a small table, in about a minute once the release build is there. Needs
# two cores that have nothing else to do; nothing is asserted.
set -eu
cd "$(dirname "$0")/../.."
exec cargo bench --quiet --bench scale </dev/null
