# `make help` lists the targets. All except `run`, `build` and `tidy` need bash. The scripts are in deployments/local.
.DEFAULT_GOAL := help
.PHONY: help run test pictures panels build up down compose-test local-up local-down bench bench-system bench-scaling bench-scale bench-compare bench-stores bench-latency bench-console prove kube-test mutants chaos attack vuln sbom lint fmt fuzz tidy verify

MODULES := client shared gateway analyzer processor deployments/network deployments/standalone deployments/chaos deployments/bench
# The command line requires versions of two modules instead of their folders, so that `go install …@latest` works. Only the
# workspace resolves them before they are published.
COMMAND_LINE := client/cmd/imagebatch
# A module outside the workspace, so that its dependencies do not affect the services.
APART := deployments/helm
# Each service is built alone, like its image: with its own go.mod instead of the workspace.
BUILD := GOWORK=off CGO_ENABLED=0 go
# Without grpcnotrace, a package that only the OTLP exporter imports would keep 8 MB of unused code in each binary.
FLAGS := -trimpath -tags=grpcnotrace
# The settings for compose.yaml for each profile: PROFILE=gateways,tracing. S3=versitygw is a profile as well.
comma := ,
PROFILES := $(subst $(comma), ,$(PROFILE)) $(filter versitygw,$(S3))
OLLAMA_MODEL = $${CAPTION_MODEL:-gemma3:4b}
COMPOSE := $(strip \
	$(if $(filter versitygw,$(PROFILES)),MINIO_SCALE=0 S3_ENDPOINT=http://versitygw:7070) \
	$(if $(filter postgres gateways,$(PROFILES)),DATABASE_URL="$${DATABASE_URL:-postgres://imagebatch:$${POSTGRES_PASSWORD:-imagebatch}@postgres:5432/imagebatch}") \
	$(if $(filter tracing,$(PROFILES)),OTEL_EXPORTER_OTLP_ENDPOINT=http://jaeger:4318) \
	$(if $(filter captions,$(PROFILES)),CAPTION_URL=http://ollama:11434/v1 CAPTION_MODEL="$(OLLAMA_MODEL)") \
	COMMIT="$$(git rev-parse HEAD 2>/dev/null)" docker compose $(addprefix --profile ,$(PROFILES)))

# The services of compose.yaml that these profiles do not have.
UNWANTED := $(strip $(if $(filter versitygw,$(PROFILES)),minio,versitygw) $(if $(filter postgres gateways,$(PROFILES)),,postgres) \
	$(if $(filter gateways,$(PROFILES)),,gateway-2) $(if $(filter tracing,$(PROFILES)),,jaeger) $(if $(filter captions,$(PROFILES)),,ollama))

run: bin/standalone ## run everything in one process on :8080; needs only Go; data in ./data
	@exec bin/standalone

# Make passes SCREENSHOTS=FOLDER and HEADFUL=1 on to the browser tests: CONTRIBUTING.md.
test: ## run all tests, with real servers that it starts itself (ARGS='-run TestName' selects some)
	@deployments/local/test.sh $(ARGS)

pictures: ## take the pictures of the console again: 20 in data/pictures, 4 of them in docs/console
	@SCENARIOS=pictures.mjs SCREENSHOTS=data/pictures deployments/local/test.sh -run TestConsole

panels: ## draw every panel of the Grafana dashboards after seven minutes of work and faults, in data/panels; needs Prometheus and matplotlib, which it installs on Debian (ARGS=--again: only draw again)
	@deployments/local/panels.sh $(ARGS)

build: bin/gateway bin/analyzer bin/processor bin/standalone bin/imagebatch ## build static binaries: bin/{gateway,analyzer,processor,standalone,imagebatch}

up: ## start the whole system in Docker (S3=versitygw instead of MinIO; PROFILE=postgres|gateways|tracing|captions,…; SCALE=analyzer=4)
	docker compose rm --stop --force $(UNWANTED)
	$(if $(filter versitygw,$(PROFILES)),$(COMPOSE) build gateway analyzer processor)
	$(if $(filter captions,$(PROFILES)),$(COMPOSE) up ollama --detach --wait)
	$(if $(filter captions,$(PROFILES)),$(COMPOSE) exec -T ollama ollama pull "$(OLLAMA_MODEL)")
	$(COMPOSE) up $(if $(filter versitygw,$(PROFILES)),--no-build,--build) --detach --wait $(addprefix --scale ,$(SCALE))
	$(COMPOSE) exec -T gateway /service take-over

down: ## stop the system of `make up`; the volumes stay
	docker compose --profile "*" down

compose-test: ## run the system of `make up` in every profile, with crashes, in Docker or in an engine that it starts itself
	@deployments/local/compose-test.sh

local-up: ## start the three services with a real RabbitMQ and MinIO, without Docker; prints NAME=URL
	@deployments/local/local.sh up

local-down: ## stop the system of `make local-up`
	@deployments/local/local.sh down

bench: ## run all Go benchmarks, then bench-system (ARGS='-bench=Name' runs only the selected Go benchmarks)
	@deployments/local/bench.sh $(ARGS)
	$(if $(ARGS),,@$(MAKE) --no-print-directory bench-system)

bench-system: ## measure the cost of an image in the whole system, into docs/performance.md; at most 8 minutes; needs an idle machine
	@deployments/local/install.sh rabbitmq minio bench
	@go run ./deployments/bench

bench-scaling: ## measure 1, 2, 4 and 8 analyzers, the loss of one, and 1, 2, 4 and 8 caption analyzers, into docs/operations.md; at most 8 minutes; needs an idle machine
	@deployments/local/install.sh rabbitmq minio
	@go run ./deployments/bench -scaling

bench-scale: ## measure the gateway with 1,000 and with 1,000,000 jobs in SQLite and PostgreSQL, and a backlog of 100,000 images, into docs/performance.md; at most 10 minutes and 15 GB in TMPDIR; needs an idle machine
	@deployments/local/bench.sh --scale

bench-compare: ## measure the services of BASE and of the working tree in turn, and compare them (ARGS='-bench=Name' compares Go benchmarks); at most 8 minutes; needs an idle machine
	@deployments/local/$(if $(ARGS),bench.sh --compare="$(or $(BASE),auto)" $(ARGS),install.sh rabbitmq minio)
	$(if $(ARGS),,@go run ./deployments/bench -compare="$(or $(BASE),auto)")

bench-stores: ## measure the services on MinIO, versitygw and SeaweedFS in turn, into docs/performance.md; at most 8 minutes; needs an idle machine
	@deployments/local/install.sh rabbitmq minio versitygw seaweedfs
	@go run ./deployments/bench -stores

bench-latency: ## measure the services at 0, 2, 10 and 50 ms from their servers, into docs/operations.md; at most 8 minutes; needs root and an idle machine
	@deployments/local/install.sh rabbitmq minio network
	@go run ./deployments/bench -latency

bench-console: bin/standalone ## measure the console in Chromium, into docs/performance.md; at most 5 minutes; needs an idle machine
	@deployments/local/install.sh browser
	@bash -c '. deployments/local/lib.sh; has_websocket node || PATH=$$(dirname "$$(tool node)"):$$PATH; \
		CHROMIUM=$$(browser) PACKAGES=$$(tool console) node deployments/console/bench.mjs'

prove: ## run the long tests, for hours: 20 times without servers, 3 times with, 10,000 damaged files, a watched folder of 1,000 files, each fuzz target for FUZZTIME (60s), mutants, 200 seeds, 20 on versitygw, 100 on clusters, tests and 20 seeds of each on RabbitMQ 4.3 and PostgreSQL 18, kube-test, compose-test
	deployments/local/test.sh --without-servers -count=20 -timeout=3h
	deployments/local/test.sh -count=3 -timeout=3h
	PROVE=1 deployments/local/test.sh -run='TestMutatedFiles|TestWatchedFolder|TestCaptionFaults'
	deployments/local/fuzz.sh $(or $(FUZZTIME),60s)
	deployments/local/mutants.sh
	$(MAKE) --no-print-directory chaos SEEDS=200
	$(MAKE) --no-print-directory chaos S3=versitygw SEEDS=20
	$(MAKE) --no-print-directory chaos SCENARIO=rolling
	$(MAKE) --no-print-directory chaos SCENARIO=outage
	$(MAKE) --no-print-directory chaos SCENARIO=move LANES=1
	$(MAKE) --no-print-directory chaos SCENARIO=leaderless SEEDS=200
	$(MAKE) --no-print-directory chaos SCENARIO=cluster SEEDS=100 LANES=1
	DEBIAN_SUITE=sid deployments/local/test.sh -timeout=1h
	DEBIAN_SUITE=sid $(MAKE) --no-print-directory chaos SEEDS=20
	DEBIAN_SUITE=sid $(MAKE) --no-print-directory chaos SCENARIO=leaderless SEEDS=50
	DEBIAN_SUITE=sid $(MAKE) --no-print-directory chaos SCENARIO=cluster SEEDS=20 LANES=1
	deployments/local/kube-test.sh
	deployments/local/compose-test.sh

kube-test: ## install the chart in a real Kubernetes API server, upgrade, scale and roll back; builds the server, once (ARGS='-run TestCluster/scaling' selects)
	@deployments/local/kube-test.sh $(ARGS)

mutants: ## test the tests: break one promise at a time in a copy of the code, and show which test fails (ARGS=NAME: only one)
	@deployments/local/mutants.sh $(ARGS)

chaos: ## run the services under random faults, with SEEDS (5) seeds starting at FIRST (1), LANES (2) at a time, SCENARIO=rolling|outage|move|leaderless, S3=versitygw instead of MinIO, or seeds on clusters with SCENARIO=cluster LANES=1, which needs root
	@$(if $(filter move,$(SCENARIO)),DEBIAN_SUITE=sid deployments/local/install.sh rabbitmq)
	@deployments/local/install.sh rabbitmq $(or $(S3),minio) postgres $(if $(filter cluster,$(SCENARIO)),network haproxy)
	@go run ./deployments/chaos -first $(or $(FIRST),1) -seeds $(or $(SEEDS),5) -lanes $(or $(LANES),2) -scenario "$(SCENARIO)" -s3 $(or $(S3),minio)

attack: ## run the tests of hostile input (TestAttack…) and print how many cases each has
	@go test -v -run '^TestAttack' $$(grep -rl --include='*_test.go' '^func TestAttack' . | xargs -n1 dirname | sort -u) 2>&1 | awk '\
		function row() { if (name) printf "%-28s %5d cases %4d failed\n", name, cases ? cases : 1, failed; name = "" } \
		/^--- / { row(); name = $$3; cases = 0; failed = /FAIL/ } /^ +--- / { if (!cases++) failed = 0; failed += /FAIL/ } \
		/--- FAIL/ { print } /^(ok|FAIL)/ { row(); print } /^FAIL/ { bad = 1 } END { exit bad }'

vuln: ## check the programs for known vulnerabilities, and the modules against their checksums; needs vuln.go.dev
	@deployments/local/vuln.sh

sbom: build ## write bills of materials in CycloneDX JSON: bin/*.cdx.json
	@deployments/local/sbom.sh

lint: ## run the linters and check the formatting; in CI also check that tidy and generate change no file
	@deployments/local/lint.sh

fmt: ## format all Go files
	@deployments/local/lint.sh fmt

fuzz: ## run each fuzz target for FUZZTIME (5s)
	@deployments/local/fuzz.sh $(or $(FUZZTIME),5s)

tidy: ## run go work sync, then go mod tidy in every module
	@go work sync
	@for module in $(MODULES) $(APART); do GOWORK=off go -C $$module mod tidy || exit 1; done
	@cd $(COMMAND_LINE) && cp go.mod tidy.mod && cp go.sum tidy.sum && \
		go mod edit -replace=github.com/imagebatch/imagebatch/client=../.. -replace=github.com/imagebatch/imagebatch/shared=../../../shared tidy.mod && GOWORK=off go mod tidy -modfile=tidy.mod && \
		go mod edit -dropreplace=github.com/imagebatch/imagebatch/client -dropreplace=github.com/imagebatch/imagebatch/shared tidy.mod && mv tidy.mod go.mod && mv tidy.sum go.sum

verify: lint test fuzz ## run what a change must pass: lint, test, fuzz

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Go decides what must be built again.
.PHONY: bin/gateway bin/analyzer bin/processor bin/standalone bin/imagebatch
bin/gateway bin/analyzer bin/processor: bin/%:
	@$(BUILD) -C $* build $(FLAGS) -o $(CURDIR)/$@ ./cmd/$*

bin/standalone:
	@$(BUILD) -C deployments/standalone build $(FLAGS) -o $(CURDIR)/$@ .

bin/imagebatch:
	@CGO_ENABLED=0 go -C $(COMMAND_LINE) build -trimpath -o $(CURDIR)/$@ .
