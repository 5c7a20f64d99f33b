-- observe: stores what a list showed of one Planner task, and makes its task due.
-- Version 5. `same_epoch` and `mark` stand in front of it.
--
-- Atomic because a create that is being committed at the same moment must not be imported as a second task: the map
-- is read and written in one step.
-- Nobody waits for an import; a change of a known task goes ahead of all imports, by a day.
--
-- KEYS 1 rmap     string: the task it is     2 cache    string: the task as Graph sent it
--      3 state    hash                       4 due      zset      5 pending   list
--      6 remote   hash: Planner id -> ETag   7 gone     string: deleted a moment ago
--      8 epoch, see same_epoch
-- ARGV 1 the id that the map had a moment ago, '' = none
--      2 id       of the task, new or not    3 Planner id         4 ETag
--      5 text     the task as Graph sent it  6 seconds to cache it
--      7 mirror   8 the record of a new task   9 the epoch that was read
-- Reply marked | moved (the map is another now; the next list will tell) | gone (a stale list shows a deleted task)
local have = redis.call('GET', KEYS[1]) or ''
if have ~= ARGV[1] then
  return 'moved'
end
if have == '' then
  if redis.call('EXISTS', KEYS[7]) == 1 then
    return 'gone'
  end
  redis.call('SET', KEYS[1], ARGV[2])
  redis.call('HSETNX', KEYS[3], 'record', ARGV[8])
else
  -- An import is refused where Redis is full; a change of a known task is not.
  even_if_full(KEYS[4])
end
redis.call('SET', KEYS[2], ARGV[5], 'EX', ARGV[6])
redis.call('HSET', KEYS[6], ARGV[3], ARGV[4])
redis.call('HSET', KEYS[3], 'seen_etag', ARGV[4])
redis.call('HDEL', KEYS[3], 'absent')
mark(KEYS[3], KEYS[4], KEYS[5], ARGV[2], ARGV[7], now_ms(), have == '' and 0 or -86400000, true)
return 'marked'
