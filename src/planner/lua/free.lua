-- free: makes due at once what the last holder of the engine's lease had claimed.
-- Version 1. `mark` (for its clock) stands in front of it.
--
-- Atomic because a claim that is freed after its task was claimed anew would give the task to two workers.
-- The fence stays until the next claim: a holder that only was slow may still finish what it began.
--
-- KEYS 1 lock   string: the holder's random name     2 due   zset
-- ARGV 1 name   2 prefix of the state keys   3 the most tasks to look at
-- Reply how many were freed; none if the lease is somebody else's by now
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
local now, freed = now_ms(), 0
local waiting = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[3])
for n = 1, #waiting, 2 do
  local state = ARGV[2] .. waiting[n]
  local leased_until = redis.call('HGET', state, 'lease_until')
  -- A task that waits for another reason is at a time that is no lease's end.
  if leased_until and tonumber(leased_until) == tonumber(waiting[n + 1]) then
    redis.call('HDEL', state, 'lease_until')
    redis.call('ZADD', KEYS[2], now, waiting[n])
    freed = freed + 1
  end
end
return freed
