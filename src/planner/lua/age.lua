-- age: takes the document of a completed task out of Redis. Planner keeps the task, and so do the maps and the state.
-- Version 2. `reindex` stands in front of it.
--
-- Atomic because a change that came at this moment must keep the document, and a document that is gone without the
-- note about why would be taken for deleted.
--
-- KEYS 1 document   string or RedisJSON     2 state   hash     3 due    zset
--      4 index      hash: task id -> digest 5 entries hash, see reindex
--      6 aging      hash: task id -> since when it has been as it is
-- ARGV 1 id   2 the document's exact bytes   3 its digest, as the index has to have it
--      4 the word that the index has for a document that may be absent
-- Reply aged | kept (it is not what was read, or something waits)
local id = ARGV[1]
if redis.call('ZSCORE', KEYS[3], id) or redis.call('HGET', KEYS[4], id) ~= ARGV[3] then
  return 'kept'
end
local current = redis.pcall('GET', KEYS[1])
if type(current) == 'table' then
  if redis.call('TYPE', KEYS[1])['ok'] ~= 'ReJSON-RL' then
    return 'kept'
  end
  current = redis.call('JSON.GET', KEYS[1])
end
if current ~= ARGV[2] then
  return 'kept'
end
-- Aging makes room, so a full Redis must not refuse it: it refuses no HDEL, and nothing that follows it.
redis.call('HDEL', KEYS[6], id)
redis.call('HSET', KEYS[2], 'aged', 1)
redis.call('HSET', KEYS[4], id, ARGV[4])
redis.call('DEL', KEYS[1])
reindex(KEYS[5], id, '')
return 'aged'
