#!/usr/bin/env bash
# Runs the system of compose.yaml with `make up`, in every profile, and checks that it works and loses nothing. The profile captions
# needs the stand-ins: the model of the real Ollama takes gigabytes.
#
# docker.sh provides the engine and the images: it explains IMAGES=stand-ins and COLD=yes. The run changes no system of `make up`:
# its project has another name, and its ports are free ones. It prints a line for each check, and the measured times, sizes and
# memory. The last line is `N passed, N failed, N skipped`. The logs of a failed run stay in data/compose-test.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib.sh"
cd "$here/../.."
if [[ -z ${COMPOSE_TEST_DIR:-} ]]; then
  COMPOSE_TEST_DIR=$PWD/data/compose-test
  export COMPOSE_TEST_DIR
  rm -rf "$COMPOSE_TEST_DIR"
  mkdir -p "$COMPOSE_TEST_DIR"
  exec "$here/docker.sh" "${BASH_SOURCE[0]}"
fi

dir=$COMPOSE_TEST_DIR passed=0 failed=0 skipped=0
# The settings of the caller's own system must not reach this one.
unset PROFILE S3 SCALE MAKEFLAGS DATABASE_URL S3_ENDPOINT OTEL_EXPORTER_OTLP_ENDPOINT CAPTION_URL CAPTION_MODEL
export COMPOSE_PROJECT_NAME=imagebatch-test COMPOSE_PROGRESS=quiet IMAGEBATCH_RESOURCE_ATTRIBUTES=deployment.environment.name=compose-test
port=8080
for name in GATEWAY GATEWAY_2 RABBITMQ_MANAGEMENT S3 JAEGER PROMETHEUS GRAFANA; do
  port=$(free_from "$port")
  export "${name}_PORT=$port"
  port=$((port + 1))
done
gateway=http://localhost:$GATEWAY_PORT gateway_2=http://localhost:$GATEWAY_2_PORT prometheus=http://localhost:$PROMETHEUS_PORT

# check NAME COMMAND... runs a check and prints its result and duration, and its output if it fails.
check() {
  local name=$1 start=$EPOCHREALTIME status=0
  shift
  # In the background, because Bash ignores -e in a command whose status is tested.
  "$@" >"$dir/log" 2>&1 &
  wait $! || status=$?
  took=$(awk "BEGIN { printf \"%.1f\", $EPOCHREALTIME - $start }")
  if ((status == 0)); then
    passed=$((passed + 1))
    printf 'pass  %-72s %6s s\n' "$name" "$took"
  else
    failed=$((failed + 1))
    printf 'FAIL  %-72s %6s s\n' "$name" "$took"
    tail -40 "$dir/log" | awk '{ print "      " $0 }'
    docker compose --profile '*' logs --no-color --timestamps >"$dir/failure-$failed.log" 2>&1 || true
  fi
}

# await SECONDS COMMAND... repeats a command until it succeeds.
await() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || { echo "still fails: $*" && return 1; }
    sleep 0.3
  done
}

get() { curl --silent --show-error --fail --max-time 20 "$@"; }

container() { docker compose --profile '*' ps --all --quiet "$1"; }

inspect() { docker inspect --format "$2" "$1"; }

# --- jobs ---

# batch N FILE writes a batch of N images.
batch() {
  local i data
  data=$(base64 -w0 docs/sunrise.jpg)
  {
    printf '{"images":['
    for ((i = 0; i < $1; i++)); do printf '{"name":"image-%s.jpg","base64":"%s"}%s' "$i" "$data" "$( ((i == $1 - 1)) || echo ,)"; done
    printf ']}'
  } >"$2"
}

# submit GATEWAY FILE prints the ID of the new job.
submit() {
  get --data "@$2" "$1/api/v1/batch" | sed -E 's/.*"job_id":"([^"]*)".*/\1/'
}

# has_ended GATEWAY JOB reports whether the job has ended, and keeps its state in job.json.
has_ended() {
  get "$1/api/v1/batch/$2" >"$dir/job.json" && grep -qE '^\{[^[]*"status":"(completed|failed|cancelled)"' "$dir/job.json"
}

# completed GATEWAY JOB waits for the end of a job, and succeeds if every image is complete and its file can be downloaded.
completed() {
  local total i
  await 180 has_ended "$1" "$2" || { head -c 400 "$dir/job.json" && return 1; }
  total=$(grep -oE '"total_images":[0-9]+' "$dir/job.json" | cut -d: -f2)
  grep -qF "\"total_images\":$total,\"completed\":$total,\"failed\":0," "$dir/job.json" || { head -c 400 "$dir/job.json" && return 1; }
  for i in 0 $((total - 1)); do
    get --output "$dir/file.jpg" "$1/api/v1/batch/$2/images/$i/file" || return 1
    grep -qaF https://github.com/imagebatch/imagebatch/ns/1.0/ "$dir/file.jpg" || return 1
  done
}

