-- pause: raises the time until which every process leaves Graph alone.
-- Version 2.
--
-- Atomic because two processes may hear of different pauses at once, and the longer one counts.
--
-- KEYS 1 throttle   hash
-- ARGV 1 until ms
-- Reply the time that holds now
local until_ms = tonumber(redis.call('HGET', KEYS[1], 'pause_until') or '0')
if tonumber(ARGV[1]) > until_ms then
  -- Never refused where Redis is full, and what follows is not either.
  redis.call('HDEL', KEYS[1], 'pause_until')
  redis.call('HSET', KEYS[1], 'pause_until', ARGV[1])
  return ARGV[1]
end
return tostring(until_ms)
