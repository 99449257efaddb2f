#!/usr/bin/env bash
# Builds images under all names that compose.yaml and our Dockerfiles use, for an engine that cannot pull the real ones.
#
#   stand-ins.sh --prepare ROOT   build the Go programs, and compile what the image builds need (minutes, once)
#   stand-ins.sh ROOT             build the images in the running engine
#
# ROOT is the root file system of docker.sh. RabbitMQ, PostgreSQL and Prometheus are those of Debian 13, whose versions differ from
# the real ones. versitygw and Jaeger are built from the same version of the source as the real images. Grafana is a web server that
# only responds to the health check. Ollama is analyzer/visiontest/ollama, whose model only measures the image. Entrypoints, users,
# owners of folders and volumes are those of the real images.
#
# The stand-in for golang has a copy of the modules, as it cannot download any, and a build cache, so that MinIO is compiled once
# and not in each run. With COLD=yes it has no build cache: the first build then takes as long as on a new machine.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib.sh"
cd "$here/../.."
export GOWORK=off CGO_ENABLED=0
services=(gateway analyzer processor)
build_cache=$cache/compose-go-build

prepare() {
  local name staging
  for name in versitygw jaeger; do
    [[ ! -x $(tool $name) ]] || continue
    echo "building $name $(pinned $name) (minutes, once)" >&2
    staging=$(mktemp -d "$cache/building.XXXXXX")
    GOBIN=$staging go -C "$(module_of $name)" install -trimpath -ldflags='-s -w' tool
    mkdir -p "$(dirname "$(tool $name)")"
    mv "$staging/$name" "$(tool $name)"
    rm -rf "$staging"
  done
  # The engine has no network.
  modules >/dev/null
  [[ ${COLD:-} != yes ]] || return 0
  # The flags are those of the Dockerfiles; -export compiles without linking.
  echo "compiling the services and MinIO (minutes, once)" >&2
  for name in "${services[@]}"; do
    GOCACHE=$build_cache go -C "$name" list -export -deps -trimpath -tags=grpcnotrace "./cmd/$name" >/dev/null
  done
  GOCACHE=$build_cache go -C deployments/minio list -export -deps -trimpath tool >/dev/null
}

# image NAME FOLDER builds an image from the Dockerfile on standard input. Without buildx, the command has only the old builder,
# which is enough for this.
image() {
  cat >"$2/Dockerfile"
  DOCKER_BUILDKIT=0 docker build --quiet --tag "$1" "$2" >"$dir/log" 2>&1 || { cat "$dir/log" >&2 && die "cannot build $1"; }
}

# named PART prints the name of the one image in compose.yaml or the Dockerfiles that contains PART.
named() {
  grep -hoE "^(FROM|    image:) [^ ]*$1[^ ]*" compose.yaml deployments/Dockerfile deployments/minio/Dockerfile |
    sed -E 's/.* //; s/\$\{[A-Z_]+:-([^}]*)\}/\1/' | sort -u
}

# modules lists the downloaded modules that the image builds need, and the small files that describe all downloaded modules: Go also
# reads the requirements of modules that it does not use.
modules() {
  local name downloads
  downloads=$(go env GOMODCACHE)/cache/download
  for name in "${services[@]}" deployments/minio; do
    go -C "$name" mod download -json
  done | sed -nE "s|^\t\"Zip\": \"$downloads/(.*)\",?\$|\1|p" | sort -u
  (cd "$downloads" && find . -name '*.mod' -o -name '*.info')
}