# all GATEWAY runs a batch of 100.
all() { completed "$1" "$(submit "$1" "$dir/hundred.json")"; }

# one GATEWAY NAME runs a job of one image and keeps its ID in the file NAME.
one() {
  submit "$1" "$dir/one.json" >"$dir/$2"
  completed "$1" "$(<"$dir/$2")"
}

# kept GATEWAY NAME succeeds if the gateway still has that job and its file.
kept() { completed "$1" "$(<"$dir/$2")"; }

# leave_open submits a batch while no analyzer runs. The next `up` starts one.
leave_open() {
  docker compose stop analyzer
  submit "$gateway" "$dir/hundred.json" >"$dir/open-job"
}

# transcript runs the commands under "Try it" in the README in one shell, and compares their output with the document: an … matches
# any text.
transcript() {
  local line commands=() wants=() i work=$dir/transcript script='' out pattern
  while IFS= read -r line; do
    if [[ $line == '$ '* ]]; then
      commands+=("${line#\$ }") wants+=('')
    else
      wants[-1]+=$line$'\n'
    fi
  done < <(awk '/^## /{ here = $0 == "## Try it" } /^```/{ inside = here && $0 == "```console"; next } inside' README.md)
  mkdir -p "$work"
  cp -r docs "$work"
  ((${#commands[@]} >= 5)) || { echo "the README has ${#commands[@]} commands" && return 1; }
  for ((i = 0; i < ${#commands[@]}; i++)); do
    line=${commands[i]//localhost:8080/localhost:$GATEWAY_PORT}
    # A person types more slowly than an image is processed.
    # shellcheck disable=SC2016 # The transcript contains it.
    if [[ $line == *'$job'* ]]; then await 60 has_ended "$gateway" "$(sed -E 's/.*"job_id":"([^"]*)".*/\1/' "$work/created.json")"; fi
    out=$(cd "$work" && bash -euo pipefail -c "$script$line") || { echo "fails: $line" && return 1; }
    pattern=$(printf %s "${wants[i]}" | sed -E 's/[][\\*?]/\\&/g; s/[0-9a-f-]*…/*/g; s/[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z/????-??-??T??:??:??Z/g')
    # shellcheck disable=SC2053 # It is a pattern.
    [[ $out == $pattern ]] || { printf '%s\nprints\n%s\nwant\n%s\n' "$line" "$out" "$pattern" && return 1; }
    if [[ $line =~ ^[a-z]+= ]]; then script+=$line$'\n'; fi
  done
  grep -qaF https://github.com/imagebatch/imagebatch/ns/1.0/ "$work/processed.jpg"
}

# --- containers ---

# runs SERVICE... succeeds if exactly these services have containers, and all are healthy.
runs() {
  local got
  got=$(docker compose --profile '*' ps --all --format '{{.Service}} {{.Health}} {{.State}}' | sort -u)
  # Jaeger's image has no program that could check its health.
  [[ $got == "$(printf '%s healthy running\n' "$@" | sed 's/jaeger healthy/jaeger /' | sort -u)" ]] || { echo "$got" && return 1; }
}

# isolated succeeds if each container has what compose.yaml says, in the kernel's words, and was never killed for its memory.
isolated() {
  local id pid bad=0 state
  for id in $(docker compose --profile '*' ps --quiet); do
    state=$(inspect "$id" '{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.LogConfig.Type}} {{.HostConfig.LogConfig.Config}} {{.State.OOMKilled}}')
    [[ $state == 'true json-file map[max-file:3 max-size:10m] false' && $(inspect "$id" '{{.HostConfig.Memory}}') -gt 0 ]] ||
      { inspect "$id" '{{.Name}}' && echo "$state" && bad=1; }
    pid=$(inspect "$id" '{{.State.Pid}}')
    [[ -z ${OWN_ENGINE:-} ]] || [[ $(awk '/^(CapEff|CapBnd|NoNewPrivs):/ { printf "%s ", $2 }' "/proc/$pid/status") == '0000000000000000 0000000000000000 1 ' ]] ||
      { inspect "$id" '{{.Name}}' && grep -E '^(Cap|NoNew)' "/proc/$pid/status" && bad=1; }
  done
  return $bad
}

# broker_knows_limit succeeds if RabbitMQ's threshold follows from the memory limit of its container, not from the machine's memory.
broker_knows_limit() {
  local limit
  limit=$(inspect "$(container rabbitmq)" '{{.HostConfig.Memory}}')
  docker compose exec -T rabbitmq rabbitmqctl --formatter=json status | grep -qE "\"vm_memory_high_watermark_limit\":$((limit * 6 / 10))[,}]"
}

# crash SERVICE GATEWAY kills the main process of a container during a batch of 100, and succeeds if the container restarts and all
# images complete. A stop by the docker command, also `docker kill`, would not restart it.
crash() {
  local id restarts job
  id=$(container "$1")
  restarts=$(inspect "$id" '{{.RestartCount}}')
  job=$(submit "$2" "$dir/hundred.json")
  kill -KILL "$(inspect "$id" '{{.State.Pid}}')"
  await 90 has_restarted "$id" "$restarts"
  completed "$2" "$job"
}

has_restarted() {
  (($(inspect "$1" '{{.RestartCount}}') > $2)) &&
    [[ $(inspect "$1" '{{if .State.Health}}{{.State.Health.Status}}{{else}}healthy{{end}}') == healthy ]]
}

# health PATH counts the states of health in a response of Prometheus.
health() { get "$prometheus/api/v1/$1" | grep -oE '"health":"[a-z]+"' | sort | uniq -c; }

is_healthy() { [[ $(health "$1") =~ ^\ *$2\ \"health\":\"$3\"$ ]]; }

# scraped N succeeds if Prometheus has exactly N targets, and all are up.
scraped() { await 90 is_healthy 'targets?state=active' "$1" up || { health 'targets?state=active' && return 1; }; }

# rules succeeds if Prometheus has evaluated every rule without an error.
rules() {
  await 120 is_healthy rules "$(grep -cE '^ +- (alert|record):' deployments/prometheus/rules.yml)" ok || { health rules && return 1; }
}

# traced succeeds if Jaeger has the trace of an image, with our attributes and without those of the docker command.
traced() {
  await 60 has_trace "$(grep -oE '"trace_id":"[0-9a-f]+"' "$dir/job.json" | head -1 | cut -d'"' -f4)"
  grep -q '"deployment.environment.name","type":"string","value":"compose-test"' "$dir/trace.json"
  if grep -o 'docker\.cli[^"]*' "$dir/trace.json"; then return 1; fi
}

has_trace() {
  get "http://localhost:$JAEGER_PORT/api/traces/$1" >"$dir/trace.json" &&
    grep -q '"operationName":"image"' "$dir/trace.json" && grep -q '"operationName":"processing"' "$dir/trace.json"
}

# captioned succeeds if the model described the image that an analyzer reduced for it, its words are in the record and in the file, which
# has a title and keywords of its own, and clients see which model gets images.
captioned() {
  one "$gateway" captions-job
  get "$gateway/api/v1/batch/$(<"$dir/captions-job")/images/0/metadata" | tr -d ' \n' >"$dir/record.json"
  for part in '"description":"768x480"' '"captioned":["description","alt_text"]' '"model":"gemma3:4b"'; do
    grep -qF "$part" "$dir/record.json" || { echo "no $part in" && head -c 400 "$dir/record.json" && return 1; }
  done
  grep -qaF '>768x480<' "$dir/file.jpg"
  get "$gateway/api/v1/limits" | grep -F '"captions":{"model":"gemma3:4b","host":"ollama:11434","pixels":768}'
}

same_image() { [[ $(inspect "$(container gateway)" '{{.Image}}') == "$(inspect "$(container gateway-2)" '{{.Image}}')" ]]; }

no_image() { [[ -z $(docker images --quiet "$1") ]]; }

gone() {
  docker compose --profile '*' down --volumes
  [[ -z $(docker ps --all --quiet --filter label=com.docker.compose.project=$COMPOSE_PROJECT_NAME) &&
    -z $(docker volume ls --quiet --filter label=com.docker.compose.project=$COMPOSE_PROJECT_NAME) &&
    -z $(docker network ls --quiet --filter label=com.docker.compose.project=$COMPOSE_PROJECT_NAME) ]]
}

up() { make --no-print-directory up "$@"; }

down() { make --no-print-directory down; }

scaled() { (($(docker compose ps --quiet analyzer | wc -l) == $1)); }

# --- the run ---

trap 'docker compose --profile "*" down --volumes >/dev/null 2>&1 || true' EXIT
batch 1 "$dir/one.json"
batch 100 "$dir/hundred.json"
always=(analyzer gateway grafana processor prometheus rabbitmq)
echo "Docker $(docker version --format '{{.Server.Version}}'), Compose $(docker compose version --short), ${OWN_ENGINE:+its own engine with stand-in }images"

# Nothing is built yet, so this is the first start of a new user. MinIO takes the longest to build.
if [[ -n ${OWN_ENGINE:-} ]]; then
  check "first start, with versitygw" up S3=versitygw
  first_versitygw=$took
  check "MinIO is not built for it" no_image imagebatch/minio
  check "versitygw stores a job" one "$gateway" versitygw-job
  check "make down" down
else
  skipped=$((skipped + 1))
  echo "skip  first start, with versitygw: this engine may have the images already"
fi
check "make up" up
first=$took
check "all services are healthy" runs "${always[@]}" minio
check "the README's transcript" transcript
check "containers are isolated and bounded" isolated
check "RabbitMQ knows its memory limit" broker_knows_limit
check "Prometheus scrapes every process" scraped 5
check "Prometheus evaluates every rule" rules
check "a job on SQLite and MinIO" one "$gateway" minio-job

for name in gateway analyzer processor rabbitmq minio prometheus grafana; do
  if [[ -n ${OWN_ENGINE:-} || $(id -u) == 0 ]]; then
    check "batch of 100 with a crash of $name" crash $name "$gateway"
  else
    skipped=$((skipped + 1))
    echo "skip  batch of 100 with a crash of $name: only root can kill its process"
  fi
done
check "no container was killed for its memory" isolated
check "batch of 100" all "$gateway"
memory=$(docker stats --no-stream --format '{{.Name}} {{.MemUsage}}')
check "restart" docker compose restart
check "the job is kept" await 60 kept "$gateway" minio-job
check "make down" down
check "make up again" up
again=$took
check "the job is kept" kept "$gateway" minio-job

check "SCALE=analyzer=3" up SCALE=analyzer=3
check "three analyzers" scaled 3
check "Prometheus finds them" scraped 7
check "a job" one "$gateway" scaled-job
check "without SCALE" up
check "one analyzer" scaled 1

check "a batch of 100 that stays open" leave_open
check "PROFILE=postgres" up PROFILE=postgres
check "all services are healthy" runs "${always[@]}" minio postgres
check "containers are isolated and bounded" isolated
check "a job on PostgreSQL" one "$gateway" postgres-job
check "batch of 100 with a crash of postgres" crash postgres "$gateway"

check "PROFILE=gateways" up PROFILE=gateways
check "all services are healthy" runs "${always[@]}" minio postgres gateway-2
check "both gateways run the same image" same_image
check "the second gateway has the job" kept "$gateway_2" postgres-job
check "a job of the second gateway" one "$gateway_2" gateways-job
check "the first gateway has it" kept "$gateway" gateways-job
check "batch of 100 with a crash of gateway-2" crash gateway-2 "$gateway_2"
check "Prometheus scrapes both gateways" scraped 6

check "without a profile" up
check "its services are removed" runs "${always[@]}" minio
check "the job on SQLite is kept" kept "$gateway" minio-job
check "the open batch completes, although other gateways got its results" kept "$gateway" open-job
check "a new job" one "$gateway" again-job

check "S3=versitygw" up S3=versitygw
check "versitygw replaces MinIO" runs "${always[@]}" versitygw
check "containers are isolated and bounded" isolated
check "a job on versitygw" one "$gateway" versitygw-job
check "batch of 100 with a crash of versitygw" crash versitygw "$gateway"
check "without S3" up
check "MinIO replaces versitygw" runs "${always[@]}" minio
check "the job on MinIO is kept" kept "$gateway" minio-job

if [[ -n ${OWN_ENGINE:-} ]]; then
  check "PROFILE=captions" up PROFILE=captions
  check "all services are healthy" runs "${always[@]}" minio ollama
  check "containers are isolated and bounded" isolated
  check "the model's words are in the record and in the file" captioned
  check "batch of 100 with a crash of ollama" crash ollama "$gateway"
else
  skipped=$((skipped + 1))
  echo "skip  PROFILE=captions: its model takes gigabytes"
fi

check "PROFILE=gateways,tracing S3=versitygw SCALE='analyzer=2 processor=2'" up PROFILE=gateways,tracing S3=versitygw SCALE='analyzer=2 processor=2'
check "all services are healthy" runs "${always[@]}" versitygw postgres gateway-2 jaeger
check "containers are isolated and bounded" isolated
check "a job" one "$gateway_2" tracing-job
check "Jaeger has its trace" traced
check "batch of 100 with a crash of jaeger" crash jaeger "$gateway"
check "make down" down
check "make up" up
check "the job on SQLite and MinIO is kept" kept "$gateway" minio-job
check "everything is removed" gone

echo
[[ -z ${first_versitygw:-} ]] || echo "first start with versitygw: $first_versitygw s"
echo "first start with MinIO${first_versitygw:+, after the other images were built}: $first s; start again: $again s"
docker images --format '{{.Repository}} {{.Size}}' | grep '^imagebatch/' | sort -u
echo "memory after the batches:"
echo "$memory" | sed "s/^$COMPOSE_PROJECT_NAME-//" | sort
if ((failed == 0)); then rm -rf "$dir"; fi
echo "$passed passed, $failed failed, $skipped skipped"
((failed == 0))
