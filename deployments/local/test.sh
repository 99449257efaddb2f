#!/usr/bin/env bash
# Runs every test of the workspace with the race detector, with real servers that it starts and stops itself.
#
#   test.sh [--without-servers] [flags of go test...]
#
# The last line is `N passed, N failed, N skipped`. In CI (CI=true), a skipped test and a server that cannot be installed
# are failures. Otherwise, the tests that need that server are skipped. The events of the run and, after a failure, the
# logs of the servers stay in data/test.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib.sh"
cd "$here/../.."

strict='' servers=yes
if [[ ${CI:-} == true ]]; then strict=yes; fi
if [[ ${1:-} == --without-servers ]]; then
  shift
  servers='' strict=''
  unset TEST_RABBITMQ_URL TEST_S3_ENDPOINT TEST_VERSITYGW_ENDPOINT TEST_POSTGRES_URL TEST_LLAMA_SERVER
fi
"$here/install.sh" gotestsum
if [[ -n $servers ]]; then
  "$here/install.sh" || [[ ${CI:-} != true ]] || exit 1
else
  "$here/install.sh" docs browser network race || true
fi
if ! has_websocket node; then PATH=$(dirname "$(tool node)"):$PATH; fi
postgres=$(postgres_bin)
PATH=${postgres:+$postgres:}$PATH # for the test that runs pg_dump

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
  if installed llama-server; then export TEST_LLAMA_SERVER=${TEST_LLAMA_SERVER:-$(tool llama-server)}; fi
fi

# The end-to-end tests start first because they take the longest. Three tests of a package run concurrently, because some
# wait; with more, two processors are so busy that time limits of tests expire. `make lint` includes the checks of go vet.
# Programs without debugging information are linked faster.
run() {
  local status=0
  GOWORK=off go -C deployments/helm test -json -vet=off -count=1 "$@" ./... >"$results/helm.json" &
  CGO_ENABLED=1 go test -json -race -ldflags=-w -vet=off -parallel=3 -shuffle=on -timeout=45m "$@" ./deployments/standalone work || status=1
  wait $! || status=1
  cat "$results/helm.json" && rm "$results/helm.json"
  return $status
}

# summary STATUS counts the tests and subtests that have no subtests of their own. Any other failure (a package that does
# not build, a panic, a parent test, a run that ends early) counts as one.
summary() {
  awk -v status="$1" '
    function field(name) {
      if (!match($0, "\"" name "\":\"([^\"\\\\]|\\\\.)*\"")) return ""
      return substr($0, RSTART + length(name) + 4, RLENGTH - length(name) - 5)
    }
    { action = field("Action"); package = field("Package"); test = field("Test") }
    action == "run" { for (t = test; sub("/[^/]*$", "", t);) parents[package, t] }
    action == "pass" && test != "" && !((package, test) in parents) { passed++ }
    action == "skip" && test != "" { skipped++ }
    action == "fail" {
      if (!((package, test) in counted)) failed++
      for (t = test; sub("/[^/]*$", "", t);) counted[package, t]
      counted[package, ""]
    }
    END { printf "%d passed, %d failed, %d skipped\n", passed, failed + (status && !failed), skipped }' "$results/events.json"
}

status=0
"$here/mutants.sh" --check || status=1
run "$@" | "$(tool gotestsum)" --format=pkgname --format-hide-empty-pkg --jsonfile="$results/events.json" --raw-command -- cat || status=1
if ((status)) && [[ -n $servers ]]; then cp -r "$dir/log" "$results/servers"; fi
line=$(summary $status)
echo "$line"
if [[ $line == '0 passed'* || -n $strict && $line != *' 0 skipped' ]]; then status=1; fi
exit $status
