#!/usr/bin/env bash
# golangci-lint (formatting included), go vet and shellcheck; in CI also that nothing is left to tidy or to generate.
# `lint.sh fmt` formats instead.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib.sh"
cd "$here/../.."
"$here/install.sh" lint

status=0
mapfile -t modules < <(go list -m -f '{{.Dir}}')
if [[ ${1:-} == fmt ]]; then
  exec "$(tool golangci-lint)" fmt "${modules[@]}" deployments/tools
fi
"$(tool golangci-lint)" run "${modules[@]/%//...}" || status=1
go vet work || status=1
(cd deployments/tools && GOWORK=off go vet ./... && GOWORK=off "$(tool golangci-lint)" run) || status=1
shellcheck -x -P SCRIPTDIR deployments/local/*.sh .ci/run || status=1

if [[ ${CI:-} == true ]]; then
  for module in "${modules[@]}" "$PWD/deployments/tools"; do
    GOWORK=off go -C "$module" mod tidy -diff || { echo "make tidy has something to do in $module" && status=1; }
  done
  go work sync
  go generate work
  git diff --exit-code || { echo "make tidy or go generate work has something to do" && status=1; }
fi
exit $status
