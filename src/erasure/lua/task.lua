-- task: takes a person out of a task's document and out of what the sync agreed on, in one step.
-- Version 2. `reindex` stands in front of it.
--
-- Atomic because a document without the person beside a state with them would be sent to Planner as an unassignment.
--
-- KEYS 1 document   string or RedisJSON   2 state   hash   3 entries   hash, see reindex   4 index   hash
-- ARGV 1 id         2 the document as read; '' = there was none   3 the new one
--      4 the record as read; '' = there was none                  5 the new one
--      6 wanted index keys; '-' leaves them as they are
--      7 digest of the document as read    8 of the new one       9 now, ms: a leased task is left alone
--     10 the id as a JSON string          11 updates channel; '' = tell nobody
-- Reply done | busy (an engine works on it) | changed (it is another one by now)
local id, document, state = ARGV[1], KEYS[1], KEYS[2]
local leased_until = tonumber(redis.call('HGET', state, 'lease_until') or '0')
if leased_until > tonumber(ARGV[9]) then
  return 'busy'
end
if (redis.call('HGET', state, 'record') or '') ~= ARGV[4] then
  return 'changed'
end
local json = false
local current = redis.pcall('GET', document)
if type(current) == 'table' then
  if redis.call('TYPE', document)['ok'] ~= 'ReJSON-RL' then
    return 'changed'
  end
  json = true
  current = redis.call('JSON.GET', document)
end
if (current or '') ~= ARGV[2] then
  return 'changed'
end
if ARGV[2] ~= ARGV[3] then
  if json then
    -- KEEPTTL is for strings only.
    local ttl = redis.call('PTTL', document)
    redis.call('JSON.SET', document, '$', ARGV[3])
    if ttl > 0 then
      redis.call('PEXPIRE', document, ttl)
    end
  else
    redis.call('SET', document, ARGV[3], 'KEEPTTL')
  end
  if ARGV[6] ~= '-' then
    reindex(KEYS[3], id, ARGV[6])
  end
  local known = redis.call('HGET', KEYS[4], id) or ''
  if string.sub(known, 1, #ARGV[7]) == ARGV[7] then
    redis.call('HSET', KEYS[4], id, ARGV[8] .. string.sub(known, #ARGV[7] + 1))
  end
  if ARGV[11] ~= '' then
    redis.call('PUBLISH', ARGV[11],
      '{"action":"updated","task_id":' .. ARGV[10] .. ',"task":' .. ARGV[3] .. ',"source":"planner"}')
  end
end
if ARGV[4] ~= ARGV[5] then
  redis.call('HSET', state, 'record', ARGV[5])
end
return 'done'
