#!/usr/bin/env bash
# Writes a bill of materials in CycloneDX JSON next to each program in bin/, and checks that it names every module in the
# program's build information.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib.sh"
cd "$here/../.."
"$here/install.sh" sbom

for program in gateway analyzer processor standalone imagebatch; do
  bill=bin/$program.cdx.json
  "$(tool cyclonedx-gomod)" bin -json -licenses -output "$bill" "bin/$program" 2>/dev/null || die "no bill for $program"
  count=0
  while read -r path version; do
    # Our own modules come from folders and have no version.
    if [[ $path == github.com/imagebatch/* ]]; then continue; fi
    grep -qF "pkg:golang/$path@$version?" "$bill" || die "$bill does not name $path $version"
    count=$((count + 1))
  done < <(go version -m "bin/$program" | awk '$1 == "dep" { print $2, $3 }')
  ((count > 0)) || die "bin/$program names no modules"
  echo "$bill: $count modules"
done
