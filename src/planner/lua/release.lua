-- release: confirms the deletions that are held now. Later ones are counted anew.
-- Version 1.
--
-- Atomic because a deletion that is held while this runs must not be confirmed by somebody who never saw it.
--
-- KEYS 1 window   2 held; see guard
-- ARGV 1 direction   up | down      2 prefix of the state keys
-- Reply {id, …}      the tasks whose deletion was confirmed
local ids = redis.call('ZRANGE', KEYS[2], 0, -1)
for _, id in ipairs(ids) do
  redis.call('HSET', ARGV[2] .. id, 'guard', 'released:' .. ARGV[1])
end
redis.call('DEL', KEYS[1], KEYS[2])
return ids
