#!/bin/sh
# An agent with curl: create a task, wait until it is in Planner, change it without losing another's edit.
set -eu
url="${ANNIKA_URL:-http://127.0.0.1:7071}/api/tasks"
key="x-functions-key: ${ANNIKA_KEY:?the key of the function}"
json="content-type: application/json"
id="agent-task-curl-$(date +%s)-$$"
head=$(mktemp) body=$(mktemp)
trap 'rm -f "$head" "$body"' EXIT

# Create. With the same Idempotency-Key, a call that is sent again changes nothing.
curl -sS --fail-with-body -X POST "$url" -H "$key" -H "$json" -H "Idempotency-Key: $id" \
  -d '{"id":"'"$id"'","title":"Call the venue","status":"not_started","due_date":"2026-12-01"}'
echo

# Follow. HTTP has no push: ask until `_sync` names the task in Planner (channels need a Redis client).
waited=0
until curl -sS --fail-with-body -D "$head" -o "$body" "$url/$id" -H "$key" && grep -q '"planner_id":"[^"]' "$body"; do
  waited=$((waited + 1))
  [ "$waited" -lt 60 ] || { echo "$id is not in Planner after a minute: see GET /api/health/ready" >&2; exit 1; }
  sleep 1
done

# Change. The patch names only what is new; If-Match refuses it if somebody changed the task since it was read.
# Without the ETag of that reading there is no PATCH: it would overwrite whatever it finds.
while :; do
  curl -sS --fail-with-body -D "$head" -o "$body" "$url/$id" -H "$key" || { cat "$body" >&2; exit 1; }
  etag=$(sed -n 's/^[Ee][Tt][Aa][Gg]: *//p' "$head" | tr -d '\r')
  [ -n "$etag" ] || { echo "$id was answered without an ETag: it is not changed" >&2; exit 1; }
  status=$(curl -sS -o "$body" -w '%{http_code}' -X PATCH "$url/$id" -H "$key" -H "If-Match: $etag" \
    -H "content-type: application/merge-patch+json" -d '{"percent_complete":0.5,"status":"in_progress"}')
  [ "$status" = 412 ] || break
done
cat "$body"; echo
[ "$status" = 200 ] && echo "done $id"
