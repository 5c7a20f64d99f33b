-- epoch: replaces the epoch, if it is what the engine read.
-- Version 2.
--
-- Atomic because two engines must not both begin or end a rebuild, and a wipe in between must not be covered up.
--
-- KEYS 1 epoch   string
-- ARGV 1 what was read; '' = there was none     2 the new one
-- Reply 1 if it was replaced, else 0
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then
  return 0
end
-- A full Redis refuses a SET that comes first, and a rebuild that cannot end would keep deletions back for ever.
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[2])
return 1
