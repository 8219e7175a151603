# Names for what one does here; the work is done by cargo and scripts/.
.DEFAULT_GOAL := help
.PHONY: help build release check test test-fast bench demo dev clean-demo

HOST := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')

# Arguments for `make dev`, `make demo` and `make bench`: make dev ARGS='--executor sandbox'
ARGS ?=

help: ## Lists these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Builds the binary for working on it (debug, quick to build)
	cargo build --package the0-runtime

release: ## Builds bin/runtime, the binary for use (small, fast, static)
	cargo build --package the0-runtime --release
	install -D target/$(HOST)/release/runtime bin/runtime

check: ## Formatting, lints and the house rules; seconds once built
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --all-features -- -D warnings
	cargo test --package the0-testkit --test tidy

test: ## Everything, on a fresh machine too: installs what tests need, stops what it started (root or sudo)
	scripts/test.sh

test-fast: ## Unit and property tests only; needs nothing installed
	cargo test --workspace --lib --bins

bench: ## Measures the targets of the README side by side, as ratios
	scripts/bench.sh $(ARGS)

demo: ## Runs bots, breaks them, and shows how they come back; a few minutes, then everything is gone
	scripts/demo.sh $(ARGS)

dev: ## Starts the service here and leaves it running in the foreground
	cargo run --package the0-runtime -- dev $(ARGS)

clean-demo: ## Removes what an interrupted demo left behind
	scripts/demo.sh --clean
