-- hold: keeps the tasks of a plan's complete list that may be the work of open creates, and counts the lists that
-- held none.
-- Version 3.
--
-- Atomic because an open create is sent again when two lists in a row held no such task: the tasks and that count
-- must come from the same lists, and a list that is taken in late must not replace a newer one. A stale list may show
-- a task that was just deleted: nobody is to adopt it.
--
-- KEYS 1 orphans   hash, each field a word, a plan and perhaps a Planner id, one a line:
--                  begun: when the last list was begun, ms      held: Planner ids of the tasks, one a line
--                  task: a task as Graph sent it                clean: begun, if that list held none
--                  since: begun of the list before, if neither held any
--      2.. gone    string each: the tasks that were deleted a moment ago, as in ARGV
-- ARGV 1 plan   2 when the list was begun, ms   3 seconds to keep the hash   4.. Planner id, task, …
-- Reply 1 if it was taken in, 0 if the list is no newer than the last
local plan, begun = ARGV[1], ARGV[2]
local last = redis.call('HGET', KEYS[1], 'begun\n' .. plan)
if last and tonumber(last) >= tonumber(begun) then
  return 0
end
-- Lists are read on where Redis is full: it refuses no HDEL, and nothing that follows it.
redis.call('HDEL', KEYS[1], 'begun\n' .. plan)
redis.call('HSET', KEYS[1], 'begun\n' .. plan, begun)
for id in string.gmatch(redis.call('HGET', KEYS[1], 'held\n' .. plan) or '', '[^\n]+') do
  redis.call('HDEL', KEYS[1], 'task\n' .. plan .. '\n' .. id)
end
local ids = {}
for n = 4, #ARGV, 2 do
  if redis.call('EXISTS', KEYS[n / 2]) == 0 then
    ids[#ids + 1] = ARGV[n]
    redis.call('HSET', KEYS[1], 'task\n' .. plan .. '\n' .. ARGV[n], ARGV[n + 1])
  end
end
if ids[1] then
  redis.call('HSET', KEYS[1], 'held\n' .. plan, table.concat(ids, '\n'))
  redis.call('HDEL', KEYS[1], 'clean\n' .. plan, 'since\n' .. plan)
else
  local before = redis.call('HGET', KEYS[1], 'clean\n' .. plan)
  redis.call('HSET', KEYS[1], 'clean\n' .. plan, begun)
  redis.call('HDEL', KEYS[1], 'held\n' .. plan)
  if before then
    redis.call('HSET', KEYS[1], 'since\n' .. plan, before)
  end
end
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
