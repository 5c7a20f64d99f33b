-- mark: makes a task due for the sync engine. Included in front of every script that marks.
-- state    hash annika:sync:state:{id}   (hint counts marks; lease_until is the engine's, in ms; marked_at is when the
--          change was first marked, remarked_at when one was that came while the task was leased: how long it waits)
-- due      zset annika:sync:due          (member: task id, score: ms when it may be worked on)
-- pending  list annika:sync:pending      (one entry per task that waits; LLEN is the backlog)
-- A leased task keeps its place: only the hint moves, and the engine looks at it when it finishes.
-- Replies 1 if the task was not waiting before, else 0.
local function mark(state, due, pending, id, mirror, now_ms, delay_ms)
  redis.call('HINCRBY', state, 'hint', 1)
  local leased_until = tonumber(redis.call('HGET', state, 'lease_until') or '0')
  redis.call('HSETNX', state, leased_until > now_ms and 'remarked_at' or 'marked_at', now_ms)
  if leased_until > now_ms then
    return 0
  end
  local at = now_ms + delay_ms
  if redis.call('ZADD', due, 'NX', at, id) == 1 then
    redis.call('RPUSH', pending, mirror)
    return 1
  end
  redis.call('ZADD', due, 'LT', at, id)
  return 0
end
local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
