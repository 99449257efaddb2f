#!/usr/bin/env bash
# Checks the modules in the module cache against their checksums, and looks for known vulnerabilities in what the programs
# call, by govulncheck. It needs the database at vuln.go.dev.
#
#   vuln.sh [--if-reachable]    where the database does not answer, that is said and is no failure
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib.sh"
cd "$here/../.."

mapfile -t modules < <(go list -m -f '{{.Dir}}')
go mod verify >/dev/null # of the whole workspace

database=${GOVULNDB:-https://vuln.go.dev}
if [[ ${1:-} == --if-reachable ]] && [[ $database == http* ]] &&
  ! curl --silent --fail --max-time 20 --output /dev/null "$database/index/db.json"; then
  echo "vulnerabilities not looked for: $database does not answer"
  exit 0
fi
"$here/install.sh" vuln
for module in "${modules[@]}"; do
  (cd "$module" && GOWORK=off "$(tool govulncheck)" -db "$database" ./...)
done
