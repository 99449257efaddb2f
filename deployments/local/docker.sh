#!/usr/bin/env bash
# Runs a command with Docker and Compose: docker.sh COMMAND [ARGUMENT...]
#
# If a Docker engine of a supported version runs here, its Compose is too, and Docker Hub responds, the command uses that engine
# and the real images. Otherwise, or with IMAGES=stand-ins, it gets an engine of its own: Docker and Compose of Debian 13, from a
# root file system that debootstrap creates once, and images that stand-ins.sh builds from Debian's packages and from Go modules.
# That engine needs Linux, root, debootstrap and unshare. It runs in namespaces of its own, so it shares no port, network, mount
# or process with this machine, and everything ends with the command.
#
# The command sees DOCKER_HOST, and OWN_ENGINE=yes if the engine is its own.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib.sh"

# The least versions that compose.yaml needs; docs/operations.md says why.
LEAST_ENGINE=25.0.0 LEAST_COMPOSE=2.24.0
packages=docker.io,docker-cli,docker-compose,iptables,iproute2,rabbitmq-server,postgresql,prometheus,busybox-static
root=$cache/debian-13-compose

at_least() {
  [[ -n $2 && $(printf '%s\n' "$1" "${2#v}" | sort -V | head -1) == "$1" ]]
}

# engine_runs reports whether the machine's own engine can run compose.yaml with the real images.
engine_runs() {
  [[ ${IMAGES:-} != stand-ins ]] &&
    at_least $LEAST_ENGINE "$(docker version --format '{{.Server.Version}}' 2>/dev/null)" &&
    at_least $LEAST_COMPOSE "$(docker compose version --short 2>/dev/null)" &&
    curl --silent --max-time 10 --output /dev/null https://registry-1.docker.io/v2/
}

# install_root creates the root file system, in about a minute.
install_root() {
  [[ ! -e $root/installed ]] || return 0
  [[ $(uname) == Linux && $(id -u) == 0 ]] || die "without a supported engine and Docker Hub, this needs Linux and root"
  if ! command -v debootstrap >/dev/null; then
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends debootstrap >&2 || die "debootstrap is not installed"
  fi
  echo "installing Docker and the servers of Debian 13 in $root" >&2
  mkdir -p "$cache"
  staging=$(mktemp -d "$cache/building.XXXXXX")
  debootstrap --variant=minbase --include=$packages trixie "$staging" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" >"$staging.log" 2>&1 ||
    { tail -20 "$staging.log" >&2 && die "debootstrap failed: see $staging.log"; }
  rm -rf "$staging"/var/cache/apt/archives/*.deb "$root"
  touch "$staging/installed"
  mv "$staging" "$root"
  rm "$staging.log"
}

# engine DIR runs dockerd in the root file system, which becomes the root of its mount namespace: Debian 13's programs need
# Debian 13's libraries. DIR and the repository have the same paths there, because Compose mounts files of the repository.
engine() {
  local dir=$1 path
  mount --make-rprivate /
  mount --bind "$root" "$dir/root"
  mount --rbind /sys "$dir/root/sys"
  mount --rbind /dev "$dir/root/dev"
  mount -t proc proc "$dir/root/proc"
  mount -t tmpfs tmpfs "$dir/root/run"
  mount -t tmpfs tmpfs "$dir/root/tmp"
  for path in "$dir/engine" "$(cd "$here/../.." && pwd)"; do
    mkdir -p "$dir/root$path"
    mount --bind "$path" "$dir/root$path"
  done
  mkdir -p "$dir/root/run/old"
  cd "$dir/root"
  pivot_root . run/old
  umount -l /run/old
  exec /usr/sbin/dockerd --host="unix://$dir/engine/docker.sock" --data-root="$dir/engine/data" --exec-root="$dir/engine/exec" \
    --pidfile="$dir/engine/pid" --cgroup-parent="/${dir##*/}" --ip6tables=false
}

# within DIR COMMAND... runs in the namespaces: it starts the engine, builds the images and runs the command.
within() {
  local dir=$1 status=0 pid deadline=$((SECONDS + 60))
  shift
  chroot "$root" ip link set lo up
  unshare --mount "${BASH_SOURCE[0]}" --engine "$dir" >"$dir/engine.log" 2>&1 &
  pid=$!
  export DOCKER_HOST=unix://$dir/engine/docker.sock DOCKER_CONFIG=$dir/config PATH=$dir/bin:$PATH OWN_ENGINE=yes
  mkdir -p "$dir/bin" "$dir/config"
  ln -s "$root/usr/bin/docker" "$dir/bin/docker"
  echo "{\"cliPluginsExtraDirs\": [\"$root/usr/libexec/docker/cli-plugins\"]}" >"$dir/config/config.json"
  until docker version >/dev/null 2>&1; do
    if [[ -z $(birth $pid) ]] || ((SECONDS > deadline)); then
      tail -20 "$dir/engine.log" >&2
      die "the engine does not start"
    fi
    sleep 0.2
  done
  trap 'exit 130' INT TERM HUP
  { "$here/stand-ins.sh" "$root" && "$@"; } || status=$?
  docker ps --all --quiet | xargs -r docker rm --force >/dev/null
  kill $pid
  wait $pid || true
  exit $status
}

case ${1:-} in
--engine) engine "$2" ;;
--within) within "${@:2}" ;;
'') die "docker.sh COMMAND [ARGUMENT...]" ;;
*)
  if engine_runs; then exec "$@"; fi
  install_root
  "$here/stand-ins.sh" --prepare "$root"
  dir=$(mktemp -d "${TMPDIR:-/tmp}/imagebatch-docker.XXXXXX")
  mkdir -p "$dir/root" "$dir/engine"
  status=0
  # A mount that is left would make the deletion reach what is mounted.
  trap 'grep -q " $dir/" /proc/mounts || rm -rf "$dir"; find /sys/fs/cgroup -depth -type d -path "*/${dir##*/}*" -exec rmdir {} + 2>/dev/null || true' EXIT
  # unshare ignores SIGTERM, and bash would wait for it before it runs a trap.
  unshare --net --pid --mount --fork --kill-child --mount-proc "${BASH_SOURCE[0]}" --within "$dir" "$@" <&0 &
  trap 'kill -KILL $!; wait $! 2>/dev/null || true; exit 130' INT TERM HUP
  wait $! || status=$?
  exit $status
  ;;
esac
