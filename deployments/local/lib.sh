# shellcheck shell=bash
# Sourced by the other scripts in this folder: the pinned tools, and functions that start and stop processes by their ID.

NODE_VERSION=22.23.3

cache=${IMAGEBATCH_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/imagebatch}

deployments=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# module_of NAME prints the folder of the module that pins a Go tool: its go.mod names the tool, and its go.sum lists all
# its dependencies. Each tool has a module of its own, so that tools do not affect each other's dependencies. For npm packages
# (redocly, console), package.json and package-lock.json do the same.
module_of() {
  case $1 in
  minio) echo "$deployments/minio" ;; # next to its Dockerfile, which builds the same version
  console) echo "$deployments/console" ;; # npm packages, next to the scenarios that import them
  *) echo "$deployments/tools/$1" ;;
  esac
}

# pinned NAME prints the version of a tool, for npm packages the versions that package.json names.
pinned() {
  if [[ -e $(module_of "$1")/package.json ]]; then
    sed -n '/"devDependencies"/,/}/s|.*": "\([0-9].*\)".*|\1|p' "$(module_of "$1")/package.json" | paste -sd -
    return
  fi
  awk '$1 == "tool" { tool = $2 } NF > 1 && $2 ~ /^v[0-9]/ && (tool "/") ~ "^" $1 "/" { print $2 }' "$(module_of "$1")/go.mod"
}

# tool NAME prints the path of a tool that install.sh installs.
tool() {
  case $1 in
  node) echo "$cache/node-$NODE_VERSION/node_modules/.bin/node" ;;
  redocly) echo "$cache/redocly-$(pinned redocly)/node_modules/.bin/redocly" ;;
  console) echo "$cache/console-$(pinned console)/node_modules" ;; # a folder of packages, for Node.js
  llama-server) echo "$cache/llama.cpp-sid/llama-server.sh" ;; # to update it, delete its folder
  *) echo "$cache/$1-$(pinned "$1")/$1" ;;
  esac
}

# RabbitMQ and PostgreSQL come from one Debian suite, so that all machines test the same versions: trixie (RabbitMQ 4.0,
# PostgreSQL 17) or, with DEBIAN_SUITE=sid, what comes next. A Debian of that age uses its own packages. Any other machine
# uses a root file system of the suite, whose programs are started by the scripts in debian_bin. To update one, delete its folder.
suite=${DEBIAN_SUITE:-trixie}
debian_bin=$cache/debian-$suite/bin

# packaged reports whether this machine's own packages are of the suite or, for trixie, of a later Debian.
packaged() {
  [[ $suite == trixie ]] && (. /etc/os-release && [[ $ID == debian && ${VERSION_ID:-99} -ge 13 ]]) 2>/dev/null
}

# rabbitmq_bin prints the folder with the scripts of RabbitMQ that do not require the rabbitmq user.
rabbitmq_bin() {
  if [[ -n ${RABBITMQ_BIN:-} ]]; then echo "$RABBITMQ_BIN"; elif packaged; then echo /usr/lib/rabbitmq/bin; else echo "$debian_bin"; fi
}

# postgres_bin prints the folder of initdb, postgres and their clients.
postgres_bin() {
  local candidate found=''
  if [[ -n ${POSTGRES_BIN:-} ]]; then
    found=$POSTGRES_BIN
  elif ! packaged; then
    found=$debian_bin
  else
    for candidate in /usr/lib/postgresql/*/bin; do
      [[ -x $candidate/initdb ]] && found=$candidate
    done
  fi
  echo "$found"
}

# has_websocket NODE reports whether a Node.js has the WebSocket API of browsers, which exists since 20.10.
has_websocket() {
  "$1" --experimental-websocket -e 0 2>/dev/null
}

# installed NAME reports whether a server can be started on this machine.
installed() {
  case $1 in
  rabbitmq) [[ -x $(rabbitmq_bin)/rabbitmq-server ]] ;;
  postgres) [[ -x $(postgres_bin)/initdb ]] ;;
  haproxy) command -v haproxy >/dev/null ;;
  *) [[ -x $(tool "$1") ]] ;;
  esac
}

# given NAME prints the variable that points the tests to a server of this kind, for llama-server to the program.
# It succeeds if the variable is set.
given() {
  local variable
  case $1 in
  rabbitmq) variable=TEST_RABBITMQ_URL ;;
  minio) variable=TEST_S3_ENDPOINT ;;
  versitygw) variable=TEST_VERSITYGW_ENDPOINT ;;
  seaweedfs) variable=TEST_SEAWEEDFS_ENDPOINT ;;
  postgres) variable=TEST_POSTGRES_URL ;;
  llama-server) variable=TEST_LLAMA_SERVER ;;
  esac
  echo "$variable"
  [[ -n ${!variable:-} ]]
}

# browser prints the path of the browser for the tests. Chromium without windows takes half the processor time.
browser() {
  if [[ -n ${TEST_CHROMIUM:-} ]]; then
    echo "$TEST_CHROMIUM"
  elif [[ -n ${HEADFUL:-} ]] || ! command -v chromium-headless-shell; then
    command -v chromium
  fi
}

die() {
  echo "${0##*/}: $*" >&2
  exit 1
}

# birth PID prints the start time of a process, in clock ticks since boot, or fails if it has ended. A process is
# identified by its ID and its start time, so that a later process with the same ID is never stopped.
birth() {
  local stat fields
  { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
  read -ra fields <<<"${stat##*) }"
  [[ ${fields[0]} != Z ]] && echo "${fields[19]}"
}

# enter is the command by which launch enters the network namespace of its processes.
enter=()

# launch DIR NAME COMMAND... starts a process in its own session, so that it outlives this script and the terminal.
launch() {
  local dir=$1 name=$2
  shift 2
  setsid "${enter[@]}" "$@" </dev/null >>"$dir/log/$name.log" 2>&1 &
  echo "$! $(birth $!)" >"$dir/run/$name.pid"
}

# pid_of DIR NAME prints the ID of a process that launch started, if it still runs.
pid_of() {
  local pid born
  { read -r pid born <"$1/run/$2.pid"; } 2>/dev/null || return 1
  [[ $(birth "$pid") == "$born" ]] && echo "$pid"
}

# end DIR SIGNAL NAME... sends the signal to each process, waits until all have ended, and kills the rest after 30 s.
end() {
  local dir=$1 signal=$2 name pid deadline=$((SECONDS + 30))
  shift 2
  for name; do
    if pid=$(pid_of "$dir" "$name"); then kill "-$signal" "$pid" 2>/dev/null || true; fi
  done
  for name; do
    while pid=$(pid_of "$dir" "$name"); do
      if ((SECONDS >= deadline)); then kill -KILL "$pid" 2>/dev/null || true; fi
      sleep 0.05
    done
    rm -f "$dir/run/$name.pid"
  done
}

# address is where the servers of servers.sh listen.
address=127.0.0.1

# is_free PORT reports whether the port is free there.
is_free() {
  ! { : <>"/dev/tcp/$address/$1"; } 2>/dev/null
}

# free_from PORT prints the first free port that is not less than PORT.
free_from() {
  local port=$1
  until is_free "$port"; do port=$((port + 1)); done
  echo "$port"
}
