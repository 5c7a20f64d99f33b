-- restore: brings a deleted task's document back.
-- Version 3. `mark` and `reindex` stand in front of it.
--
-- Atomic because a document without its mark, its lists and its state could be taken for a copy of the dead task.
-- A task whose deletion has not reached Planner yet still has its record: then the deletion is only called off.
--
-- KEYS 1 document   2 state   3 due   4 pending   5 entries (see reindex)
--      6 tomb       string: the last text of the document
--      7 Planner's copy in the tomb        8 tombs   zset
-- ARGV 1 id   2 the tomb's text, as read   3 the text to store where Planner's side is gone   4 the record for it
--      5 mirror   6 wanted index keys   7 the id as a JSON string   8 updates channel   9 events channel
-- Reply restored | there (there is a document) | unknown (the tomb is gone, or another one by now)
if redis.call('EXISTS', KEYS[1]) == 1 then
  return 'there'
end
if redis.call('GET', KEYS[6]) ~= ARGV[2] then
  return 'unknown'
end
local text = ARGV[2]
if redis.call('HEXISTS', KEYS[2], 'record') == 0 then
  text = ARGV[3]
end
redis.call('SET', KEYS[1], text)
redis.call('HSETNX', KEYS[2], 'record', ARGV[4])
redis.call('HDEL', KEYS[2], 'del', 'miss', 'absent')
redis.call('DEL', KEYS[6], KEYS[7])
redis.call('ZREM', KEYS[8], ARGV[1])
mark(KEYS[2], KEYS[3], KEYS[4], ARGV[1], ARGV[5], now_ms(), 0)
reindex(KEYS[5], ARGV[1], ARGV[6])
redis.call('PUBLISH', ARGV[8],
  '{"action":"created","task_id":' .. ARGV[7] .. ',"task":' .. text .. ',"source":"planner"}')
redis.call('PUBLISH', ARGV[9], '{"type":"task_created","id":' .. ARGV[7] .. ',"data":' .. text .. '}')
return 'restored'
