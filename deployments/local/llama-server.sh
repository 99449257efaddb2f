#!/bin/bash
# Runs the llama-server of Debian's packages that install.sh unpacked next to this script, with their own C library, so
# that it needs no root and no root file system. llama.cpp finds its CPU backends in the working folder, so the paths in
# its arguments must be absolute.
set -euo pipefail
root=$(dirname "$(readlink -f "$0")")/root
libraries=("$root"/usr/lib/*-linux-gnu*)
loader=("${libraries[0]}"/ld-linux*.so.*)
cd "${libraries[0]}"/ggml/backends*
exec "${loader[0]}" --library-path "${libraries[0]}:${libraries[0]}/llama" "$root/usr/bin/llama-server" "$@"
