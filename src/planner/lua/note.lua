-- note: writes one field of a task's state and makes the task due, if the task is known.
-- Version 5. `mark` stands in front of it.
--
-- Nobody waits for a look at details (`recheck`).
-- Atomic because the note and the mark belong together: a note without a mark would never be read.
--
-- KEYS 1 rmap   2 state   3 due   4 pending   5 details ETag, as stored
-- ARGV 1 the id that the map has   2 field   3 value ('' drops the field)   4 mirror
--      5 an ETag: nothing happens if it is the stored one; '' = do not look
--      6 empty: where no ETag is stored, this one is, and nothing else happens
-- Reply 1 if noted, else 0
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
even_if_full(KEYS[3])
if ARGV[5] ~= '' then
  local stored = redis.call('GET', KEYS[5])
  if stored == ARGV[5] then
    return 0
  end
  if not stored and ARGV[6] == 'empty' then
    redis.call('SET', KEYS[5], ARGV[5])
    return 0
  end
end
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[2], ARGV[2])
else
  redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
end
mark(KEYS[2], KEYS[3], KEYS[4], ARGV[1], ARGV[4], now_ms(), 0, ARGV[2] == 'recheck')
return 1
