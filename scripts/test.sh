#!/bin/sh
# Every test of the workspace, and a last line that counts them. Arguments go to `cargo test`.
set -u
cd "$(dirname "$0")/.." || exit 1

# Tests start servers of their own; what is exported for something else is not theirs.
unset REDIS_URL REDIS_HOST REDIS_PORT REDIS_PASSWORD REDIS_DB

folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
# Tests that lack something (recorded answers, node) write their names here.
ANNIKA_SKIP_LOG=$folder/skipped
export ANNIKA_SKIP_LOG
: >"$ANNIKA_SKIP_LOG"

started=$(date +%s)
{
  cargo test --workspace --no-fail-fast "$@" 2>&1
  echo $? >"$folder/status"
} | tee "$folder/output"
status=$(cat "$folder/status")

# A skipped test returns early, so cargo counts it as passed.
skipped=$(sort -u "$ANNIKA_SKIP_LOG" | grep -c .)
counts=$(awk -v skipped="$skipped" '
  /^test result: / {
    for (i = 2; i <= NF; i++) {
      if ($i == "passed;") passed += $(i - 1)
      if ($i == "failed;") failed += $(i - 1)
      if ($i == "ignored;") ignored += $(i - 1)
    }
  }
  END { printf "%d passed, %d failed, %d skipped", passed - skipped, failed, skipped + ignored }
' "$folder/output")

if [ "$skipped" -gt 0 ]; then
  printf '\n'
  sort -u "$ANNIKA_SKIP_LOG"
fi
if [ "$status" -ne 0 ]; then
  printf '\ncargo test ended with %s: not everything passed, or not everything ran.\n' "$status"
fi
printf '\n%s\n' "$counts"
printf '%s s\n' $(($(date +%s) - started))
exit "$status"
