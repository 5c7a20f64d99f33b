-- reindex: files a task under the lists that `GET /api/tasks` reads. Included in front of scripts that write documents.
-- entries  hash annika:private:tasks:entries   (field: task id, value: its index keys, one a line)
-- wanted   the index keys it belongs to now, one a line; '' takes it out of every list
-- new      its document was not there before, so it probably stands in no list: that is looked at last
-- Each index is a zset whose members all have score 0, so that they are read in the order of their ids.
local function reindex(entries, id, wanted, new)
  local had = not new and (redis.call('HGET', entries, id) or '')
  if had == wanted then
    return
  end
  -- Line by line with plain searches: a pattern would look at every letter.
  local keep, from = {}, 1
  while from <= #wanted do
    local to = string.find(wanted, '\n', from, true) or #wanted + 1
    local key = string.sub(wanted, from, to - 1)
    keep[key] = true
    redis.call('ZADD', key, '0', id)
    from = to + 1
  end
  if new and redis.call('HSETNX', entries, id, wanted) == 1 then
    return
  end
  for key in string.gmatch(had or redis.call('HGET', entries, id), '[^\n]+') do
    if not keep[key] then
      redis.call('ZREM', key, id)
    end
  end
  if wanted == '' then
    redis.call('HDEL', entries, id)
  else
    redis.call('HSET', entries, id, wanted)
  end
end
