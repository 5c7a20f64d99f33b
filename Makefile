# Annika's commands. `make` alone lists them.

.DEFAULT_GOAL := help
.PHONY: help run demo test simulate simulate-day mutants stage start bench

# The folder that `func`, the emulator and the deploy package all use.
STAGE ?= target/func-app
# The handler to stage; without it, the dev profile is built.
BIN ?=
PORT ?= 7071

help: ## List the commands
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Where cargo puts what it builds.
DEBUG = $${CARGO_TARGET_DIR:-target}/debug

# Handler and development tools in one build, so that nothing is compiled twice; then the app is staged.
.PHONY: built
built:
	cargo build --workspace --bins
	@$(MAKE) --no-print-directory stage BIN="$(DEBUG)/annika"

run: built ## Start everything and show tasks moving both ways; then stay up (PORT=7071, REDIS=use takes REDIS_URL)
	@exec "$(DEBUG)/annika-dev" run --app "$(STAGE)" --port $(PORT) $(if $(filter use,$(REDIS)),--use-redis)

demo: built ## The same without a person: exit 0 only if every step was observed
	@exec "$(DEBUG)/annika-dev" demo --app "$(STAGE)"

test: ## Run every test; the last line counts them
	@exec scripts/test.sh

.PHONY: test-stores
test-stores: ## The tests that meet the store on Redis 6.2, 7 and Valkey 9, and with the real RedisJSON module
	@exec scripts/test-stores.sh

.PHONY: kill-runs
kill-runs: ## Two handlers, one Redis, and RUNS=20 times everything is killed, stopped and cut (SEED=1)
	@ANNIKA_KILL_RUNS=$(or $(RUNS),20) ANNIKA_KILL_SEED=$(or $(SEED),1) \
	  cargo test --quiet --package annika --test it -- --nocapture process::kill_runs

simulate: ## Play SEEDS=2000 schedules of the sync engine under faults (FROM=0, NO_FAULTS=1, TWICE=1; SEED=n TRACE=1 for one)
	cargo run --quiet --release --package annika-simulate -- $(if $(NO_FAULTS),--no-faults) $(if $(TWICE),--twice) \
	  $(if $(SEED),--seed $(SEED) $(if $(TRACE),--trace),--seeds $(or $(SEEDS),2000) --from $(or $(FROM),0))

simulate-day: ## Play 24 hours of one person and three agents under mild faults (SEED=1)
	cargo run --quiet --release --package annika-simulate -- day --seed $(or $(SEED),1)

mutants: ## Take one rule after another out of the engine; something must notice each (STRONG=1 for the quick ones)
	cargo run --quiet --release --package annika-simulate --features mutants -- \
	  mutants $(if $(STRONG),--strong) $(if $(ONLY),--only $(ONLY))

stage: ## Build the handler (dev profile) and lay the Functions app flat into target/func-app
ifeq ($(BIN),)
	cargo build --workspace --bin annika
endif
	@mkdir -p "$(STAGE)"
	@# A function that is gone must not stay. What is right stays untouched, and the binary appears whole, because
	@# another make may be starting the app at this moment.
	@for file in "$(STAGE)"/*/function.json; do \
	  folder=$$(dirname "$$file"); \
	  if [ -f "$$file" ] && [ ! -f "functions/$${folder##*/}/function.json" ]; then rm "$$file" && rmdir "$$folder" || exit 1; fi; \
	done
	@for file in host.json local.settings.json functions/*/function.json; do \
	  to="$(STAGE)/$${file#functions/}"; \
	  mkdir -p "$$(dirname "$$to")" && { cmp -s "$$file" "$$to" || cp "$$file" "$$to"; } || exit 1; \
	done
	@install -m 0755 "$(if $(BIN),$(BIN),$${CARGO_TARGET_DIR:-target}/debug/annika)" "$(STAGE)/.annika.$$PPID"
	@mv -f "$(STAGE)/.annika.$$PPID" "$(STAGE)/annika"
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

bench: ## Measure the product (profile dist) and print every figure beside its target (ONLY=name for one)
	cargo build --profile dist --package annika --bin annika
	@$(MAKE) --no-print-directory stage STAGE=target/bench-app BIN="$${CARGO_TARGET_DIR:-target}/dist/annika"
	cargo run --release --package annika-devkit --bin annika-dev -- \
	  bench --app target/bench-app --profile dist $(if $(ONLY),--only $(ONLY))
