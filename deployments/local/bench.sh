#!/usr/bin/env bash
# Runs the Go benchmarks of the workspace with servers that it starts and stops itself.
#
#   bench.sh [--compare=COMMIT] [flags of go test...]
#   bench.sh --scale
#
# With --compare, it runs them in a commit and in the working tree in turn, and benchstat compares the results. With
# --scale, it runs no benchmarks, but measures the gateway with a million jobs, into docs/performance.md.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."

base='' servers=(rabbitmq minio) scale=''
if [[ ${1:-} == --scale ]]; then scale=yes servers=(postgres); fi
if [[ ${1:-} == --compare=* ]]; then
  base=${1#*=}
  shift
fi
"$here/install.sh" "${servers[@]}"
dir=$(mktemp -d "${TMPDIR:-/tmp}/imagebatch-bench.XXXXXX")
trap '"$here/servers.sh" stop "$dir"; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM HUP
"$here/servers.sh" start "$dir" "${servers[@]}"
# shellcheck source=/dev/null
. "$dir/env"
if [[ -n $scale ]]; then
  BENCH_SCALE=$PWD/docs/performance.md go test -run='^TestScale$' -count=1 -v -timeout=20m ./gateway
elif [[ -n $base ]]; then
  go run ./deployments/bench -compare="$base" -- "$@"
else
  go test -run='^$' -bench=. -benchmem "$@" work
fi
