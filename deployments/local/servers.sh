#!/usr/bin/env bash
# Runs real servers on loopback, with their data, logs and process IDs in one folder and on free ports, so that any number
# of folders can be used at the same time.
#
#   servers.sh start   DIR [NAME[@PORT]...]   start, wait until each responds, write DIR/env (export TEST_...=...)
#   servers.sh stop    DIR [NAME...]          stop exactly what start started
#   servers.sh kill    DIR [NAME...]          stop by SIGKILL, like a crash
#   servers.sh restart DIR NAME...            stop and start; like start after a kill, on the same port and data
#   servers.sh wipe    DIR NAME...            kill, delete the data, and start
#   servers.sh pause   DIR NAME...            SIGSTOP, until resume
#   servers.sh resume  DIR NAME...            SIGCONT
#
# NAME is rabbitmq, minio, versitygw, postgres, haproxy or seaweedfs. Without a name, start starts the first four, without those that are not installed
# or that a TEST_ variable already points to. With @PORT, the server uses that port or the next free one.
# DIR/rabbitmqctl controls the node of that folder, and DIR/psql runs a statement on its PostgreSQL. With
# RABBITMQ_METRICS=yes, RabbitMQ serves its metrics on a port of its own.
#
# A folder is a node of a cluster if it has a file named place, with assignments for this script:
#   suite=SUITE debian_bin=PATH   the Debian suite of its programs
#   netns=PATH          the network namespace of its servers
#   address=IP          where they listen, with the ports from base on
#   base=PORT
#   rabbitmq_peers=(IP...)   all nodes of its RabbitMQ cluster
#   minio_drives=(URL...)    the folders of all nodes of its MinIO
#   certificate=FILE key=FILE  TLS for PostgreSQL, on its port, and RabbitMQ, on the port 15 above base
#   synchronous=yes     commits wait for a standby; a file named primary, with the address of another node's PostgreSQL, makes
#                       a new PostgreSQL the standby of that one
# HAProxy needs its configuration, haproxy.cfg, in the folder.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib.sh"

usual=(rabbitmq minio versitygw postgres)
all=("${usual[@]}" haproxy seaweedfs)
netns='' base='' rabbitmq_peers=() minio_drives=() synchronous='' certificate='' key=''
access_key=${TEST_S3_ACCESS_KEY:-imagebatch}
secret_key=${TEST_S3_SECRET_KEY:-imagebatch-secret}
# The S3 servers' domain for virtual-hosted buckets, and the key with which MinIO encrypts buckets that require it.
s3_domain=s3.test
kms_key=imagebatch:$(printf '%032d' 0 | base64)

