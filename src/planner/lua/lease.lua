-- lease: takes or renews a lease, or gives it back.
-- Version 3.
--
-- Atomic because between reading the holder and writing it another process could become the holder.
--
-- The engine must go on where Redis is full: a DEL is never refused, and what follows it is not either.
--
-- KEYS 1 lock   string: the holder's random name
-- ARGV 1 name   2 length ms; 0 gives it back
-- Reply 2 if nobody held it, 1 if it was held by this name (or is given back), else 0
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  return 0
end
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
else
  redis.call('DEL', KEYS[1])
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  if not holder then
    return 2
  end
end
return 1
