#!/bin/sh
# Every test of the workspace; at the end what the recorded vectors showed, and lines that count messages and tests. Arguments go to `cargo test`.
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
# Tests of recorded vectors, and simulators at their end, write what they counted here.
ANNIKA_TALLY_LOG=$folder/tally
export ANNIKA_TALLY_LOG
: >"$ANNIKA_TALLY_LOG"

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

if grep -q '^golden' "$ANNIKA_TALLY_LOG"; then
  printf '\nRecorded vectors: file | in scope | passed | out of scope: reason\n'
  grep '^golden' "$ANNIKA_TALLY_LOG" | sort -u | awk -F '\t' '
    { printf "%s | %d | %d | %s\n", $2, $3, $4, $5; scope += $3; passed += $4 }
    END { printf "all | %d | %d |\n", scope, passed }'
fi
awk -F '\t' -v on="${ANNIKA_ORACLES:+1}" '
  /^messages/ { requests += $2; answers += $3; violations += $4; provoked += $5 }
  END {
    printf "\nGraph messages checked in all tests: %d requests, %d answers, %d violations", requests, answers, violations
    if (provoked) printf " (%d more where the simulator'"'"'s own tests send and answer what is wrong)", provoked
    if (!on) printf " (nothing is checked: ANNIKA_ORACLES is not set)"
    printf "\n"
    exit violations > 0
  }' "$ANNIKA_TALLY_LOG" || status=1

if [ "$skipped" -gt 0 ]; then
  printf '\n'
  sort -u "$ANNIKA_SKIP_LOG"
fi
if [ "$status" -ne 0 ]; then
  printf '\nended with %s: not everything passed, or not everything ran.\n' "$status"
fi
printf '\n%s\n' "$counts"
printf '%s s\n' $(($(date +%s) - started))
exit "$status"
