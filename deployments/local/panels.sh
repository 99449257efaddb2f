#!/usr/bin/env bash
# Draws every panel of the Grafana dashboards, so that a person can look at it: runs the services with real servers and a
# Prometheus, gives them work and faults for seven minutes, and draws the panels' queries.
#
#   panels.sh [FOLDER]     into data/panels, with one sheet for each dashboard and report.txt
#   panels.sh --again      draws the panels again from the last run's data, after a change of a dashboard
#
# It needs prometheus and python3-matplotlib, which it installs on Debian, as root.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib.sh"
cd "$here/../.."
again=''
if [[ ${1:-} == --again ]]; then again=yes && shift; fi
out=${1:-data/panels}
mkdir -p "$out"
out=$(cd "$out" && pwd)
run=$out/run
python=/usr/bin/python3
[[ -x $python ]] || python=python3

servers=(rabbitmq minio postgres)
if [[ -n $again ]]; then "$here/install.sh" panels; else "$here/install.sh" panels "${servers[@]}"; fi

finish() {
  end "$run" TERM gateway-1 gateway-2 analyzer-1 analyzer-2 processor load origin prometheus
  [[ -n $again ]] || "$here/servers.sh" stop "$dir"
  [[ -z ${dir:-} ]] || rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

# prometheus runs Prometheus on the data of this run, with the rules of today and the targets that are passed as NAME=ADDRESS,….
prometheus() {
  address=127.0.0.1:$(free_from 9191)
  "$python" "$deployments/grafana/panels.py" config "$@" >"$run/prometheus.yml"
  launch "$run" prometheus prometheus --config.file="$run/prometheus.yml" --storage.tsdb.path="$run/data" --web.listen-address="$address" --log.level=warn
  until curl -fs --noproxy '*' -o /dev/null "http://$address/-/ready"; do
    pid_of "$run" prometheus >/dev/null || die "Prometheus has ended: $(tail -3 "$run/log/prometheus.log")"
    sleep 0.1
  done
}

draw() {
  local from to
  read -r from to <"$run/times"
  "$python" "$deployments/grafana/panels.py" draw "http://$address" "$out" "$from" "$to"
}

if [[ -n $again ]]; then
  prometheus
  draw
  exit
fi

rm -rf "$run"
mkdir -p "$run/run" "$run/log"
"${MAKE:-make}" --no-print-directory build
dir=$(mktemp -d "${TMPDIR:-/tmp}/imagebatch-panels.XXXXXX")
unset TEST_RABBITMQ_URL TEST_S3_ENDPOINT TEST_POSTGRES_URL
export RABBITMQ_METRICS=yes
"$here/servers.sh" start "$dir" "${servers[@]}"
# shellcheck source=/dev/null
. "$dir/env"
port=$(free_from 18080)
origin=127.0.0.1:$(free_from 18090)
echo "http://$origin/hook whsec_$(printf '%032d' 0 | base64)" >"$run/webhooks"
chmod 600 "$run/webhooks"

# service NAME starts a service, or starts it again on the same port.
declare -A address_of
service() {
  local name
  for name; do
    if [[ -z ${address_of[$name]:-} ]]; then
      port=$(free_from "$port")
      address_of[$name]=127.0.0.1:$port
      port=$((port + 1))
    fi
    launch "$run" "$name" env RABBITMQ_URL="$TEST_RABBITMQ_URL" S3_ENDPOINT="$TEST_S3_ENDPOINT" S3_ACCESS_KEY="$TEST_S3_ACCESS_KEY" \
      S3_SECRET_KEY="$TEST_S3_SECRET_KEY" S3_CREATE_BUCKETS=true DATABASE_URL="$TEST_POSTGRES_URL" DATA_DIR="$run/$name" \
      DOWNLOAD_ALLOW_NETWORKS=127.0.0.0/8 WEBHOOK_ALLOW_NETWORKS=127.0.0.0/8 WEBHOOKS_FILE="$run/webhooks" CAPTION_URL="http://$origin/v1" CAPTION_MODEL=stand-in \
      CAPTION_MAX_WAIT=15s HTTP_ADDR="${address_of[$name]}" "bin/${name%-*}"
  done
}

signal() { kill "-$1" "$(pid_of "$run" "$2")"; }
at() { # at SECONDS TEXT waits until that many seconds after the start, and reports the fault.
  local left=$(($1 - (SECONDS - began)))
  if ((left > 0)); then sleep "$left"; fi
  echo "$1 s: $2" | tee -a "$out/faults.txt"
}

launch "$run" origin "$python" "$deployments/grafana/load.py" origin "$origin"
service gateway-1 gateway-2 analyzer-1 analyzer-2 processor
metrics=$TEST_RABBITMQ_METRICS
prometheus gateway="${address_of[gateway-1]},${address_of[gateway-2]}" analyzer="${address_of[analyzer-1]},${address_of[analyzer-2]}" \
  processor="${address_of[processor]}" rabbitmq="$metrics" rabbitmq-queues="$metrics"
for name in "${!address_of[@]}"; do
  until curl -fs --noproxy '*' -o /dev/null "http://${address_of[$name]}/readyz"; do
    pid_of "$run" "$name" >/dev/null || die "$name has ended: $(tail -3 "$run/log/$name.log")"
    sleep 0.2
  done
done

began=$SECONDS started=$(date +%s)
: >"$out/faults.txt"
launch "$run" load "$python" "$deployments/grafana/load.py" load 390 "$origin" "${address_of[gateway-1]}" "${address_of[gateway-2]}"
at 60 "both analyzers stop"
end "$run" TERM analyzer-1 analyzer-2
at 90 "both analyzers start"
service analyzer-1 analyzer-2
at 120 "the object store is killed"
"$here/servers.sh" kill "$dir" minio
at 140 "the object store starts"
"$here/servers.sh" restart "$dir" minio
at 160 "RabbitMQ is killed"
"$here/servers.sh" kill "$dir" rabbitmq
at 170 "RabbitMQ starts"
"$here/servers.sh" restart "$dir" rabbitmq
at 215 "the job store is paused"
"$here/servers.sh" pause "$dir" postgres
at 230 "the job store continues"
"$here/servers.sh" resume "$dir" postgres
at 250 "both analyzers are paused"
signal STOP analyzer-1
signal STOP analyzer-2
at 260 "an analyzer is killed, the other one continues"
end "$run" KILL analyzer-1 2>/dev/null
signal CONT analyzer-2
at 265 "the analyzer starts"
service analyzer-1
at 275 "two messages that are no JSON, one of them for the caption step"
for queue in image_upload image_described; do
  "$dir/rabbitmqctl" eval "X = rabbit_misc:r(<<\"/\">>, exchange, <<>>), C = rabbit_basic:build_content(rabbit_basic:properties([]), [<<\"junk\">>]),
    {ok, M} = mc_amqpl:message(X, <<\"$queue\">>, C), rabbit_queue_type:publish_at_most_once(X, M)." || echo "no dead letter in $queue" >&2
done
at 290 "the vision model is unavailable"
curl -fs --noproxy '*' -o /dev/null "http://$origin/model/off"
at 320 "the vision model is back"
curl -fs --noproxy '*' -o /dev/null "http://$origin/model/on"
at 330 "the first gateway is paused"
signal STOP gateway-1
at 360 "the first gateway continues"
signal CONT gateway-1
at 420 "the end of the work"
while pid_of "$run" load >/dev/null; do sleep 0.2; done
echo "$started $(date +%s)" >"$run/times"
cp "$run/log/load.log" "$out/truth.txt"
cat "$out/truth.txt"
draw
