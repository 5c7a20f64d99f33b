-- write: stores or deletes one task document, and tells everybody, in one step.
-- Version 6. `mark` and `reindex` stand in front of it.
--
-- Atomic because the comparison, the document, the dirty mark and the lists must agree at every instant:
-- a crash between them would lose a change for the sync or show a list that never was.
-- Documents are only compared, stored and joined into messages as text, never decoded.
-- The first write is the document's own SET or DEL. A full Redis refuses the SET before anything has changed;
-- a DEL is never refused, and what follows a first write is not refused any more.
--
-- KEYS 1 document        string (or a RedisJSON value, which stays one)
--      2 state           hash, the engine's; see mark
--      3 due             zset, see mark
--      4 pending         list, see mark
--      5 entries         hash, see reindex
--      6 tomb            string, the last bytes of a deleted document
--      7 idempotency     string, the answer to an earlier call (only with ARGV 13)
--      8 tombs           zset: the deleted tasks by time in ms
-- ARGV 1 operation       put | delete
--      2 expectation     any | absent | exact
--      3 expected bytes  for exact
--      4 text            put: the document; delete: its last text for the messages, or null
--      5 id              6 the id as a JSON string
--      7 mirror          the entry for the pending list
--      8 delay ms        until the task is due
--      9 wanted          its index keys, one a line; '' for delete
--     10 updates channel 11 events channel
--     12 tomb seconds
--     13 answer          to store under KEYS 7; '' for none    14 its seconds
-- Reply {'ok', 'created'|'updated'|'deleted'}
--       {'conflict', current text or false}   the expectation does not hold; nothing was changed
--       {'absent', 1|0}                       nothing to delete; whether it was deleted before
--       {'replay', answer}                    the call was made before; nothing was changed
local answer = ARGV[13]
if answer ~= '' then
  local earlier = redis.call('GET', KEYS[7])
  if earlier then
    return {'replay', earlier}
  end
end

local document = KEYS[1]
local json = false
local delete, expectation = ARGV[1] == 'delete', ARGV[2]
-- A create that meets nothing is the most usual call: it needs no look first.
local made = not delete and expectation == 'absent' and redis.call('SET', document, ARGV[4], 'NX')
local current = not made and redis.pcall('GET', document)
if type(current) == 'table' then
  local kind = redis.call('TYPE', document)['ok']
  if kind == 'string' or kind == 'none' then
    return current -- refused for another reason than its type
  end
  if kind ~= 'ReJSON-RL' then
    return redis.error_reply('WRONGTYPE the document of this task is a ' .. kind)
  end
  json = true
  current = redis.call('JSON.GET', document)
end

if delete and not current then
  return {'absent', redis.call('EXISTS', KEYS[6])}
end
if (expectation == 'absent' and current) or (expectation == 'exact' and current ~= ARGV[3]) then
  return {'conflict', current}
end

local id = ARGV[5]
local action = 'updated'
if delete then
  action = 'deleted'
  redis.call('DEL', document)
  redis.call('SET', KEYS[6], current, 'EX', ARGV[12])
  local now, kept = now_ms(), tonumber(ARGV[12])
  redis.call('ZADD', KEYS[8], now, id)
  redis.call('ZREMRANGEBYSCORE', KEYS[8], '-inf', now - kept * 1000)
  redis.call('EXPIRE', KEYS[8], kept)
  redis.pcall('HSET', KEYS[2], 'del', 1)
else
  if made then
    action = 'created'
  elseif json then
    -- KEEPTTL is for strings only.
    local ttl = redis.call('PTTL', document)
    redis.call('JSON.SET', document, '$', ARGV[4])
    if ttl > 0 then
      redis.call('PEXPIRE', document, ttl)
    end
  else
    redis.call('SET', document, ARGV[4], 'KEEPTTL')
  end
  if not current then
    action = 'created'
  end
end
if answer ~= '' then
  redis.call('SET', KEYS[7], answer, 'EX', ARGV[14])
end
local _, fresh = mark(KEYS[2], KEYS[3], KEYS[4], id, ARGV[7], now_ms(), tonumber(ARGV[8]))
if not delete and not fresh then
  -- A state of another type is the engine's trouble, and no reason to stop an agent half-way.
  redis.pcall('HDEL', KEYS[2], 'del')
end
reindex(KEYS[5], id, ARGV[9], made)
redis.call('PUBLISH', ARGV[10],
  '{"action":"' .. action .. '","task_id":' .. ARGV[6] .. ',"task":' .. ARGV[4] .. ',"source":"agent"}')
redis.call('PUBLISH', ARGV[11], '{"type":"task_' .. action .. '","id":' .. ARGV[6] .. ',"data":' .. ARGV[4] .. '}')
return {'ok', action}
