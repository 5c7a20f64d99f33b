-- guard: says which deletions, each only inferred from an absence, may go through, and holds the others.
-- Version 2. `mark` (for its clock) stands in front of it.
--
-- Atomic because the count and what is added to it must not be two steps: two groups of deletions at once would
-- each find room for themselves.
--
-- KEYS 1 window   zset: task id -> ms at which its deletion was let through
--      2 held     zset: task id -> ms of the first try
--      3 index    hash of the known tasks, for their number
-- ARGV 1 direction   up | down                2 length of the window, ms
--      3 the least number that counts as many  4 and the least share of the known tasks, in per cent
--      5 how many tasks are missing now        6 of how many that were looked at
--      7 prefix of the state keys              8.. ids
-- Reply {1 | 0, …}   for each id whether its deletion may go through
local now = now_ms()
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[2]))
local released, held = 'released:' .. ARGV[1], 'held:' .. ARGV[1]
local reply, fresh = {}, {}
for n = 8, #ARGV do
  local id = ARGV[n]
  if redis.call('HGET', ARGV[7] .. id, 'guard') == released or redis.call('ZSCORE', KEYS[1], id) then
    reply[#reply + 1] = 1
  else
    reply[#reply + 1] = 0
    fresh[#fresh + 1] = #reply
  end
end
if #fresh == 0 then
  return reply
end
local percent = tonumber(ARGV[4])
local most = math.max(tonumber(ARGV[3]), math.floor(redis.call('HLEN', KEYS[3]) * percent / 100))
local missing, of = tonumber(ARGV[5]), tonumber(ARGV[6])
local empty = of > 1 and missing >= of and percent < 100
local many = redis.call('ZCARD', KEYS[1]) + math.max(#fresh, missing) > most
local stop = empty or many or redis.call('ZCARD', KEYS[2]) > 0
for _, at in ipairs(fresh) do
  local id = ARGV[7 + at]
  if stop then
    redis.call('ZADD', KEYS[2], 'NX', now, id)
    redis.call('HSET', ARGV[7] .. id, 'guard', held)
  else
    redis.call('ZADD', KEYS[1], now, id)
    reply[at] = 1
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return reply