build() {
  local debian=imagebatch.test/debian go_cache name
  dir=$(mktemp -d "${TMPDIR:-/tmp}/imagebatch-images.XXXXXX")
  trap 'rm -rf "$dir"' EXIT
  mkdir "$dir/"{alpine,distroless,rabbitmq,postgres,prometheus,grafana,versitygw,jaeger,ollama}

  tar -C "$root" --exclude=./installed --exclude='./usr/share/'{doc,locale,man} --exclude='./var/'{cache,lib}/apt --exclude='./usr/libexec/docker' \
    --exclude='./usr/bin/'{docker,containerd}'*' --exclude='./usr/sbin/'{dockerd,docker-proxy,runc} -c . |
    docker import --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin' - $debian >/dev/null

  mkdir -p "$dir/alpine/bin" "$dir/alpine/etc" "$dir/alpine/tmp" "$dir/distroless/"{etc/ssl/certs,tmp}
  chmod 1777 "$dir/"{alpine,distroless}/tmp
  echo 'root:x:0:0::/:/bin/sh' | tee "$dir/alpine/etc/passwd" >"$dir/distroless/etc/passwd"
  cp "$root/usr/bin/busybox" "$dir/alpine/bin/"
  for name in sh wget mkdir; do ln -s busybox "$dir/alpine/bin/$name"; done
  tar -C "$dir/alpine" -c . | docker import --change 'ENV PATH=/usr/local/bin:/bin' - "$(named alpine)" >/dev/null
  tar -C "$dir/distroless" -c . | docker import - "$(named distroless)" >/dev/null

  # Go's programs are static, so the toolchain needs no C library. Its download folder has the layout of a module proxy.
  mkdir "$dir/proxy"
  modules | tar -C "$(go env GOMODCACHE)/cache/download" --files-from=- -c | tar -C "$dir/proxy" -x
  go_cache=()
  if [[ ${COLD:-} != yes ]]; then go_cache=(-C "$cache" "${build_cache##*/}"); fi
  tar --transform="s,^(bin|pkg|src|lib|VERSION|go\.env)($|/),usr/local/go/\1\2,x;s,^${build_cache##*/},cache," -c \
    -C "$dir/alpine" . -C "$dir" proxy -C "$(go env GOROOT)" bin pkg src lib VERSION go.env "${go_cache[@]}" |
    docker import --change 'ENV PATH=/usr/local/go/bin:/bin GOPATH=/go GOPROXY=file:///proxy GOSUMDB=off GOTOOLCHAIN=local' \
      ${go_cache:+--change 'ENV GOCACHE=/cache'} - "$(named golang)" >/dev/null

  cat >"$dir/rabbitmq/entrypoint" <<'SH'
#!/bin/bash -e
if [ "$(id -u)" = 0 ]; then
  find /var/lib/rabbitmq \! -user rabbitmq -exec chown rabbitmq '{}' +
  exec setpriv --reuid=rabbitmq --regid=rabbitmq --clear-groups "$0" "$@"
fi
exec "$@"
SH
  echo 'log.console = true' >"$dir/rabbitmq/10-defaults.conf"
  image "$(named 'rabbitmq:')" "$dir/rabbitmq" <<DOCKER
FROM $debian
ENV PATH=/usr/lib/rabbitmq/bin:\$PATH HOME=/var/lib/rabbitmq LANG=C.UTF-8
COPY entrypoint /usr/local/bin/docker-entrypoint.sh
COPY 10-defaults.conf /etc/rabbitmq/conf.d/
RUN chmod 755 /usr/local/bin/docker-entrypoint.sh && groupmod --gid 999 rabbitmq && usermod --uid 999 rabbitmq && \\
    rm -rf /var/lib/rabbitmq && echo '[rabbitmq_management,rabbitmq_prometheus].' >/etc/rabbitmq/enabled_plugins && \\
    install -d -o rabbitmq -g rabbitmq -m 1777 /var/lib/rabbitmq /var/log/rabbitmq /etc/rabbitmq && chown -R rabbitmq: /etc/rabbitmq /var/log/rabbitmq
VOLUME /var/lib/rabbitmq
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["rabbitmq-server"]
DOCKER

  cat >"$dir/postgres/entrypoint" <<'SH'
#!/bin/bash -e
mkdir -p "$PGDATA" && chmod 700 "$PGDATA" || :
mkdir -p /var/run/postgresql && chmod 3775 /var/run/postgresql || :
if [ "$(id -u)" = 0 ]; then
  find "$PGDATA" /var/run/postgresql \! -user postgres -exec chown postgres '{}' +
  exec setpriv --reuid=postgres --regid=postgres --clear-groups "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb --username="$POSTGRES_USER" --pwfile=<(echo "$POSTGRES_PASSWORD")
  echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
  pg_ctl -w -o "-c listen_addresses=''" start
  psql --username="$POSTGRES_USER" --dbname=postgres --command="CREATE DATABASE $POSTGRES_DB"
  pg_ctl -m fast -w stop
fi
exec "$@" -c listen_addresses='*'
SH
  image "$(named postgres:)" "$dir/postgres" <<DOCKER
FROM $debian
ENV PATH=\$PATH:/usr/lib/postgresql/17/bin PGDATA=/var/lib/postgresql/data LANG=C.UTF-8
COPY entrypoint /usr/local/bin/docker-entrypoint.sh
RUN chmod 755 /usr/local/bin/docker-entrypoint.sh && groupmod --gid 999 postgres && usermod --uid 999 postgres && rm -rf /var/lib/postgresql && \\
    install -d -o postgres -g postgres -m 1777 /var/lib/postgresql /var/lib/postgresql/data && \\
    install -d -o postgres -g postgres -m 3777 /var/run/postgresql
VOLUME /var/lib/postgresql/data
STOPSIGNAL SIGINT
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["postgres"]
DOCKER

  image "$(named prom/)" "$dir/prometheus" <<DOCKER
FROM $debian
RUN ln -s busybox /usr/bin/wget && rm -rf /etc/prometheus && install -d -o nobody /etc/prometheus /prometheus
USER nobody
VOLUME /prometheus
WORKDIR /prometheus
ENTRYPOINT ["prometheus"]
CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
DOCKER

  mkdir -p "$dir/grafana/www/api"
  echo '{"database":"ok"}' >"$dir/grafana/www/api/health"
  cat >"$dir/grafana/run.sh" <<'SH'
#!/bin/sh -e
# Like Grafana, it reads what is provisioned and writes its database.
for file in "$GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH" /etc/grafana/provisioning/*/*; do [ -s "$file" ]; done
echo >/var/lib/grafana/grafana.db
exec busybox httpd -f -p 3000 -h /www
SH
  image "$(named grafana/)" "$dir/grafana" <<DOCKER
FROM $(named alpine)
COPY www /www
COPY run.sh /run.sh
USER 472
STOPSIGNAL SIGKILL
ENTRYPOINT ["sh", "/run.sh"]
DOCKER

  cp "$(tool versitygw)" "$dir/versitygw/"
  image "$(named versitygw)" "$dir/versitygw" <<DOCKER
FROM $(named alpine)
COPY versitygw /usr/local/bin/versitygw
ENTRYPOINT ["versitygw"]
DOCKER

  cp "$(tool jaeger)" "$dir/jaeger/"
  image "$(named jaegertracing)" "$dir/jaeger" <<DOCKER
FROM $(named distroless)
COPY jaeger /cmd/jaeger/jaeger-linux
USER 10001
ENTRYPOINT ["/cmd/jaeger/jaeger-linux"]
DOCKER

  go -C analyzer build -trimpath -o "$dir/ollama/ollama" ./visiontest/ollama
  image "$(named ollama/)" "$dir/ollama" <<DOCKER
FROM $(named alpine)
COPY ollama /bin/ollama
ENTRYPOINT ["/bin/ollama"]
CMD ["serve"]
DOCKER
}

if [[ $1 == --prepare ]]; then
  prepare
else
  root=$1
  build
fi
