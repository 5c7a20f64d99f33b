-- keep: writes fields of a hash, also where Redis is full.
-- Version 1.
--
-- Atomic because the first command only opens the way: a full Redis refuses a write that may need memory where it
-- comes first, and none that follow. What is kept here is small and bounded, and without it the polls would stand
-- still, and with them the deletions that free memory.
--
-- KEYS 1 the hash
-- ARGV field, value, field, value, …
-- Reply 1
redis.call('HDEL', KEYS[1], '')
redis.call('HSET', KEYS[1], unpack(ARGV))
return 1
