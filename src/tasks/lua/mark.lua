-- mark: makes a task due for the sync engine. Included in front of every script that marks.
-- state    hash annika:sync:state:{id}   (hint counts marks; lease_until is the engine's, in ms; marked_at is when the
--          change was first marked, remarked_at when one was that came while the task was leased: how long it waits)
-- due      zset annika:sync:due          (member: task id, score: ms when it may be worked on)
--          Beside it, under the same name and `:low`, lies the zset of tasks that nobody waits for (imports, looks at
--          details). A task is in one of the two at most.
-- pending  list annika:sync:pending      (one entry per task that waits; LLEN is the backlog)
-- low      nobody waits for it; any other mark lifts the task into `due`
-- A leased task keeps its place: only the hint moves, and the engine looks at it when it finishes.
-- Replies 1 if the task was not waiting before, else 0; and whether there was no state before.
-- A state key of another type is left alone: one bad key must not keep others from being marked.
-- Numbers go to Redis as texts: it would write each with all digits that a float may have, call by call.
local function mark(state, due, pending, id, mirror, now_ms, delay_ms, low)
  local kind = redis.call('TYPE', state)['ok']
  if kind ~= 'hash' and kind ~= 'none' then
    return 0
  end
  local now, fresh, leased_until = string.format('%.0f', now_ms), kind == 'none', 0
  if fresh then
    -- Nobody knows the task: one command says what the others would find out.
    redis.call('HSET', state, 'hint', '1', 'marked_at', now)
  else
    redis.call('HINCRBY', state, 'hint', '1')
    leased_until = tonumber(redis.call('HGET', state, 'lease_until') or '0')
    redis.call('HSETNX', state, leased_until > now_ms and 'remarked_at' or 'marked_at', now)
  end
  local behind = due .. ':low'
  local waits_behind = redis.call('ZSCORE', behind, id)
  if leased_until > now_ms then
    if waits_behind and not low then
      redis.call('ZADD', due, waits_behind, id)
      redis.call('ZREM', behind, id)
    end
    return 0
  end
  local at = delay_ms == 0 and now or string.format('%.0f', now_ms + delay_ms)
  if waits_behind and not low then
    redis.call('ZADD', due, at, id)
    redis.call('ZREM', behind, id)
    return 0
  end
  local place = due
  if low and not redis.call('ZSCORE', due, id) then
    place = behind
  end
  if redis.call('ZADD', place, 'NX', at, id) == 1 then
    redis.call('RPUSH', pending, mirror)
    return 1, fresh
  end
  redis.call('ZADD', place, 'LT', at, id)
  return 0
end
local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
-- A full Redis refuses the first write of a script if it may need memory, and none that follow. What finishes or
-- forgets what is there must go through, and begins with this write that changes nothing.
local function even_if_full(due)
  redis.call('ZREM', due, '')
end
