# `make help` lists what there is. Everything but `run`, `build` and `tidy` needs bash; scripts are in deployments/local.
.DEFAULT_GOAL := help
.PHONY: help run test build up down local-up local-down bench bench-system bench-scaling prove mutants chaos attack vuln sbom lint fmt fuzz tidy verify

MODULES := shared gateway analyzer processor deployments/standalone deployments/chaos deployments/bench
# A module apart from the workspace: its dependencies decide no version of a service.
APART := deployments/helm
# Each service is built alone, as its image is: its own go.mod decides, not the workspace.
BUILD := GOWORK=off CGO_ENABLED=0 go
# Without grpcnotrace a package that only the OTLP exporter imports would keep 8 MB of unused code in each binary.
FLAGS := -trimpath -tags=grpcnotrace
# What compose.yaml is told for each profile: PROFILE=gateways,tracing. S3=versitygw is a profile too.
comma := ,
PROFILES := $(subst $(comma), ,$(PROFILE)) $(filter versitygw,$(S3))
COMPOSE := $(strip \
	$(if $(filter versitygw,$(PROFILES)),MINIO_SCALE=0 S3_ENDPOINT=http://versitygw:7070) \
	$(if $(filter postgres gateways,$(PROFILES)),DATABASE_URL="$${DATABASE_URL:-postgres://imagebatch:$${POSTGRES_PASSWORD:-imagebatch}@postgres:5432/imagebatch}") \
	$(if $(filter tracing,$(PROFILES)),OTEL_EXPORTER_OTLP_ENDPOINT=http://jaeger:4318) \
	COMMIT="$$(git rev-parse HEAD 2>/dev/null)" docker compose $(addprefix --profile ,$(PROFILES)))

run: bin/standalone ## everything in one process on :8080, nothing but Go needed; data in ./data
	@exec bin/standalone

test: ## all tests, against real servers that it starts itself (ARGS='-run TestName' narrows them)
	@deployments/local/test.sh $(ARGS)

build: bin/gateway bin/analyzer bin/processor bin/standalone ## static binaries: bin/{gateway,analyzer,processor,standalone}

up: ## the whole system in Docker (S3=versitygw in place of MinIO; PROFILE=postgres|gateways|tracing,…; SCALE=analyzer=4)
	$(COMPOSE) up --build --detach --wait $(addprefix --scale ,$(SCALE))

down: ## end what `make up` began; the volumes stay
	docker compose --profile "*" down

local-up: ## the three services with a real RabbitMQ and MinIO, no Docker; prints NAME=URL
	@deployments/local/local.sh up

local-down: ## end what `make local-up` began
	@deployments/local/local.sh down

bench: ## all Go benchmarks, then bench-system (ARGS='-bench=Name' narrows it to some of the former)
	@deployments/local/bench.sh $(ARGS)
	$(if $(ARGS),,@$(MAKE) --no-print-directory bench-system)

bench-system: ## what an image costs in the whole system, into docs/performance.md; 8 minutes at most on an idle machine
	@deployments/local/install.sh rabbitmq minio bench
	@go run ./deployments/bench

bench-scaling: ## fleets of 1, 2, 4 and 8 analyzers, and the loss of one, into docs/operations.md; 5 minutes at most
	@deployments/local/install.sh rabbitmq minio
	@go run ./deployments/bench -scaling

prove: ## the long proofs, hours: 20 times without servers, 3 times with, 10,000 damaged files, each fuzz target for FUZZTIME (60s), mutants, 200 seeds
	deployments/local/test.sh --without-servers -count=20 -timeout=3h
	deployments/local/test.sh -count=3 -timeout=3h
	PROVE=1 deployments/local/test.sh --without-servers -run=TestMutatedFiles
	deployments/local/fuzz.sh $(or $(FUZZTIME),60s)
	deployments/local/mutants.sh
	$(MAKE) --no-print-directory chaos SEEDS=200
	$(MAKE) --no-print-directory chaos SCENARIO=rolling
	$(MAKE) --no-print-directory chaos SCENARIO=outage
	$(MAKE) --no-print-directory chaos SCENARIO=leaderless

mutants: ## tests the tests: breaks the code in a copy, promise by promise, and shows which test notices (ARGS=NAME: one)
	@deployments/local/mutants.sh $(ARGS)

chaos: ## the services under faults drawn from SEEDS (5) seeds from FIRST (1) on, LANES (2) at a time, or SCENARIO=rolling|outage|leaderless
	@deployments/local/install.sh rabbitmq minio postgres
	@go run ./deployments/chaos -first $(or $(FIRST),1) -seeds $(or $(SEEDS),5) -lanes $(or $(LANES),2) -scenario "$(SCENARIO)"

attack: ## run the tests of hostile input (TestAttack…) and print how many cases each has
	@go test -v -run '^TestAttack' $$(grep -rl --include='*_test.go' '^func TestAttack' . | xargs -n1 dirname | sort -u) 2>&1 | awk '\
		function row() { if (name) printf "%-28s %5d cases %4d failed\n", name, cases ? cases : 1, failed; name = "" } \
		/^--- / { row(); name = $$3; cases = 0; failed = /FAIL/ } /^ +--- / { if (!cases++) failed = 0; failed += /FAIL/ } \
		/--- FAIL/ { print } /^(ok|FAIL)/ { row(); print } /^FAIL/ { bad = 1 } END { exit bad }'

vuln: ## known vulnerabilities in what the programs call, and modules that are not what they were; needs vuln.go.dev
	@deployments/local/vuln.sh

sbom: build ## bills of materials in CycloneDX's JSON: bin/*.cdx.json
	@deployments/local/sbom.sh

lint: ## linters and formatting; in CI also that nothing is left to tidy or generate
	@deployments/local/lint.sh

fmt: ## format all Go files
	@deployments/local/lint.sh fmt

fuzz: ## each fuzz target for FUZZTIME (5s)
	@deployments/local/fuzz.sh $(or $(FUZZTIME),5s)

tidy: ## go work sync, then go mod tidy in every module
	@go work sync
	@for module in $(MODULES) $(APART); do GOWORK=off go -C $$module mod tidy || exit 1; done

verify: lint test fuzz ## what a change must pass: lint, test, fuzz

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Go itself knows best what must be built again.
.PHONY: bin/gateway bin/analyzer bin/processor bin/standalone
bin/gateway bin/analyzer bin/processor: bin/%:
	@$(BUILD) -C $* build $(FLAGS) -o $(CURDIR)/$@ ./cmd/$*

bin/standalone:
	@$(BUILD) -C deployments/standalone build $(FLAGS) -o $(CURDIR)/$@ .
