# Annika's commands. `make` alone lists them.

.DEFAULT_GOAL := help
.PHONY: help stage start bench

# The folder that `func`, the emulator and the deploy package all use.
STAGE ?= target/func-app
# The handler to stage; without it, the dev profile is built.
BIN ?=
PORT ?= 7071

help: ## List the commands
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

stage: ## Build the handler (dev profile) and lay the Functions app flat into target/func-app
ifeq ($(BIN),)
	cargo build --package annika --bin annika
endif
	@mkdir -p "$(STAGE)"
	@# A function that is gone must not stay.
	@find "$(STAGE)" -mindepth 2 -maxdepth 2 -name function.json -delete
	@find "$(STAGE)" -mindepth 1 -maxdepth 1 -type d -empty -delete
	@cp host.json local.settings.json "$(STAGE)/"
	@for folder in functions/*/; do \
	  name=$$(basename "$$folder"); \
	  mkdir -p "$(STAGE)/$$name" && cp "$$folder/function.json" "$(STAGE)/$$name/" || exit 1; \
	done
	@install -m 0755 "$(if $(BIN),$(BIN),$${CARGO_TARGET_DIR:-target}/debug/annika)" "$(STAGE)/annika"
	@echo "staged $(STAGE): $$(ls functions | wc -l) functions"

start: stage ## Run the app in the real Functions host: Azure Functions Core Tools, and Azurite for the timers
	@command -v func >/dev/null || { \
	  echo "make start needs Azure Functions Core Tools 4 (command 'func'); 'make run' needs neither them nor Azure."; \
	  exit 1; }
	@command -v azurite >/dev/null || { \
	  echo "make start needs Azurite for the timers: npm install -g azurite"; exit 1; }
	@mkdir -p target/azurite; \
	azurite --silent --skipApiVersionCheck --location target/azurite & azurite=$$!; \
	trap 'kill $$azurite 2>/dev/null' EXIT INT TERM; \
	func start --script-root "$(STAGE)" --port $(PORT)

# Parts to measure (latency, upload, process, throughput), separated by commas; all without it. BENCH_QUICK=1: a smoke run.
ONLY ?=

bench: ## Measure the product (profile dist) and print every figure beside its target
	cargo build --profile dist --package annika --bin annika
	@$(MAKE) --no-print-directory stage STAGE=target/bench-app BIN="$${CARGO_TARGET_DIR:-target}/dist/annika"
	cargo run --release --package annika-devkit --bin annika-dev -- \
	  bench --app target/bench-app --profile dist $(if $(ONLY),--only $(ONLY))
