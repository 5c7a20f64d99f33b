-- ingest: takes entries that others pushed out of the pending list and makes their tasks due.
-- Version 4. `mark` stands in front of it.
--
-- Atomic because an entry that was removed before its mark was made would be lost in a crash.
--
-- KEYS 1 pending   2 due
-- ARGV 1 prefix of the state keys
--      2.. entry, id, mirror, deleted (1 or 0), …; an empty id only removes the entry
-- Reply how many entries were taken out
local now, taken = now_ms(), 0
for n = 2, #ARGV, 4 do
  local removed = redis.call('LREM', KEYS[1], 1, ARGV[n])
  taken = taken + removed
  if removed > 0 and ARGV[n + 1] ~= '' then
    local state = ARGV[1] .. ARGV[n + 1]
    local kind = redis.call('TYPE', state)['ok']
    if ARGV[n + 3] == '1' and (kind == 'hash' or kind == 'none') then
      redis.call('HSET', state, 'del', 1)
    end
    mark(state, KEYS[2], KEYS[1], ARGV[n + 1], ARGV[n + 2], now, 0)
  end
end
return taken
