-- commit: one step of one task: guarded by its fence and by the document's exact bytes, all of it or nothing.
-- Version 6. `mark` and `reindex` stand in front of it.
--
-- Atomic because base, document, maps, caches, lists and messages must agree at every instant: a crash between
-- them would make the next worker see a change that nobody made.
-- Documents are compared and stored as text, never decoded. A full Redis refuses a step that begins a create or
-- makes a document, before anything is changed; what finishes or forgets what is there goes through.
--
-- KEYS 1 state     hash      2 due       zset, see mark     3 pending   list
--      4 document  string or RedisJSON            5 entries   hash, see reindex
--      6 index     hash: task id -> digest        7 failed    list
--      8 rmap      string: whose the Planner task is that the step maps (see 17)
-- ARGV 1 id
--      2 fence                of the claim
--      3 expectation          none | absent | exact     4 expected bytes
--      5 write                none | put | del          6 text
--      7 wanted index keys    one a line; '-' leaves them as they are
--      8 next                 begin | hold | done | after       9 the snapshot's hint     10 delay ms
--     11 mirror               the entry for the pending list
--     12 record               the state to remember; '' forgets the task
--     13 digest               for the sweep; '' leaves it as it is
--     14 failure              the entry for the failed list; '' takes it out
--     15 clear                state fields to drop, one a line
--     16 debounce ms          until a task that was marked meanwhile is due again
--     17 maps                 1: the step holds only if the Planner task is nobody else's; '' = do not look
--     18.. commands           each as its length and that many words, run in order; one that begins with `if-own`,
--                             a map's key and a number skips that many where the map names another task (`~` and
--                             an id: the Planner task that this one was before it was moved); `mark`, the state key,
--                             the id and the pending entry of another task make that one due
-- Reply stored | again (stored, and due again because a mark came)
--       | changed | elsewhere (the Planner task is another's) | lost (nothing is stored)
local id, state = ARGV[1], KEYS[1]
if redis.call('HGET', state, 'fence') ~= ARGV[2] then
  return 'lost'
end
if ARGV[17] ~= '' then
  local owner = redis.call('GET', KEYS[8])
  -- `~`: it was this task's before a move that came to nothing.
  if owner and owner ~= id and owner ~= '~' .. id then
    return 'elsewhere'
  end
end
local json = false
if ARGV[3] ~= 'none' then
  local current = redis.pcall('GET', KEYS[4])
  if type(current) == 'table' then
    if redis.call('TYPE', KEYS[4])['ok'] ~= 'ReJSON-RL' then
      return 'changed'
    end
    json = true
    current = redis.call('JSON.GET', KEYS[4])
  end
  if ARGV[3] == 'absent' and current then
    return 'changed'
  end
  if ARGV[3] == 'exact' and current ~= ARGV[4] then
    return 'changed'
  end
end

if ARGV[8] ~= 'begin' and not (ARGV[3] == 'absent' and ARGV[5] == 'put') then
  even_if_full(KEYS[2])
end
if ARGV[12] ~= '' then
  redis.call('HSET', state, 'record', ARGV[12])
end
if ARGV[5] == 'put' then
  if json then
    -- KEEPTTL is for strings only.
    local ttl = redis.call('PTTL', KEYS[4])
    redis.call('JSON.SET', KEYS[4], '$', ARGV[6])
    if ttl > 0 then
      redis.call('PEXPIRE', KEYS[4], ttl)
    end
  else
    redis.call('SET', KEYS[4], ARGV[6], 'KEEPTTL')
  end
elseif ARGV[5] == 'del' then
  redis.call('DEL', KEYS[4])
end
if ARGV[7] ~= '-' then
  reindex(KEYS[5], id, ARGV[7])
end
for field in string.gmatch(ARGV[15], '[^\n]+') do
  redis.call('HDEL', state, field)
end

local listed = redis.call('HGET', state, 'failed') or ''
if listed ~= ARGV[14] then
  if listed ~= '' then
    redis.call('LREM', KEYS[7], 1, listed)
    redis.call('HDEL', state, 'failed')
  end
  if ARGV[14] ~= '' then
    redis.call('RPUSH', KEYS[7], ARGV[14])
    redis.call('HSET', state, 'failed', ARGV[14])
  end
end

local at, skip = 18, 0
while ARGV[at] do
  local words = {}
  local count = tonumber(ARGV[at])
  for n = 1, count do
    words[n] = ARGV[at + n]
  end
  if skip > 0 then
    skip = skip - 1
  elseif words[1] == 'if-own' then
    local owner = redis.call('GET', words[2])
    skip = (owner and owner ~= id and owner ~= '~' .. id) and tonumber(words[3]) or 0
  elseif words[1] == 'mark' then
    mark(words[2], KEYS[2], KEYS[3], words[3], words[4], now_ms(), 0)
  else
    redis.call(unpack(words))
  end
  at = at + count + 1
end

if ARGV[13] ~= '' then
  redis.call('HSET', KEYS[6], id, ARGV[13])
end
if ARGV[8] == 'hold' or ARGV[8] == 'begin' then
  return 'stored'
end
local now = now_ms()
local marked = (redis.call('HGET', state, 'hint') or '0') ~= ARGV[9]
if marked then
  redis.call('HSET', state, 'marked_at', redis.call('HGET', state, 'remarked_at') or now)
end
redis.call('HDEL', state, 'lease_until', 'fence', 'remarked_at', 'claims_lost')
if ARGV[12] == '' then
  redis.call('HDEL', KEYS[6], id)
  redis.call('HDEL', state, 'record')
end
local behind = KEYS[2] .. ':low'
if ARGV[8] == 'after' or marked then
  local delay = tonumber(ARGV[10])
  if marked then
    local debounce = tonumber(ARGV[16])
    delay = ARGV[8] == 'after' and math.min(delay, debounce) or debounce
  end
  -- It keeps its priority; a mark of a higher one has moved it already.
  local place = redis.call('ZSCORE', behind, id) and behind or KEYS[2]
  redis.call('ZADD', place, now + delay, id)
  return marked and 'again' or 'stored'
end
redis.call('ZREM', KEYS[2], id)
redis.call('ZREM', behind, id)
redis.call('LREM', KEYS[3], 1, ARGV[11])
redis.call('HDEL', state, 'recheck', 'marked_at')
if ARGV[12] == '' then
  redis.call('DEL', state)
end
return 'stored'
