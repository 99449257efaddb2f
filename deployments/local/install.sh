#!/usr/bin/env bash
# Installs what the tests, the linters and a local run need, unless it is already installed.
#
#   install.sh [WHAT...]    rabbitmq minio versitygw postgres seaweedfs   one server each
#                           servers   all four
#                           haproxy   a load balancer for servers in a cluster, and openssl for their certificates
#                           network   ip, for networks on one machine
#                           docs      exiftool, exiv2, Python with requests and websockets, curl, Node.js: they read our output;
#                                     cjpeg and djpeg: they are compared with our JPEG decoder; promtool:
#                                     it checks our metrics and alerts; nginx and Caddy: they run the
#                                     configurations of docs/operations.md
#                           browser   Chromium, Node.js, playwright-core and axe-core, which test the console
#                           llama     llama.cpp's llama-server, which the vision client is tested with
#                           panels    Prometheus, and Python with matplotlib: they draw the panels of the dashboards
#                           bench     exiftool and libjpeg-turbo's programs, with which the benchmark compares
#                           race      a C compiler, which the race detector needs
#                           gotestsum a tool that prints the test results
#                           lint      golangci-lint, Vale, Redocly CLI and shellcheck
#                           vuln      govulncheck
#                           sbom      cyclonedx-gomod
#                           kube      etcd and kube-apiserver, in which the chart is installed
#                           (nothing) servers docs browser llama network bench race
#
# On Debian or Ubuntu, as root, packages are installed by apt-get, and their services are not started. RabbitMQ and PostgreSQL
# come from Debian 13 or, with DEBIAN_SUITE=sid, from Debian's unstable suite: where this machine is another one, they are
# installed in a root file system, in a minute, once. Go programs (MinIO,
# versitygw, golangci-lint, gotestsum) are built once, in some minutes each, from the versions that our go.mod and go.sum files
# pin, and kept by version in ${IMAGEBATCH_CACHE:-~/.cache/imagebatch}, like the npm packages, which npm installs from their lock files.
# llama-server and all that it needs come from Debian's unstable suite and are unpacked there, in half a minute, once; this
# needs no root. A server is not installed if a TEST_ variable points to one.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib.sh"

debian_keys=/usr/share/keyrings/debian-archive-keyring.gpg
packages=() modules=() missing=() npm=() node='' llama='' root_needed=''

# need COMMAND PACKAGE... requests the packages if the command is missing.
need() {
  command -v "$1" >/dev/null || packages+=("${@:2}")
}

need_module() {
  [[ -x $(tool "$1") ]] || modules+=("$1")
}

# need_npm requests the npm packages of a folder.
need_npm() {
  if ! [[ -x $(tool "$1") ]]; then
    need npm nodejs npm
    npm+=("$1")
  fi
}

# need_node requests a Node.js with a WebSocket. Node.js 18 of Debian 12 has none, and is too old for Redocly CLI.
need_node() {
  if ! has_websocket node && ! has_websocket "$(tool node)"; then
    need npm nodejs npm
    node=yes
  fi
}

need_server() {
  if given "$1" >/dev/null; then return; fi
  need curl curl ca-certificates
  case $1 in
  rabbitmq | postgres) installed "$1" || need_debian ;;
  minio | versitygw | seaweedfs) need_module "$1" ;;
  esac
}

# need_debian requests RabbitMQ and PostgreSQL: from the machine's own packages, or in a root file system of the suite.
need_debian() {
  if packaged; then
    packages+=(rabbitmq-server postgresql)
  else
    root_needed=yes
    need debootstrap debootstrap debian-archive-keyring
    need unshare util-linux mount
  fi
}

python_has_clients() {
  local python=/usr/bin/python3
  [[ -x $python ]] || python=python3
  "$python" -c 'import importlib.util as u, sys
sys.exit(any(u.find_spec(m) is None for m in ("requests", "websockets")))' 2>/dev/null
}

