#!/usr/bin/env bash
# Runs each fuzz target of the workspace for a time, two packages concurrently, each with half of the processors:
# fuzz.sh [TIME, 5s]. Go stores a failing input under the package's testdata/fuzz, where it makes `make test` fail.
# The last line is `N passed, N failed, N skipped`. It counts targets; a package that does not build counts as one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
dir=$(mktemp -d "${TMPDIR:-/tmp}/imagebatch-fuzz.XXXXXX")
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM HUP

# Until Go 1.27, the end of -fuzztime can be reported as a failure because of a race in Go (go.dev/issue/75804). An output
# with only this error, and without a failing input, is not a failure.
time_is_up() {
  grep -qx '    context deadline exceeded' <<<"$1" && ! grep -qE 'Failing input written|panic:|DATA RACE|_test\.go:' <<<"$1"
}

# fuzz DIR TIME FOLDER builds the tests of a package once and runs its targets one after the other.
fuzz() {
  local package workers target output
  workers=$((($(nproc) + 1) / 2))
  if ! package=$(go list "$3") || ! output=$(go test -c -vet=off -fuzz=. -o "$1/${package//\//-}" "$3" 2>&1); then
    printf '%s\nFAIL  %s\n' "${output:-}" "$3"
    return
  fi
  sed -nE 's/^func (Fuzz[A-Z_0-9][A-Za-z_0-9]*).*/\1/p' "$3"/*_test.go | while read -r target; do
    if output=$(cd "$3" && "$1/${package//\//-}" -test.run='^$' -test.fuzz="^$target\$" -test.fuzztime="$2" -test.fuzzminimizetime=10s \
      -test.parallel=$workers -test.fuzzcachedir="$(go env GOCACHE)/fuzz/$package" 2>&1 </dev/null) || time_is_up "$output"; then
      echo "pass  $package $target $2"
    else
      printf '%s\nFAIL  %s\n' "$output" "$package $target"
    fi
  done
}
export -f fuzz time_is_up

mapfile -t modules < <(go list -m -f '{{.Dir}}')
grep -rlE '^func Fuzz[A-Z_0-9]' --include='*_test.go' "${modules[@]}" | xargs -n1 dirname | sort -u |
  xargs -P2 -I{} bash -c 'fuzz "$@"' - "$dir" "${1:-5s}" {} | tee "$dir/results"
passed=$(grep -c '^pass  ' "$dir/results" || true) failed=$(grep -c '^FAIL  ' "$dir/results" || true)
echo "$passed passed, $failed failed, 0 skipped"
((failed == 0 && passed > 0))
