#!/usr/bin/env bash
# How soon the runner hits after its exec, and how much memory it takes at 1,000 hits a second: a small table, in
# about half a minute once the release build is there. A figure of a quiet machine; nothing is asserted.
set -eu
cd "$(dirname "$0")/../.."
exec cargo bench --quiet --bench startup </dev/null
