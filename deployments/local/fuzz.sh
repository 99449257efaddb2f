#!/usr/bin/env bash
# Runs each fuzz target of the workspace for a time, one after another: fuzz.sh [TIME, 5s].
# A find is kept by Go under the package's testdata/fuzz and fails `make test` from then on. The last line is
# `N passed, N failed, N skipped`, a target counting as one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
time=${1:-5s}
passed=0 failed=0

# Until Go 1.27 the end of -fuzztime can race with itself and be told as a failure (go.dev/issue/75804). Only that, with
# nothing found, is taken for the end of the time that it is.
time_is_up() {
  grep -qx '    context deadline exceeded' <<<"$1" && ! grep -qE 'Failing input written|panic:|DATA RACE|_test\.go:' <<<"$1"
}

mapfile -t modules < <(go list -m -f '{{.Dir}}')
mapfile -t folders < <(grep -rlE '^func Fuzz[A-Z_0-9]' --include='*_test.go' "${modules[@]}" | xargs -r -n1 dirname | sort -u)
for folder in "${folders[@]}"; do
  # What does not build fails here, and is told and counted.
  if ! list=$(go test -list '^Fuzz' "$folder"); then
    echo "$list"
    failed=$((failed + 1))
    continue
  fi
  while read -r target; do
    echo "fuzz  ${folder#"$PWD/"} $target $time"
    if output=$(go test -run='^$' -fuzz="^$target\$" -fuzztime="$time" -fuzzminimizetime=10s "$folder" 2>&1) ||
      time_is_up "$output"; then
      passed=$((passed + 1))
    else
      failed=$((failed + 1))
      echo "$output"
    fi
  done < <(grep '^Fuzz' <<<"$list")
done
echo "$passed passed, $failed failed, 0 skipped"
((failed == 0))
