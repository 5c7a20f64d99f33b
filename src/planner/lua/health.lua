-- health: publishes the engine's health, also where Redis is full.
-- Version 1.
--
-- Atomic because the first command only opens the way, and nobody may find the key gone in between: a full Redis
-- refuses a write that may need memory where it comes first, and none that follow. It is one small key, and without
-- it the engine would be taken for silent just when people look at it.
--
-- KEYS 1 the health
-- ARGV 1 its text        2 how long it stands, in seconds
-- Reply 1
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1
