#!/usr/bin/env bash
# Tests the tests: breaks the code in the ways that deployments/tools/mutants/catalogue lists, one by one and in a copy,
# and shows which test catches each. mutants.sh [NAME...] takes these only. The last line is `N caught, N survived`.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib.sh"
cd "$here/../.."

"$here/install.sh" rabbitmq
mkdir -p data
dir=$(mktemp -d "${TMPDIR:-/tmp}/imagebatch-mutants.XXXXXX")
trap '"$here/servers.sh" stop "$dir"; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM HUP
"$here/servers.sh" start "$dir" rabbitmq
# shellcheck source=/dev/null
. "$dir/env"
GOWORK=off go -C deployments/tools build -o "$dir/mutants" ./mutants
"$dir/mutants" "$@"
