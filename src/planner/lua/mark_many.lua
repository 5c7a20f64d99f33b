-- mark_many: makes tasks due, with what is known about why.
-- Version 2. `mark` stands in front of it.
--
-- Atomic because the reason, the hint and the place in the due-set belong together.
--
-- KEYS 1 due   2 pending
-- ARGV 1 delay ms   2 prefix of the state keys
--      3 reason     changed | deleted (an agent said so) | missing (a sweep did not find it)
--      4.. id, mirror, id, mirror, …
-- Reply how many were not waiting before
local now, fresh = now_ms(), 0
for n = 4, #ARGV, 2 do
  local state = ARGV[2] .. ARGV[n]
  if ARGV[3] == 'deleted' then
    redis.call('HSET', state, 'del', 1)
  elseif ARGV[3] == 'missing' then
    redis.call('HINCRBY', state, 'miss', 1)
  end
  fresh = fresh + mark(state, KEYS[1], KEYS[2], ARGV[n], ARGV[n + 1], now, tonumber(ARGV[1]))
end
return fresh
