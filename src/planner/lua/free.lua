-- free: makes due at once what the last holder of the engine's lease had claimed.
-- Version 3. `mark` (for its clock) stands in front of it.
--
-- Atomic because a claim that is freed after its task was claimed anew would give the task to two workers.
-- The fence stays until the next claim: a holder that only was slow may still finish what it began. The lease ends
-- now, so that the next claim counts it as one that ran out: the task may be what killed its holder.
--
-- KEYS 1 lock   string: the holder's random name     2 due   zset, see mark
-- ARGV 1 name   2 prefix of the state keys   3 the most tasks to look at, of each priority
-- Reply how many were freed; none if the lease is somebody else's by now
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
local now, freed = now_ms(), 0
even_if_full(KEYS[2])
for _, due in ipairs({KEYS[2], KEYS[2] .. ':low'}) do
  local waiting = redis.call('ZRANGEBYSCORE', due, '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[3])
  for n = 1, #waiting, 2 do
    local state = ARGV[2] .. waiting[n]
    local leased_until = redis.pcall('HGET', state, 'lease_until')
    -- A task that waits for another reason is at a time that is no lease's end.
    if type(leased_until) == 'string' and tonumber(leased_until) == tonumber(waiting[n + 1]) then
      redis.call('HSET', state, 'lease_until', now)
      redis.call('ZADD', due, now, waiting[n])
      freed = freed + 1
    end
  end
end
return freed
