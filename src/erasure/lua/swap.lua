-- swap: replaces one exact text by another, where it stands: a string, one element of a list, or one field of a hash.
-- Version 1.
--
-- Atomic because the text may be replaced or moved by its owner between reading and writing it.
--
-- KEYS 1 the key
-- ARGV 1 kind   string | list | hash     2 field (hash)     3 the text as read     4 the new text
-- Reply 1 if it was replaced, 0 if it is another one by now
if ARGV[1] == 'string' then
  if redis.call('GET', KEYS[1]) ~= ARGV[3] then
    return 0
  end
  redis.call('SET', KEYS[1], ARGV[4], 'KEEPTTL')
  return 1
end
if ARGV[1] == 'hash' then
  if redis.call('HGET', KEYS[1], ARGV[2]) ~= ARGV[3] then
    return 0
  end
  redis.call('HSET', KEYS[1], ARGV[2], ARGV[4])
  return 1
end
local at = redis.call('LPOS', KEYS[1], ARGV[3])
if not at then
  return 0
end
redis.call('LSET', KEYS[1], at, ARGV[4])
return 1