[[ $# -gt 0 ]] || set -- servers docs browser llama network bench race
for what; do
  case $what in
  servers) for server in rabbitmq minio versitygw postgres; do need_server "$server"; done ;;
  haproxy)
    need haproxy haproxy
    need openssl openssl
    ;;
  network) need ip iproute2 ;;
  rabbitmq | minio | versitygw | postgres | seaweedfs) need_server "$what" ;;
  docs)
    need exiftool libimage-exiftool-perl
    need exiv2 exiv2
    need djpeg libjpeg-turbo-progs
    need promtool prometheus
    need nginx nginx
    need caddy caddy
    need curl curl ca-certificates
    need unzip unzip
    need_node
    python_has_clients || packages+=(python3 python3-requests python3-websockets)
    ;;
  browser)
    # Its text needs fonts, which Debian's package only recommends.
    browser >/dev/null || packages+=("$([[ ${HEADFUL:-} ]] && echo chromium || echo chromium-headless-shell)" fonts-dejavu-core fonts-liberation)
    need_node
    need_npm console
    ;;
  llama)
    if ! given llama-server >/dev/null && ! installed llama-server; then
      llama=yes
      [[ -r $debian_keys ]] || packages+=(debian-archive-keyring)
    fi
    ;;
  panels)
    need prometheus prometheus
    /usr/bin/python3 -c 'import matplotlib, PIL, requests, websockets, yaml' 2>/dev/null ||
      packages+=(python3 python3-matplotlib python3-pil python3-requests python3-websockets python3-yaml)
    need curl curl ca-certificates
    ;;
  bench)
    need exiftool libimage-exiftool-perl
    need djpeg libjpeg-turbo-progs
    ;;
  race) need "$(go env CC)" gcc libc6-dev ;;
  lint)
    need_module golangci-lint
    need_module vale
    need "$(go env CC)" gcc libc6-dev # Vale parses source code with C libraries
    need shellcheck shellcheck
    need_node
    need_npm redocly
    ;;
  gotestsum) need_module gotestsum ;;
  vuln) need_module govulncheck ;;
  sbom) need_module cyclonedx-gomod ;;
  kube)
    need_module etcd
    need_module kube-apiserver
    ;;
  *) die "unknown: $what (see the top of $0)" ;;
  esac
done

# apt_install installs a temporary policy-rc.d that keeps dpkg from starting services. An existing one is not changed,
# unless a killed run of this script left it behind.
apt_install() {
  local policy=/usr/sbin/policy-rc.d mark='Written by install.sh of Imagebatch for one apt-get.'
  mkdir -p "$cache"
  exec 8>"$cache/apt.lock"
  flock 8
  if [[ ! -e $policy ]] || grep -qF "$mark" "$policy"; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\n# %s\nexit 101\n' "$mark" >"$policy"
    chmod 755 "$policy"
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get -o DPkg::Lock::Timeout=900 -q update >"$cache/apt.log" 2>&1 &&
    apt-get -o DPkg::Lock::Timeout=900 -q -y install --no-install-recommends "$@" 8>&- >>"$cache/apt.log" 2>&1
}

