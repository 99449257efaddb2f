#!/usr/bin/env bash
# Checks the modules in the module cache against their checksums, and runs govulncheck, which reports known vulnerabilities
# in the functions that the programs call. It needs the database at vuln.go.dev.
#
#   vuln.sh [--if-reachable]    succeeds with a message if the database is unavailable
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib.sh"
cd "$here/../.."

mapfile -t modules < <(go list -m -f '{{.Dir}}')
go mod verify >/dev/null # of the whole workspace

database=${GOVULNDB:-https://vuln.go.dev}
if [[ ${1:-} == --if-reachable ]] && [[ $database == http* ]] &&
  ! curl --silent --fail --max-time 20 --output /dev/null "$database/index/db.json"; then
  echo "vulnerability check skipped: $database is unavailable"
  exit 0
fi
"$here/install.sh" vuln
for module in "${modules[@]}"; do
  workspace=off
  # Only the workspace resolves the versions of our modules that the command line requires.
  if [[ $module == */client/cmd/imagebatch ]]; then workspace=; fi
  (cd "$module" && GOWORK=$workspace "$(tool govulncheck)" -db "$database" ./...)
done
