-- mark_many: makes tasks due, with what is known about why.
-- Version 5. `mark` stands in front of it.
--
-- Atomic because the reason, the hint and the place in the due-set belong together.
--
-- KEYS 1 due   2 pending
-- ARGV 1 delay ms
--      2 slot ms    0, or: due at the last multiple of it within the delay, so that tasks that are marked one after
--                   another fall due at one instant and fill the same requests
--      3 prefix of the state keys
--      4 reason     changed | deleted (an agent said so) | missing (a sweep did not find it)
--                   retry (only what is in the failed list)
--      5.. id, mirror, id, mirror, …
-- Reply how many there were to mark: with `missing` those that no agent said it deleted, with `retry` the failed ones
local now, count = now_ms(), 0
local delay, slot = tonumber(ARGV[1]), tonumber(ARGV[2])
if slot > 0 then
  delay = math.max(0, delay - (now + delay) % slot)
end
even_if_full(KEYS[1])
for n = 5, #ARGV, 2 do
  local state, wanted, counts = ARGV[3] .. ARGV[n], true, 1
  local kind = redis.call('TYPE', state)['ok']
  if kind ~= 'hash' and kind ~= 'none' then
    wanted = false -- see mark
  elseif ARGV[4] == 'deleted' then
    redis.call('HSET', state, 'del', 1)
  elseif ARGV[4] == 'missing' then
    redis.call('HINCRBY', state, 'miss', 1)
    counts = 1 - redis.call('HEXISTS', state, 'del')
  elseif ARGV[4] == 'retry' then
    wanted = redis.call('HEXISTS', state, 'failed') == 1
    if wanted then
      redis.call('HSET', state, 'retry', 1)
    end
  end
  if wanted then
    count = count + counts
    mark(state, KEYS[1], KEYS[2], ARGV[n], ARGV[n + 1], now, delay)
  end
end
return count
