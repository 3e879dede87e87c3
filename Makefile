# Everything a contributor does here. Needs Rust (rustup) and Go 1.26 or later; the first build of the
# Kubernetes control plane takes about five minutes and is cached in target/cluster.

CARGO ?= cargo
BUILT := target/debug
DEV := $(BUILT)/keyplane-dev
# What a run of all tests leaves, until it has been looked through for keys and tokens.
RUN := $(CURDIR)/target/test-run
export CARGO_TARGET_DIR := $(CURDIR)/target
MUSL := $(shell uname -m)-unknown-linux-musl
WINDOWS := x86_64-pc-windows-gnu
# Most tests wait for the control plane: three at once keep two cores busy.
THREADS ?= $(shell n=$$(nproc 2>/dev/null || echo 3); echo $$((n < 3 ? 3 : n)))

.DEFAULT_GOAL := help
.PHONY: help build programs demo test bench-verify bench-plugin plugin check-platforms up down generate check fmt clippy drift deny

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# What the tests need too: `--workspace` and the examples give every crate the features that it has there, so that
# nothing is compiled twice.
build: ## Build keyplane, kubectl-keyplane and the harness
	$(CARGO) build --locked --workspace --bins --examples

programs: build ## Find or build the programs of a Kubernetes control plane
	$(DEV) programs

demo: programs ## Walk through the main job on a control plane that comes and goes with it
	$(DEV) demo

test: programs ## Run all tests, the ones on a real control plane included
	cd tests/cluster/supervise && go test ./...
	cd tests/cluster/etcd-scan && go test ./...
	rm -rf $(RUN) && mkdir -p -m 700 $(RUN)
	code=0; PATH="$$PATH:$(CURDIR)/target/tools" KEYPLANE_TEST_RUN_DIR=$(RUN) RUST_TEST_THREADS=$(THREADS) \
		$(CARGO) test --locked --workspace --no-fail-fast -- --show-output || code=$$?; \
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
	@if [ -d target/dev ]; then $(MAKE) build && $(DEV) down; else echo "Nothing is up."; fi

generate: build ## Write the generated files again (resource definitions, pages of docs, manual pages, the OpenAPI document)
	$(BUILT)/generate-crds
	$(BUILT)/generate-permissions
	$(BUILT)/generate-documents
	$(BUILT)/examples/man
	$(BUILT)/keyplane openapi > target/openapi.json && mv target/openapi.json docs/openapi.json

check: fmt clippy drift deny ## What a change must pass besides the tests

fmt: ## Check the formatting
	$(CARGO) fmt --all --check
	@unformatted=$$(gofmt -l tests/cluster); if [ -n "$$unformatted" ]; then echo "run gofmt -w on: $$unformatted"; exit 1; fi

# Each crate that is built for others must also have every feature it needs by itself.
clippy: ## Check the lints
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	for crate in keyplane-core keyplane-crds keyplane-operator keyplane-credential-plugin; do $(CARGO) check --locked -p $$crate || exit; done
	cd tests/cluster/supervise && go vet ./...
	cd tests/cluster/etcd-scan && go vet ./...

drift: build ## Check that the generated files are up to date
	$(BUILT)/generate-crds --check
	$(BUILT)/generate-permissions --check
	$(BUILT)/generate-documents --check
	$(BUILT)/examples/man --check
	@$(BUILT)/keyplane openapi > target/openapi.json
	@diff -u docs/openapi.json target/openapi.json || \
		{ echo "docs/openapi.json differs from operator/src/api: run \`make generate\` and commit the result"; exit 1; }

deny: ## Check licences, sources and banned crates (needs cargo-deny)
	@$(CARGO) deny --version >/dev/null 2>&1 || { echo "cargo-deny is missing: cargo install --locked cargo-deny"; exit 1; }
	$(CARGO) deny check bans licenses sources
