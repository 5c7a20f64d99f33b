-- reindex: files a task under the lists that `GET /api/tasks` reads. Included in front of scripts that write documents.
-- entries  hash annika:private:tasks:entries   (field: task id, value: its index keys, one a line)
-- wanted   the index keys it belongs to now, one a line; '' takes it out of every list
-- Each index is a zset whose members all have score 0, so that they are read in the order of their ids.
local function reindex(entries, id, wanted)
  local had = redis.call('HGET', entries, id) or ''
  if had == wanted then
    return
  end
  local keep = {}
  for key in string.gmatch(wanted, '[^\n]+') do
    keep[key] = true
    redis.call('ZADD', key, 0, id)
  end
  for key in string.gmatch(had, '[^\n]+') do
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
