#!/usr/bin/env bash
# Runs the three services with a real RabbitMQ and MinIO on this machine, without Docker.
#
#   local.sh up      build, start, wait until all are ready, print NAME=URL for each service and server
#   local.sh down    stop exactly what up started; jobs and images stay in data/local
#
# The services inherit the environment. If RABBITMQ_URL or S3_ENDPOINT points to your own server, the script does not
# start one. Ports are the usual ones, or the next free ones. A second up restarts the services, built from the current
# source, and leaves the servers running. data/local/services.env contains the services' environment, so that you can
# start another one manually:
#
#   set -a; . data/local/services.env; HTTP_ADDR=127.0.0.1:8083 bin/analyzer
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib.sh"
cd "$here/../.."
dir=$PWD/data/local
services=(gateway analyzer processor)

down() {
  [[ -d $dir/run ]] || return 0
  end "$dir" TERM "${services[@]}"
  "$here/servers.sh" stop "$dir"
}

# wait_ready NAME URL waits for /readyz. If that fails, it prints why the service is not ready.
wait_ready() {
  local name=$1 url=$2 deadline=$((SECONDS + 60)) problem=''
  until curl -fs --noproxy '*' --max-time 2 -o /dev/null "$url/readyz"; do
    pid_of "$dir" "$name" >/dev/null || problem="$name has ended"
    ((SECONDS < deadline)) || problem="$name is not ready"
    if [[ -n $problem ]]; then
      {
        echo "local.sh: $problem; the end of $dir/log/$name.log:"
        tail -20 "$dir/log/$name.log"
        echo "response of $url/readyz:"
        curl -s --noproxy '*' --max-time 2 "$url/readyz" && echo
      } >&2
      return 1
    fi
    sleep 0.05
  done
}

up() {
  local servers=() name port=8080
  local -A url
  [[ -n ${RABBITMQ_URL:-} ]] || servers+=(rabbitmq)
  [[ -n ${S3_ENDPOINT:-} ]] || servers+=(minio)
  # The services must not use the servers of the tests.
  unset TEST_RABBITMQ_URL TEST_S3_ENDPOINT TEST_S3_ACCESS_KEY TEST_S3_SECRET_KEY
  if ((${#servers[@]})); then "$here/install.sh" "${servers[@]}"; fi
  "${MAKE:-make}" --no-print-directory build
  mkdir -p "$dir/run" "$dir/log"
  end "$dir" TERM "${services[@]}"

  if ((${#servers[@]})); then
    mapfile -t servers < <(printf '%s\n' "${servers[@]}" | sed 's/^rabbitmq$/&@5672/; s/^minio$/&@9000/')
    "$here/servers.sh" start "$dir" "${servers[@]}"
    # shellcheck source=/dev/null
    . "$dir/env"
  fi
  if [[ -z ${S3_ENDPOINT:-} ]]; then
    export S3_ENDPOINT=$TEST_S3_ENDPOINT S3_ACCESS_KEY=$TEST_S3_ACCESS_KEY S3_SECRET_KEY=$TEST_S3_SECRET_KEY
  fi
  RABBITMQ_URL=${RABBITMQ_URL:-$TEST_RABBITMQ_URL}
  S3_CREATE_BUCKETS=${S3_CREATE_BUCKETS:-true} DATA_DIR=${DATA_DIR:-$dir/gateway}
  install -m 600 /dev/null "$dir/services.env"
  for name in RABBITMQ_URL S3_ENDPOINT S3_ACCESS_KEY S3_SECRET_KEY S3_CREATE_BUCKETS DATA_DIR; do
    if [[ -n ${!name:-} ]]; then
      export "${name?}"
      echo "$name=${!name@Q}" >>"$dir/services.env"
    fi
  done

  for name in "${services[@]}"; do
    port=$(free_from "$port")
    url[$name]=http://127.0.0.1:$port
    : >"$dir/log/$name.log"
    launch "$dir" "$name" env HTTP_ADDR="127.0.0.1:$port" "bin/$name"
    port=$((port + 1))
  done
  for name in "${services[@]}"; do
    wait_ready "$name" "${url[$name]}" || { down && exit 1; }
  done
  for name in "${services[@]}"; do echo "${name^^}_URL=${url[$name]}"; done
  if [[ " ${servers[*]} " == *" rabbitmq"* ]]; then echo "RABBITMQ_URL=$RABBITMQ_URL"; fi
  if [[ " ${servers[*]} " == *" minio"* ]]; then echo "S3_ENDPOINT=$S3_ENDPOINT"; fi
}

case ${1:-} in
up) up ;;
down) down ;;
*) die "local.sh up|down" ;;
esac
