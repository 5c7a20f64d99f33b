-- Stores a task exactly if it is still what the caller read, and tells everybody, in one step.
-- Version 1. Atomic, because an edit made between the comparison and the SET would be lost without a trace.
--
-- KEYS 1 annika:tasks:{id}      2 annika:sync:pending
-- ARGV 1 the exact bytes that were read; '' if there must be no task yet
--      2 the new document       3 the id as a JSON string, with its quotes
-- Reply 1 stored | 0 somebody else wrote meanwhile: read, edit the fresh document, call again
local read = redis.call('GET', KEYS[1]) or ''
if read ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
-- The list is a hint for when nobody hears the message; a change without an entry is found by the sweep.
if redis.call('LLEN', KEYS[2]) < 10000 then
  redis.call('RPUSH', KEYS[2], '{"type":"update","task_id":' .. ARGV[3] .. ',"source":"agent"}')
end
local action = read == '' and 'created' or 'updated'
redis.call('PUBLISH', 'annika:tasks:updates',
  '{"action":"' .. action .. '","task_id":' .. ARGV[3] .. ',"task":' .. ARGV[2] .. ',"source":"agent"}')
return 1
