#!/usr/bin/env bash
# Runs golangci-lint (with the formatting and all analyzers of go vet), Vale on Markdown and Go comments, Redocly CLI on the descriptions of
# the API, and shellcheck; in CI, also checks that tidy and generate change no file.
# `lint.sh fmt` formats instead.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib.sh"
cd "$here/../.."
"$here/install.sh" lint

status=0
mapfile -t modules < <(go list -m -f '{{.Dir}}')
# A module outside the workspace, so that its dependencies do not affect the services.
apart=deployments/helm
if [[ ${1:-} == fmt ]]; then
  exec "$(tool golangci-lint)" fmt "${modules[@]}" "$apart"
fi
"$(tool golangci-lint)" run --allow-parallel-runners "${modules[@]/%//...}" || status=1
(cd "$apart" && GOWORK=off "$(tool golangci-lint)" run --allow-parallel-runners) || status=1
git ls-files -z '*.md' '*.go' | xargs -0 "$(tool vale)" --output=line || status=1
has_websocket node || PATH=$(dirname "$(tool node)"):$PATH
REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true "$(tool redocly)" lint --config deployments/tools/redocly/redocly.yaml docs/openapi.yaml docs/asyncapi.yaml || status=1
shellcheck -x -P SCRIPTDIR deployments/local/*.sh .ci/run || status=1

# Changes of the checks are reverted for the tests that follow, so the checks need a tree without other changes.
if [[ ${CI:-} == true ]]; then
  if ! git diff --quiet HEAD; then
    echo 'CI=true requires a checkout without changes' >&2
    exit 1
  fi
  { "${MAKE:-make}" --no-print-directory tidy && go generate work; } || status=1
  if ! git diff --exit-code HEAD; then
    echo 'make tidy or go generate work changes files' >&2
    git checkout --quiet HEAD -- .
    status=1
  fi
fi
exit $status