if ((${#packages[@]})); then
  mapfile -t packages < <(printf '%s\n' "${packages[@]}" | sort -u)
  if command -v apt-get >/dev/null && [[ $(id -u) == 0 ]]; then
    echo "installing ${packages[*]}" >&2
    if ! apt_install "${packages[@]}"; then
      tail -20 "$cache/apt.log" >&2
      missing+=("${packages[@]}")
    fi
  else
    missing+=("${packages[@]}")
  fi
fi

# debian_install installs the servers in a root file system of the suite, with a script for each of their programs.
# The script sees this machine's folders in a mount namespace of its own, so that no mount stays behind.
debian_install() {
  local target=$cache/debian-$suite staging name
  mkdir -p "$cache"
  exec 9>"$cache/debian-$suite.lock"
  flock 9
  installed rabbitmq && installed postgres && return
  staging=$(mktemp -d "$cache/building.XXXXXX") || return 1 # the caller tests the status, so Bash ignores -e here
  echo "installing RabbitMQ and PostgreSQL of Debian $suite in $target (a minute, once)" >&2
  if ! debootstrap --variant=minbase --include=rabbitmq-server,postgresql "$suite" "$staging/root" \
    "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" >"$staging/log" 2>&1 9>&-; then
    tail -20 "$staging/log" >&2
    rm -rf "$staging"
    return 1
  fi
  rm -rf "$staging"/root/var/{cache/apt,lib/apt/lists}/* "$staging"/root/usr/share/{doc,man,locale}/*
  touch "$staging/root/etc/hosts" # debootstrap leaves it out
  install -D -m 755 "$here/debian-root.sh" "$staging/bin/debian-root.sh" || return 1
  for name in "$staging"/root/usr/lib/{rabbitmq/bin,postgresql/*/bin}/* "$staging/root/usr/bin/epmd"; do
    ln -s debian-root.sh "$staging/bin/${name##*/}"
  done
  chmod 755 "$staging"
  rm -rf "$target"
  mv "$staging" "$target"
}

if [[ -n $root_needed ]]; then
  if [[ $(id -u) != 0 ]] || ! debian_install; then missing+=("RabbitMQ 4 and PostgreSQL 17"); fi
fi

# go_install NAME builds a pinned tool in a temporary folder and moves it into place. Go names etcd's program "server".
go_install() {
  local target staging flags=()
  target=$(dirname "$(tool "$1")")
  mkdir -p "$cache"
  staging=$(mktemp -d "$cache/building.XXXXXX")
  echo "building $1 $(pinned "$1") (minutes, once)" >&2
  # Helm compares the version of the server with the chart's kubeVersion. A build from the module does not contain it.
  if [[ $1 == kube-apiserver ]]; then flags=(-ldflags="-X=k8s.io/component-base/version.gitVersion=$(pinned "$1")"); fi
  if GOWORK=off CGO_ENABLED=$([[ $1 == vale ]] && echo 1 || echo 0) GOBIN=$staging/bin go -C "$(module_of "$1")" install -trimpath "${flags[@]}" tool >"$staging/log" 2>&1; then
    mkdir -p "$target"
    mv -f "$staging"/bin/* "$target/$1"
    rm -rf "$staging"
  else
    tail -20 "$staging/log" >&2
    rm -rf "$staging"
    return 1
  fi
}

for module in "${modules[@]}"; do
  go_install "$module" || missing+=("$module")
done

if [[ -n $node ]]; then
  echo "installing Node.js $NODE_VERSION" >&2
  mkdir -p "$cache/node-$NODE_VERSION"
  if ! npm install --silent --no-fund --no-audit --prefix "$cache/node-$NODE_VERSION" "node@$NODE_VERSION" >&2 ||
    ! has_websocket "$(tool node)"; then
    missing+=("Node.js 20.10 or later")
  fi
fi

# npm_install NAME installs the packages of a lock file in a temporary folder and moves it into place.
npm_install() {
  local target staging
  target=$cache/$1-$(pinned "$1")
  mkdir -p "$cache"
  staging=$(mktemp -d "$cache/building.XXXXXX")
  echo "installing the npm packages of $1 $(pinned "$1")" >&2
  cp "$(module_of "$1")"/package*.json "$staging/"
  if npm ci --silent --no-fund --no-audit --ignore-scripts --prefix "$staging" >&2; then
    rm -rf "$target"
    mv "$staging" "$target"
  else
    rm -rf "$staging"
    return 1
  fi
}

for name in "${npm[@]}"; do
  npm_install "$name" || missing+=("the npm packages of $name")
done

# llama_install unpacks llama-server and the packages that it depends on. apt-get checks their signatures. It has folders of
# its own, so that it knows of no installed package and changes none.
llama_install() {
  local target staging
  target=$(dirname "$(tool llama-server)")
  mkdir -p "$cache"
  exec 7>"$cache/llama.cpp-sid.lock"
  flock 7
  ! installed llama-server || return 0
  staging=$(mktemp -d "$cache/building.XXXXXX") || return 1 # the caller tests the status, so Bash ignores -e here
  echo "unpacking llama.cpp of Debian sid in $target (half a minute, once)" >&2
  mkdir -p "$staging"/apt/{state/lists,cache/archives}/partial "$staging/root"
  touch "$staging/apt/status"
  echo "deb [signed-by=$debian_keys] ${DEBIAN_MIRROR:-http://deb.debian.org/debian} sid main" >"$staging/apt/sources.list"
  cat >"$staging/apt/conf" <<TEXT
Dir::Etc::SourceList "$staging/apt/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State "$staging/apt/state";
Dir::State::Status "$staging/apt/status";
Dir::Cache "$staging/apt/cache";
APT::Sandbox::User "";
APT::Install-Recommends "false";
Acquire::Languages "none";
TEXT
  if APT_CONFIG=$staging/apt/conf apt-get -q update >"$staging/log" 2>&1 &&
    APT_CONFIG=$staging/apt/conf apt-get -q -y --download-only install llama.cpp-tools >>"$staging/log" 2>&1 &&
    printf '%s\0' "$staging"/apt/cache/archives/*.deb | xargs -0 -I{} dpkg-deb -x {} "$staging/root" >>"$staging/log" 2>&1 &&
    install -m 755 "$here/llama-server.sh" "$staging/" && "$staging/llama-server.sh" --version >>"$staging/log" 2>&1; then
    rm -rf "$staging/apt" "$staging"/root/usr/share
    chmod 755 "$staging"
    rm -rf "$target"
    mv "$staging" "$target"
  else
    tail -20 "$staging/log" >&2
    rm -rf "$staging"
    return 1
  fi
}

if [[ -n $llama ]]; then
  if ! command -v apt-get >/dev/null || ! llama_install; then missing+=("llama-server"); fi
fi

if ((${#missing[@]})); then
  cat >&2 <<TEXT

Missing here: ${missing[*]}

On Debian or Ubuntu, run this script as root to install them. On other systems, install them yourself, or point the
tests to existing servers, which are then neither installed nor started (the last two are programs that a test starts):

  TEST_RABBITMQ_URL=amqp://user:password@host:5672/
  TEST_S3_ENDPOINT=http://host:9000  TEST_S3_ACCESS_KEY=...  TEST_S3_SECRET_KEY=...
  TEST_VERSITYGW_ENDPOINT=http://host:7070  (the same keys)
  TEST_POSTGRES_URL=postgres://user:password@host:5432/database
  TEST_LLAMA_SERVER=/path/of/llama-server
  TEST_CHROMIUM=/path/of/chromium

TEXT
  exit 1
fi
