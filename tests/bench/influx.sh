#!/usr/bin/env bash
# What writing points costs, against Debian's influxd: points a second, processor time a point of both sides, memory;
# beside the simplest client that there could be. A table in markdown, in about six minutes once the release build is
# there. Nothing is asserted.
#
#   tests/bench/influx.sh                        everything
#   tests/bench/influx.sh --reps 1 --seconds 5   roughly, in a minute
set -eu
cd "$(dirname "$0")/../.."
exec cargo bench --quiet --bench influx -- "$@" </dev/null
