#!/usr/bin/env bash
# Runs the Go benchmarks of the workspace with servers that it starts and stops itself: bench.sh [flags of go test...]
# With -count=6 or more, benchstat can compare the output.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."

"$here/install.sh" rabbitmq minio
dir=$(mktemp -d "${TMPDIR:-/tmp}/imagebatch-bench.XXXXXX")
trap '"$here/servers.sh" stop "$dir"; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM HUP
"$here/servers.sh" start "$dir" rabbitmq minio
# shellcheck source=/dev/null
. "$dir/env"
go test -run='^$' -bench=. -benchmem "$@" work
