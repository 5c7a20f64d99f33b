-- reclaim: gives a document its Planner task back, unless another document has it.
-- Version 1.
--
-- Atomic because the map and the record belong together: a map to a task without a record would hide the Planner
-- task from the lists for ever.
--
-- KEYS 1 rmap   string: the task that a Planner task is     2 state   hash
-- ARGV 1 id     2 the record of a task of which nothing else is known
-- Reply 1 if the Planner task is this document's now, else 0
if not redis.call('SET', KEYS[1], ARGV[1], 'NX') and redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('HSETNX', KEYS[2], 'record', ARGV[2])
return 1
