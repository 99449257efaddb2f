#!/bin/bash
# Runs the program of Debian's root file system that has the name of this script. install.sh copies this script there and
# links to it. The program has this machine's processes, network, devices and folders, except those that belong to the
# system: the mounts end with the program. PostgreSQL's servers run as the file system's user postgres.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
export DEBIAN_ROOT=$here/../root DEBIAN_PROGRAM=${0##*/}
# shellcheck disable=SC2016 # The inner shell expands it.
exec unshare --mount --propagation private /bin/bash -c '
  set -euo pipefail
  for folder in /*/; do
    folder=${folder%/}
    case $folder in /bin | /boot | /etc | /lib* | /lost+found | /sbin | /usr | /var) continue ;; esac
    [[ ! -L $folder ]] || continue
    mkdir -p "$DEBIAN_ROOT$folder"
    mount --rbind "$folder" "$DEBIAN_ROOT$folder"
  done
  mount --bind /var/tmp "$DEBIAN_ROOT/var/tmp"
  mount --bind /etc/hosts "$DEBIAN_ROOT/etc/hosts"
  as=()
  for program in "$DEBIAN_ROOT"/usr/lib/{rabbitmq,postgresql/*}/bin/"$DEBIAN_PROGRAM" "$DEBIAN_ROOT/usr/bin/$DEBIAN_PROGRAM"; do
    [[ ! -e $program && ! -L $program ]] || break
  done
  case $DEBIAN_PROGRAM in initdb | postgres) as=(setpriv --reuid=postgres --regid=postgres --clear-groups) ;; esac
  root=$DEBIAN_ROOT program=${program#"$DEBIAN_ROOT"}
  unset DEBIAN_ROOT DEBIAN_PROGRAM
  PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin exec chroot "$root" env --chdir="$PWD" "${as[@]}" "$program" "$@"
' "$0" "$@"
