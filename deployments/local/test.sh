#!/usr/bin/env bash
# Runs every test of the workspace under the race detector, against real servers that it starts and ends itself.
#
#   test.sh [--without-servers] [flags of go test...]
#
# The last line is `N passed, N failed, N skipped`. In CI (CI=true) a skipped test is a failure, as is a server that
# cannot be installed; elsewhere the tests that need it are skipped. The events of the run and, after a failure, the
# logs of the servers stay in data/test.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib.sh"
cd "$here/../.."

strict=() servers=yes
if [[ ${CI:-} == true ]]; then strict=(-strict); fi
if [[ ${1:-} == --without-servers ]]; then
  shift
  servers='' strict=()
  unset TEST_RABBITMQ_URL TEST_S3_ENDPOINT TEST_VERSITYGW_ENDPOINT TEST_POSTGRES_URL
fi
if [[ -n $servers ]]; then
  "$here/install.sh" || [[ ${CI:-} != true ]] || exit 1
else
  "$here/install.sh" docs race || true
fi
if ! has_websocket node; then PATH=$(dirname "$(tool node)"):$PATH; fi

results=$PWD/data/test
rm -rf "$results"
mkdir -p "$results"
if [[ -n $servers ]]; then
  dir=$(mktemp -d "${TMPDIR:-/tmp}/imagebatch-test.XXXXXX")
  trap '"$here/servers.sh" stop "$dir"; rm -rf "$dir"' EXIT
  trap 'exit 130' INT TERM HUP
  "$here/servers.sh" start "$dir"
  # shellcheck source=/dev/null
  . "$dir/env"
fi

testsum=$results/testsum
GOWORK=off go -C deployments/tools build -o "$testsum" ./testsum

# The end-to-end tests start first because they take longest, and mostly wait: four of a package run at a time. `make lint`
# does what `go test` would vet.
run() {
  local status=0
  CGO_ENABLED=1 go test -json -race -vet=off -parallel=4 -shuffle=on -timeout=20m "$@" ./deployments/standalone work || status=1
  GOWORK=off go -C deployments/tools test -json "$@" ./... || status=1
  GOWORK=off go -C deployments/helm test -json -count=1 "$@" ./... || status=1
  return $status
}
status=0
run "$@" | "$testsum" "${strict[@]}" -log "$results/events.json" || status=1
if ((status)) && [[ -n $servers ]]; then cp -r "$dir/log" "$results/servers"; fi
exit $status