# choose_ports chooses the ports of a folder. They are below the range of outgoing connections.
choose_ports() {
  local offset wanted name
  while [[ -z $base ]]; do
    base=$((20000 + RANDOM % 600 * 20))
    for offset in {0..14}; do is_free $((base + offset)) || { base='' && break; }; done
  done
  rabbitmq_port=$base rabbitmq_dist_port=$((base + 1)) epmd_port=$((base + 2))
  minio_port=$((base + 3)) versitygw_port=$((base + 4)) postgres_port=$((base + 5)) rabbitmq_metrics_port=$((base + 6))
  seaweedfs_port=$((base + 7)) # and the seven after it
  for wanted; do
    name=${wanted%@*}
    [[ $wanted != *@* ]] || printf -v "${name}_port" %s "$(free_from "${wanted#*@}")"
  done
  declare -p rabbitmq_port rabbitmq_dist_port epmd_port minio_port versitygw_port postgres_port rabbitmq_metrics_port seaweedfs_port |
    sed 's/^declare -- //' >"$dir/run/ports"
}

# Each folder has its own epmd, cookie, distribution port and plugins, so the node's name can be the same in all folders.
# It must be the same, because the data contains it. The nodes of a cluster are named by their addresses.
rabbitmq_environment() {
  local home=$dir/rabbitmq erlang="-kernel inet_dist_use_interface {${address//./,}} -start_epmd false" host=localhost
  if [[ ${#rabbitmq_peers[@]} -gt 0 ]]; then host=$address; fi
  rabbitmq_environment=(
    HOME="$home" ERL_EPMD_PORT="$epmd_port" ERL_EPMD_ADDRESS="$address"
    RABBITMQ_NODENAME="imagebatch@$host" RABBITMQ_NODE_PORT="$rabbitmq_port" RABBITMQ_NODE_IP_ADDRESS="$address"
    RABBITMQ_DIST_PORT="$rabbitmq_dist_port" RABBITMQ_MNESIA_BASE="$home/data" RABBITMQ_LOG_BASE="$home/log"
    RABBITMQ_CONF_ENV_FILE="$home/none" RABBITMQ_CONFIG_FILE="$home/rabbitmq.conf"
    RABBITMQ_ENABLED_PLUGINS_FILE="$home/enabled_plugins"
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="$erlang" RABBITMQ_CTL_ERL_ARGS="$erlang"
  )
  if [[ ${#rabbitmq_peers[@]} -gt 0 ]]; then rabbitmq_environment+=(RABBITMQ_USE_LONGNAME=true); fi
}

# rabbitmq_cluster prints the settings of a node of a cluster, as docs/operations.md recommends them, but with a shorter
# time until a node that does not respond is taken for dead. The nodes find each other when they start for the first time.
rabbitmq_cluster() {
  local i
  echo 'cluster_partition_handling = pause_minority'
  echo 'queue_leader_locator = balanced'
  echo 'loopback_users = none'
  echo 'net_ticktime = 8'
  echo 'cluster_formation.peer_discovery_backend = classic_config'
  for i in "${!rabbitmq_peers[@]}"; do
    echo "cluster_formation.classic_config.nodes.$((i + 1)) = imagebatch@${rabbitmq_peers[i]}"
  done
}

start_rabbitmq() {
  local bin home=$dir/rabbitmq rabbitmq_environment epmd
  bin=$(rabbitmq_bin)
  epmd=$bin/epmd
  [[ -x $epmd ]] || epmd=epmd
  mkdir -p "$home"
  rabbitmq_environment
  cat >"$home/rabbitmq.conf" <<CONF
log.console = true
log.console.level = info
log.file = false
disk_free_limit.absolute = 200MB
CONF
  if [[ ${#rabbitmq_peers[@]} -gt 0 ]]; then
    rabbitmq_cluster >>"$home/rabbitmq.conf"
    install -m 400 /dev/null "$home/.erlang.cookie"
    echo -n imagebatch >"$home/.erlang.cookie"
  fi
  if [[ -n $certificate ]]; then
    printf '%s\n' "listeners.ssl.1 = $address:$((rabbitmq_port + 15))" "ssl_options.certfile = $certificate" "ssl_options.keyfile = $key" \
      >>"$home/rabbitmq.conf"
  fi
  echo '[].' >"$home/enabled_plugins"
  if [[ -n ${RABBITMQ_METRICS:-} ]]; then
    echo '[rabbitmq_prometheus].' >"$home/enabled_plugins"
    printf 'prometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = %s\n' "$rabbitmq_metrics_port" >>"$home/rabbitmq.conf"
  fi
  {
    echo '#!/usr/bin/env bash'
    echo '# Controls the RabbitMQ node of this folder. Without the epmd, it would start one and leave it running.'
    echo "{ : <>/dev/tcp/$address/$epmd_port; } 2>/dev/null || { echo 'this RabbitMQ is not running' >&2 && exit 69; }"
    printf 'export %q\n' "${rabbitmq_environment[@]}"
    printf '%q ' exec "${enter[@]}" "$bin/rabbitmqctl"
    echo '"$@"'
  } >"$dir/rabbitmqctl"
  chmod +x "$dir/rabbitmqctl"
  if ! pid_of "$dir" epmd >/dev/null; then
    launch "$dir" epmd "$epmd" -port "$epmd_port" -address "$address"
    while is_free "$epmd_port" && pid_of "$dir" epmd >/dev/null; do sleep 0.02; done
  fi
  # Under systemd, the script replaces itself by the Erlang machine instead of staying as its parent: one process to stop.
  # It writes some files into its current folder.
  (cd "$home" && launch "$dir" rabbitmq env -u NOTIFY_SOCKET RUNNING_UNDER_SYSTEMD=true "${rabbitmq_environment[@]}" \
    "$bin/rabbitmq-server")
}

# The listener opens last, and a running broker responds to a protocol header with a method frame, whose first byte is 1.
rabbitmq_responds() {
  local first
  first=$(exec 2>/dev/null 3<>"/dev/tcp/$address/$rabbitmq_port" && printf 'AMQP\0\0\11\1' >&3 &&
    timeout 2 head -c 1 <&3 | od -An -tu1) 2>/dev/null && ((first == 1))
}

# A MinIO of several nodes refuses drives on the machine's root file system, except in CI.
start_minio() {
  local drives=("$dir/minio/data") several=()
  if [[ ${#minio_drives[@]} -gt 0 ]]; then drives=("${minio_drives[@]}") several=(MINIO_CI_CD=yes); fi
  mkdir -p "$dir/minio/data" "$dir/minio/home"
  launch "$dir" minio env HOME="$dir/minio/home" MINIO_ROOT_USER="$access_key" MINIO_ROOT_PASSWORD="$secret_key" \
    MINIO_BROWSER=off MINIO_UPDATE=off MINIO_DOMAIN="$s3_domain" MINIO_KMS_SECRET_KEY="$kms_key" "${several[@]}" \
    "$(tool minio)" server --quiet --address "$address:$minio_port" "${drives[@]}"
}

minio_responds() {
  curl -fs --noproxy '*' --max-time 2 -o /dev/null "http://$address:$minio_port/minio/health/cluster"
}

# versitygw stores the metadata of objects in extended attributes, which every usual file system has (tmpfs only since
# Linux 6.6). The alternative, --sidecar, loses writes: in version 1.8.0, a PUT fails if a neighboring object is deleted
# at the same time. Buckets have versions if a client asks for that, as Object Lock does.
start_versitygw() {
  mkdir -p "$dir/versitygw/"{data,versions}
  launch "$dir" versitygw env ROOT_ACCESS_KEY="$access_key" ROOT_SECRET_KEY="$secret_key" \
    "$(tool versitygw)" --quiet --keep-alive --port "127.0.0.1:$versitygw_port" --health /health --virtual-domain "$s3_domain" \
    posix --versioning-dir "$dir/versitygw/versions" "$dir/versitygw/data"
}

versitygw_responds() {
  curl -fs --noproxy '*' --max-time 2 -o /dev/null "http://127.0.0.1:$versitygw_port/health"
}

# SeaweedFS is a master, a volume server, a filer and an S3 gateway in one process, each with a port for gRPC. Each bucket has
# volumes (files) of its own, and the ninth would be refused. By default, SeaweedFS sends statistics to its authors.
start_seaweedfs() {
  local port=$seaweedfs_port
  mkdir -p "$dir/seaweedfs/"{data,home}
  launch "$dir" seaweedfs env HOME="$dir/seaweedfs/home" AWS_ACCESS_KEY_ID="$access_key" AWS_SECRET_ACCESS_KEY="$secret_key" \
    "$(tool seaweedfs)" -logtostderr server -master.telemetry=false -dir="$dir/seaweedfs/data" -ip=127.0.0.1 -ip.bind=127.0.0.1 \
    -s3 -s3.port="$port" -s3.port.grpc=$((port + 1)) -s3.domainName="$s3_domain" -s3.port.iceberg=0 -s3.port.lance=0 \
    -master.port=$((port + 2)) -master.port.grpc=$((port + 3)) -master.volumeSizeLimitMB=1024 \
    -volume.max=1000 -volume.port=$((port + 4)) -volume.port.grpc=$((port + 5)) -filer -filer.port=$((port + 6)) -filer.port.grpc=$((port + 7))
}

seaweedfs_responds() {
  curl -fs --noproxy '*' --max-time 2 -o /dev/null "http://127.0.0.1:$seaweedfs_port/healthz"
}

# PostgreSQL refuses to run as root. Then the user postgres owns its files and must be able to enter the folder. In a root
# file system, the programs change the user themselves.
start_postgres() {
  local bin data=$dir/postgres/data as=() more=() owner=postgres: deadline=$((SECONDS + 30))
  bin=$(postgres_bin)
  mkdir -p "$dir/postgres"
  if [[ $(id -u) == 0 ]]; then
    if [[ -d $bin/../root ]]; then
      owner=$(awk -F: '$1 == "postgres" { print $3 ":" $4 }' "$bin/../root/etc/passwd")
    else
      as=(setpriv --reuid=postgres --regid=postgres --clear-groups)
    fi
    chmod a+x "$dir"
    chown "$owner" "$dir/postgres"
    setpriv --reuid="$(stat -c %u "$dir/postgres")" --clear-groups --regid="$(stat -c %g "$dir/postgres")" test -w "$dir/postgres" || die "the user postgres cannot enter $dir: choose a folder that other users may enter"
  fi
  if [[ ! -e $data/PG_VERSION ]]; then
    install -m 644 /dev/null "$dir/postgres/password"
    echo imagebatch >"$dir/postgres/password"
    if [[ -e $dir/primary ]]; then
      (cd "$dir/postgres" && "${enter[@]}" "${as[@]}" "$bin/pg_basebackup" --pgdata="$data" --write-recovery-conf --checkpoint=fast --no-sync \
        --dbname="host=$(<"$dir/primary") port=$postgres_port user=imagebatch password=imagebatch dbname=postgres") &&
        chown -R "$(stat -c %u:%g "$dir/postgres")" "$data"
    else
      (cd "$dir/postgres" && "${as[@]}" "$bin/initdb" --pgdata="$data" --username=imagebatch --auth=scram-sha-256 \
        --pwfile=password --encoding=UTF8 --no-locale --no-sync) && printf 'host %s all 0.0.0.0/0 scram-sha-256\n' all replication >>"$data/pg_hba.conf"
    fi >"$dir/log/initdb.log" 2>&1 || { cat "$dir/log/initdb.log" >&2 && die "PostgreSQL's data could not be created"; }
  fi
  if [[ -n $synchronous ]]; then more=(-c "synchronous_standby_names=*" -c wal_keep_size=256MB -c wal_sender_timeout=5s -c wal_receiver_timeout=5s); fi
  if [[ -n $certificate ]]; then
    install -m 600 -o "$(stat -c %u "$dir/postgres")" -g "$(stat -c %g "$dir/postgres")" "$certificate" "$key" "$dir/postgres/"
    more+=(-c ssl=on -c "ssl_cert_file=$dir/postgres/${certificate##*/}" -c "ssl_key_file=$dir/postgres/${key##*/}")
  fi
  # After a kill, the last processes may still be ending, and a process that is not yet reaped looks like a running server.
  while postgres_works_in "$data"; do
    ((SECONDS < deadline)) || die "processes of a killed PostgreSQL do not end"
    sleep 0.02
  done
  if [[ -e $data/postmaster.pid && -z $(birth "$(head -1 "$data/postmaster.pid")") ]]; then
    rm -f "$data/postmaster.pid"
  fi
  {
    echo '#!/usr/bin/env bash'
    echo '# Runs one statement on the PostgreSQL of this folder.'
    # shellcheck disable=SC2016 # The generated script expands it.
    printf 'exec %q -XAtqc "$1" %q\n' "$bin/psql" "$(postgres_url)"
  } >"$dir/psql"
  chmod +x "$dir/psql"
  # The tests do not survive a power failure anyway, so fsync is off. A kill of the process loses no data.
  (cd "$dir/postgres" && launch "$dir" postgres "${as[@]}" "$bin/postgres" -D "$data" -p "$postgres_port" \
    -c listen_addresses="$address" -c unix_socket_directories= -c fsync=off -c max_connections=200 "${more[@]}")
}

# postgres_works_in DATA reports whether a server process uses that folder.
postgres_works_in() {
  local cwd
  for cwd in /proc/[0-9]*/cwd; do
    if [[ $cwd -ef $1 ]]; then return 0; fi
  done
  return 1
}

postgres_url() { echo "postgres://imagebatch:imagebatch@$address:$postgres_port/postgres?sslmode=disable"; }

postgres_responds() {
  [[ $("$(postgres_bin)/psql" -XAtqc 'select 1' "$(postgres_url)" 2>/dev/null) == 1 ]]
}

start_haproxy() {
  launch "$dir" haproxy haproxy -f "$dir/haproxy.cfg"
}

haproxy_responds() {
  curl -fs --noproxy '*' --max-time 2 -o /dev/null "$(sed -n 's/^# responds at //p' "$dir/haproxy.cfg")"
}

wait_for() {
  local name=$1 deadline=$((SECONDS + 180)) problem=''
  until "${name}_responds"; do
    pid_of "$dir" "$name" >/dev/null || problem="$name has ended"
    ((SECONDS < deadline)) || problem="$name does not respond"
    if [[ -n $problem ]]; then
      echo "servers.sh: $problem; the end of $dir/log/$name.log:" >&2
      tail -20 "$dir/log/$name.log" >&2
      return 1
    fi
    sleep 0.05
  done
}

write_env() {
  local name
  {
    echo "export TEST_SERVERS='$here/servers.sh' TEST_SERVERS_DIR='$dir'"
    for name; do
      case $name in
      rabbitmq)
        echo "export TEST_RABBITMQ_URL='amqp://guest:guest@$address:$rabbitmq_port/'"
        echo "export TEST_RABBITMQCTL='$dir/rabbitmqctl'"
        [[ -z ${RABBITMQ_METRICS:-} ]] || echo "export TEST_RABBITMQ_METRICS='127.0.0.1:$rabbitmq_metrics_port'"
        ;;
      minio) echo "export TEST_S3_ENDPOINT='http://$address:$minio_port'" ;;
      versitygw) echo "export TEST_VERSITYGW_ENDPOINT='http://127.0.0.1:$versitygw_port'" ;;
      seaweedfs) echo "export TEST_SEAWEEDFS_ENDPOINT='http://127.0.0.1:$seaweedfs_port'" ;;
      postgres) echo "export TEST_POSTGRES_URL='$(postgres_url)'" ;;
      esac
    done
    echo "export TEST_S3_ACCESS_KEY='$access_key' TEST_S3_SECRET_KEY='$secret_key'"
  } >"$dir/env"
}

running() {
  local name
  for name in "${all[@]}" epmd; do
    if pid_of "$dir" "$name" >/dev/null; then echo "$name"; fi
  done
}

start() {
  local name names=() started=()
  mkdir -p "$dir/run" "$dir/log"
  if [[ $# -eq 0 ]]; then
    for name in "${usual[@]}"; do
      if given "$name" >/dev/null; then
        continue
      elif installed "$name"; then
        names+=("$name")
      else
        echo "servers.sh: $name is not installed (install.sh $name) and $(given "$name") is not set" >&2
      fi
    done
  else
    names=("${@%@*}")
  fi
  # shellcheck source=/dev/null
  if [[ -n $(running) && -e $dir/run/ports ]]; then . "$dir/run/ports"; else choose_ports "$@"; fi
  for name in "${names[@]}"; do
    pid_of "$dir" "$name" >/dev/null && continue
    installed "$name" || die "$name is not installed: $here/install.sh $name"
    "start_$name"
    started+=("$name")
  done
  for name in "${names[@]}"; do
    wait_for "$name" || { end "$dir" KILL "${started[@]}" epmd && exit 1; }
  done
  mapfile -t names < <(running)
  write_env "${names[@]}"
}

# stop stops PostgreSQL by its fast shutdown, which does not wait for clients, and epmd after the node that is registered there.
stop() {
  local name postgres='' others=()
  for name; do
    [[ $name == postgres ]] || others+=("$name")
  done
  if [[ " $* " == *" postgres "* ]]; then end "$dir" INT postgres & postgres=$!; fi
  end "$dir" TERM "${others[@]}"
  [[ -z $postgres ]] || wait "$postgres" # and not for the servers that this script started
  [[ " $* " != *" rabbitmq "* || ${keep_epmd:-} ]] || end "$dir" TERM epmd
}

# signal SIGNAL NAME... sends a signal to the servers and to their child processes: PostgreSQL has one for each session.
# A stopped server starts no further child processes.
signal() {
  local signal=$1 name pid children
  shift
  for name; do
    pid=$(pid_of "$dir" "$name") || continue
    kill "-$signal" "$pid"
    read -ra children <"/proc/$pid/task/$pid/children" || true
    kill "-$signal" "${children[@]}" 2>/dev/null || true # a child may have ended
  done
}

[[ $# -ge 2 ]] || die "servers.sh start|stop|kill|restart|wipe|pause|resume DIR [NAME...] (see the top of the file)"
verb=$1 dir=$2
shift 2
for name; do
  [[ " ${all[*]} " == *" ${name%@*} "* ]] || die "unknown server $name"
done
# shellcheck source=/dev/null
if [[ -e $dir/place ]]; then . "$dir/place"; fi
if [[ -n $netns ]]; then enter=(nsenter --net="$netns"); fi
case $verb in
start)
  mkdir -p "$dir"
  dir=$(cd "$dir" && pwd)
  start "$@"
  ;;
stop | kill | restart | wipe | pause | resume)
  dir=$(cd "$dir" 2>/dev/null && pwd) || exit 0
  case $verb in
  stop) stop "${@:-${all[@]}}" ;;
  kill)
    [[ $# -gt 0 ]] || set -- "${all[@]}" epmd
    end "$dir" KILL "$@"
    ;;
  wipe)
    end "$dir" KILL "$@"
    for name; do rm -rf "$dir/$name/"{data,versions}; done
    start "$@"
    ;;
  pause) signal STOP "$@" ;;
  resume) signal CONT "$@" ;;
  restart)
    # shellcheck source=/dev/null
    . "$dir/run/ports"
    keep_epmd=yes
    stop "$@"
    start_again=("$@")
    for name in "${start_again[@]}"; do "start_$name"; done
    for name in "${start_again[@]}"; do wait_for "$name"; done
    ;;
  esac
  ;;
*) die "servers.sh start|stop|kill|restart|wipe|pause|resume DIR [NAME...] (see the top of the file)" ;;
esac
