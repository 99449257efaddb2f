#!/usr/bin/env bash
# Tests the tests: breaks the code in the ways that deployments/tools/mutants/catalogue lists, one at a time, in a copy of
# the checkout that includes uncommitted files, and shows which test catches each.
#
#   mutants.sh [NAME...]   try these mutants, or all; the last line is `N caught, N survived`
#   mutants.sh --check     only check that each mutant still applies and that its packages have tests
#
# A mutant is a diff that git applies. Before the diff, the file has one sentence that states what it breaks, and a line
# `test PACKAGE...`, optionally with -run=PATTERN. The tests must pass without any mutant. A mutant is caught only if a
# test fails. If it does not apply or build, or if its tests exceed the time limit or crash, it is a mistake in the
# catalogue. If there is a mistake or a survivor, this script exits with 1.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib.sh"
cd "$here/../.."

catalogue=deployments/tools/mutants/catalogue copy=$PWD/data/mutants
limit=1800 test_limit=180 # seconds for all mutants together, and for the tests of one package

# packages_of MUTANT and pattern_of MUTANT parse its line `test`.
packages_of() { sed -n 's/^test //p' "$1" | tr ' ' '\n' | grep -v '^-run='; }
pattern_of() { sed -n 's/^test .*-run=\([^ ]*\).*/\1/p' "$1"; }

# in_copy ARGUMENTS... runs git apply in the copy, which is not a repository.
in_copy() { GIT_CEILING_DIRECTORIES=${copy%/*} git -C "$copy" apply --unidiff-zero "$@"; }

if [[ ${1:-} == --check ]]; then
  status=0
  for mutant in "$catalogue"/*.diff; do
    git apply --check --unidiff-zero "$mutant" || { echo "$mutant does not apply" >&2 && status=1; }
    for package in $(packages_of "$mutant"); do
      compgen -G "$package/*_test.go" >/dev/null || { echo "$mutant: $package has no tests" >&2 && status=1; }
    done
  done
  exit $status
fi

if (($#)); then mutants=("${@/#/$catalogue/}") && mutants=("${mutants[@]/%/.diff}"); else mutants=("$catalogue"/*.diff); fi
"$here/install.sh" rabbitmq gotestsum
caught=0 survived=0 mistakes=0
dir=$(mktemp -d "${TMPDIR:-/tmp}/imagebatch-mutants.XXXXXX")
trap '"$here/servers.sh" stop "$dir"; rm -rf "$dir" "$copy"; echo "$caught caught, $survived survived"' EXIT
trap 'exit 130' INT TERM HUP
"$here/servers.sh" start "$dir" rabbitmq
# shellcheck source=/dev/null
. "$dir/env"

# The folder always has the same name, so that Go can use its cache.
rm -rf "$copy" && mkdir -p "$copy"
git ls-files -z --cached --others --exclude-standard | while IFS= read -rd '' file; do
  if [[ -e $file || -L $file ]]; then printf '%s\0' "$file"; fi
done | tar --create --null --files-from=- | tar --extract --directory="$copy"
for mutant in "${mutants[@]}"; do in_copy --check - <"$mutant" || die "$mutant does not apply"; done

# try PATTERN PACKAGE... runs tests in the copy until one fails, and sets verdict.
try() {
  local left=$((limit - SECONDS)) status=0 failed=''
  ((left > 0)) || die "time limit of $limit seconds exceeded"
  : >"$dir/events"
  (cd "$copy" && GOFLAGS='' timeout --kill-after=10 $((left < test_limit + 60 ? left : test_limit + 60)) \
    "$(tool gotestsum)" --format=pkgname --jsonfile="$dir/events" -- -vet=off -failfast -timeout=${test_limit}s -run="$1" "${@:2}") \
    >"$dir/output" 2>&1 || status=$?
  failed=$(sed -n '/"Action":"fail".*"Test":"/{s/.*"Test":"\([^"]*\)".*/\1/p;q}' "$dir/events")
  if ((status == 0)); then
    verdict="SURVIVED ($(grep -c '"Action":"skip".*"Test":' "$dir/events" || true) tests were skipped)"
  elif ((status == 124 || status == 137)) || grep -q '"Output":"panic: test timed out after ' "$dir/events"; then
    verdict='TIME LIMIT EXCEEDED'
  elif grep -qE '"Action":"build-fail"|"FailedBuild":' "$dir/events"; then
    verdict='DOES NOT BUILD'
  else
    verdict=${failed:+caught by $failed}
    verdict=${verdict:-CRASHED without a failed test}
  fi
}

for mutant in "${mutants[@]}"; do
  start=$SECONDS pattern=$(pattern_of "$mutant")
  mapfile -t list < <(packages_of "$mutant")
  # Without the mutant, most results are in Go's cache. A test that measures time may fail once on a busy machine.
  for _ in 1 2; do
    try "$pattern" "${list[@]}"
    [[ $verdict != SURVIVED* ]] || break
  done
  [[ $verdict == SURVIVED* ]] || { cat "$dir/output" && die "the tests of $mutant do not pass without it: $verdict"; }
  sed -n 's|^+++ b/||p' "$mutant" | tar -C "$copy" -cf "$dir/clean.tar" -T - # a reversed diff could match another place
  in_copy - <"$mutant"
  for package in "${list[@]}"; do
    try "$pattern" "$package"
    [[ $verdict == SURVIVED* ]] || break
  done
  tar -C "$copy" -xf "$dir/clean.tar"
  printf '%-28s %s\n%-28s %s, %ds\n' "$(basename "$mutant" .diff)" "$(sed '/^test /Q' "$mutant" | tr '\n' ' ')" '' "$verdict" $((SECONDS - start))
  case $verdict in
  caught*) caught=$((caught + 1)) ;;
  SURVIVED*) survived=$((survived + 1)) && cat "$dir/output" ;;
  *) mistakes=$((mistakes + 1)) && cat "$dir/output" ;;
  esac
done
((survived + mistakes == 0))
