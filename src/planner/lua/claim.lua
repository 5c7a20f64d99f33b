-- claim: takes the tasks that are due, each for the length of a lease and under a new fence.
-- Version 2. `mark` (for its clock) stands in front of it.
--
-- Atomic because two workers must never get the same task: the score in the due-set is schedule and lease at once.
--
-- KEYS 1 due     zset: task id -> ms
--      2 fence   counter
-- ARGV 1 limit   2 lease ms   3 prefix of the state keys
-- Reply {ms until the next task is due, or -1; then id, fence, id, fence, …}
local now = now_ms()
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
local lease = tonumber(ARGV[2])
local reply = {-1}
for _, id in ipairs(due) do
  local fence = redis.call('INCR', KEYS[2])
  redis.call('ZADD', KEYS[1], now + lease, id)
  local claimed = redis.pcall('HSET', ARGV[3] .. id, 'fence', fence, 'lease_until', now + lease)
  if type(claimed) == 'number' then
    reply[#reply + 1] = id
    reply[#reply + 1] = fence
  elseif redis.call('TYPE', ARGV[3] .. id)['ok'] == 'hash' then
    return claimed
  else
    -- A state key of another type: the others go on, and it is looked at again in an hour.
    redis.call('ZADD', KEYS[1], now + 3600000, id)
  end
end
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if first[2] then
  reply[1] = math.max(0, first[2] - now)
end
return reply
