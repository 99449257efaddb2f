#!/usr/bin/env bash
# Runs the Go benchmarks of the workspace with servers that it starts and stops itself.
#
#   bench.sh [--compare=COMMIT] [flags of go test...]
#
# With --compare, it runs them in a commit and in the working tree in turn, and benchstat compares the results.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."

base=''
if [[ ${1:-} == --compare=* ]]; then
  base=${1#*=}
  shift
fi
"$here/install.sh" rabbitmq minio
dir=$(mktemp -d "${TMPDIR:-/tmp}/imagebatch-bench.XXXXXX")
trap '"$here/servers.sh" stop "$dir"; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM HUP
"$here/servers.sh" start "$dir" rabbitmq minio
# shellcheck source=/dev/null
. "$dir/env"
if [[ -n $base ]]; then
  go run ./deployments/bench -compare="$base" -- "$@"
else
  go test -run='^$' -bench=. -benchmem "$@" work
fi
