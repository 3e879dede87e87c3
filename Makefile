# Everything a contributor does here. Needs Rust (rustup) and Go 1.26 or later; the first build of the
# Kubernetes control plane takes about five minutes and is cached in target/cluster.

CARGO ?= cargo
DEV := target/debug/keyplane-dev
# What a run of all tests leaves, until it has been looked through for keys and tokens.
RUN := $(CURDIR)/target/test-run
export CARGO_TARGET_DIR := $(CURDIR)/target
MUSL := $(shell uname -m)-unknown-linux-musl
WINDOWS := x86_64-pc-windows-gnu
OPENAPI := $(CARGO) run --locked -p keyplane-operator --bin keyplane -- openapi
# Most tests wait for the control plane: three at once keep two cores busy.
THREADS ?= $(shell n=$$(nproc 2>/dev/null || echo 3); echo $$((n < 3 ? 3 : n)))

.DEFAULT_GOAL := help
.PHONY: help build programs demo test bench-verify bench-plugin plugin check-platforms up down generate check fmt clippy drift deny

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build keyplane, kubectl-keyplane and the harness
	$(CARGO) build --locked --workspace

programs: build ## Find or build the programs of a Kubernetes control plane
	$(DEV) programs

demo: programs ## Walk through the main job on a control plane that comes and goes with it
	$(DEV) demo

test: programs ## Run all tests, the ones on a real control plane included
	cd tests/cluster/supervise && go test ./...
	cd tests/cluster/etcd-scan && go test ./...
	rm -rf $(RUN) && mkdir -p -m 700 $(RUN)
	code=0; PATH="$$PATH:$(CURDIR)/target/tools" $(CARGO) test --locked --workspace --exclude keyplane-tests --no-fail-fast || code=$$?; \
		KEYPLANE_TEST_RUN_DIR=$(RUN) RUST_TEST_THREADS=$(THREADS) $(CARGO) test --locked -p keyplane-tests --no-fail-fast -- --show-output || code=$$?; \
		$(DEV) scan $(RUN) || code=$$?; exit $$code

bench-verify: programs ## Measure how fast keys are verified, beside hyper and nginx (needs wrk and nginx)
	$(CARGO) build --locked --release -p keyplane-operator -p keyplane-benches
	target/release/bench-verify

plugin: ## Build kubectl-keyplane as it is released: one static program (needs musl-gcc: apt-get install musl-tools)
	@command -v musl-gcc >/dev/null || { echo "musl-gcc is missing: apt-get install musl-tools"; exit 1; }
	@rustup target list --installed | grep -qx $(MUSL) || rustup target add $(MUSL)
	$(CARGO) build --locked --profile plugin --target $(MUSL) -p keyplane-credential-plugin

check-platforms: ## Check that kubectl-keyplane still compiles for Windows (needs mingw: apt-get install gcc-mingw-w64-x86-64)
	@command -v x86_64-w64-mingw32-gcc >/dev/null || { echo "x86_64-w64-mingw32-gcc is missing: apt-get install gcc-mingw-w64-x86-64"; exit 1; }
	@rustup target list --installed | grep -qx $(WINDOWS) || { echo "the target is missing: rustup target add $(WINDOWS)"; exit 1; }
	$(CARGO) clippy --locked --target $(WINDOWS) -p keyplane-credential-plugin --all-targets -- -D warnings

bench-plugin: plugin ## Measure how fast kubectl-keyplane starts, beside other credential plugins (needs Go)
	$(CARGO) build --locked --release -p keyplane-plugin-bench
	target/release/bench-plugin --plugin target/$(MUSL)/plugin/kubectl-keyplane

up: programs ## Start a control plane and Keyplane and leave them running (CONTEXT=name: on an existing cluster)
	$(DEV) up $(if $(CONTEXT),--context $(CONTEXT))

down: ## Stop what `make up` started and remove its data
	@if [ -d target/dev ]; then $(CARGO) build --locked -p keyplane-tests && $(DEV) down; else echo "Nothing is up."; fi

generate: ## Write the generated files again (resource definitions, pages of docs, manual pages, the OpenAPI document)
	$(CARGO) run --locked -p keyplane-crds --bin generate-crds
	$(CARGO) run --locked -p keyplane-tests --bin generate-permissions
	$(CARGO) run --locked -p keyplane-tests --bin generate-documents
	$(CARGO) run --locked -p keyplane-credential-plugin --example man
	$(OPENAPI) > target/openapi.json && mv target/openapi.json docs/openapi.json

check: fmt clippy drift deny ## What a change must pass besides the tests

fmt: ## Check the formatting
	$(CARGO) fmt --all --check
	@unformatted=$$(gofmt -l tests/cluster); if [ -n "$$unformatted" ]; then echo "run gofmt -w on: $$unformatted"; exit 1; fi

clippy: ## Check the lints
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	cd tests/cluster/supervise && go vet ./...
	cd tests/cluster/etcd-scan && go vet ./...

drift: ## Check that the generated files are up to date
	$(CARGO) run --locked -p keyplane-crds --bin generate-crds -- --check
	$(CARGO) run --locked -p keyplane-tests --bin generate-permissions -- --check
	$(CARGO) run --locked -p keyplane-tests --bin generate-documents -- --check
	$(CARGO) run --locked -p keyplane-credential-plugin --example man -- --check
	@$(OPENAPI) > target/openapi.json
	@diff -u docs/openapi.json target/openapi.json || \
		{ echo "docs/openapi.json differs from operator/src/api: run \`make generate\` and commit the result"; exit 1; }

deny: ## Check licences, sources and banned crates (needs cargo-deny)
	@$(CARGO) deny --version >/dev/null 2>&1 || { echo "cargo-deny is missing: cargo install --locked cargo-deny"; exit 1; }
	$(CARGO) deny check bans licenses sources
