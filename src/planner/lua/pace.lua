-- pace: keeps the pace at which Graph is asked, for the next engine.
-- Version 2.
--
-- Atomic because an engine that lost its lease must not overwrite what its successor found out.
--
-- KEYS 1 lock   string: the holder's random name     2 throttle   hash
-- ARGV 1 name   2 sub-requests a second   3 HTTP requests at a time   4 Graph has throttled before: 1 or 0
-- Reply 1 if kept, else 0
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
-- A full Redis refuses no HDEL, and nothing that follows it.
redis.call('HDEL', KEYS[2], 'rate')
redis.call('HSET', KEYS[2], 'rate', ARGV[2], 'concurrency', ARGV[3], 'throttled', ARGV[4])
return 1
