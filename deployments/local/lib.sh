# shellcheck shell=bash
# Sourced by the scripts beside it: the pinned tools, and how processes are started and ended by their id.

NODE_VERSION=22.23.3

cache=${IMAGEBATCH_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/imagebatch}

deployments=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# module_of NAME prints the folder of the module that pins a Go tool: its go.mod names the tool, its go.sum everything that
# the tool is built from. Each has a module of its own, so that none decides what another is built from.
module_of() {
  case $1 in
  minio) echo "$deployments/minio" ;; # beside its Dockerfile, which builds the same
  *) echo "$deployments/tools/$1" ;;
  esac
}

# pinned NAME prints the version of a Go tool.
pinned() {
  awk '$1 == "tool" { tool = $2 } NF > 1 && $2 ~ /^v[0-9]/ && (tool "/") ~ "^" $1 "/" { print $2 }' "$(module_of "$1")/go.mod"
}

# tool NAME prints where install.sh puts a tool that is not the system's.
tool() {
  case $1 in
  node) echo "$cache/node-$NODE_VERSION/node_modules/.bin/node" ;;
  *) echo "$cache/$1-$(pinned "$1")/$1" ;;
  esac
}

# Where Debian and Ubuntu keep the scripts that do not insist on the rabbitmq user.
rabbitmq_bin=${RABBITMQ_BIN:-/usr/lib/rabbitmq/bin}

# has_websocket NODE tells whether a Node.js has the WebSocket of browsers: from 20.10 on.
has_websocket() {
  "$1" --experimental-websocket -e 0 2>/dev/null
}

# postgres_bin prints the folder of initdb and postgres, which Debian keeps out of PATH: the newest version there.
postgres_bin() {
  local candidate found=''
  for candidate in /usr/lib/postgresql/*/bin; do
    [[ -x $candidate/initdb ]] && found=$candidate
  done
  if [[ -z $found ]]; then
    found=$(command -v initdb) || return 1
    found=${found%/*}
  fi
  echo "$found"
}

# installed NAME tells whether a server can be started here.
installed() {
  case $1 in
  rabbitmq) [[ -x $rabbitmq_bin/rabbitmq-server ]] ;;
  postgres) postgres_bin >/dev/null ;;
  *) [[ -x $(tool "$1") ]] ;;
  esac
}

# given NAME prints the variable that points the tests at a server of this kind; it succeeds if that is set.
given() {
  local variable
  case $1 in
  rabbitmq) variable=TEST_RABBITMQ_URL ;;
  minio) variable=TEST_S3_ENDPOINT ;;
  versitygw) variable=TEST_VERSITYGW_ENDPOINT ;;
  postgres) variable=TEST_POSTGRES_URL ;;
  esac
  echo "$variable"
  [[ -n ${!variable:-} ]]
}

die() {
  echo "${0##*/}: $*" >&2
  exit 1
}

# birth PID prints when a process began, in clock ticks since boot, or fails when it has ended. A process is known by
# its id and its birth together, so that a later one which got the same id is never touched.
birth() {
  local stat fields
  { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
  read -ra fields <<<"${stat##*) }"
  [[ ${fields[0]} != Z ]] && echo "${fields[19]}"
}

# launch DIR NAME COMMAND... starts a process of its own session, which outlives this script and the terminal.
launch() {
  local dir=$1 name=$2
  shift 2
  setsid "$@" </dev/null >>"$dir/log/$name.log" 2>&1 &
  echo "$! $(birth $!)" >"$dir/run/$name.pid"
}

# pid_of DIR NAME prints the id of a process that launch started, if it still runs.
pid_of() {
  local pid born
  { read -r pid born <"$1/run/$2.pid"; } 2>/dev/null || return 1
  [[ $(birth "$pid") == "$born" ]] && echo "$pid"
}

# end DIR SIGNAL NAME... sends the signal to each, waits until all have ended, and kills what has not after 30 s.
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

# free PORT tells whether nothing listens there on loopback.
is_free() {
  ! { : <>"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null
}

# free_from PORT prints the first free port from there on.
free_from() {
  local port=$1
  until is_free "$port"; do port=$((port + 1)); done
  echo "$port"
}
