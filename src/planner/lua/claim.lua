-- claim: takes the tasks that are due, each for the length of a lease and under a new fence.
-- Version 6. `same_epoch` and `mark` (for its clock) stand in front of it.
--
-- Atomic because two workers must never get the same task: the score in the due-set is schedule and lease at once.
-- A call whose answer was lost is made again under the same number, and gets the same answer: else its tasks would
-- wait for their leases. A call that was overtaken by a later one takes nothing, for nobody hears its answer.
-- A claim that ran out counts against its task, for the task may be what killed the worker: from the second time in
-- a row the task is claimed alone, and in the end it is put off, longer each time.
-- Fences are microseconds of the server's clock, made to rise: a counter that a failover sets back would give the
-- fence of a worker that still lives a second time.
--
-- KEYS 1 due     zset: task id -> ms; beside it the one of low priority, see mark
--      2 fence   the last one given
--      3 answer  list: number and claims of this worker's last call
--      4 epoch, see same_epoch
-- ARGV 1 the most urgent tasks   2 the most of low priority   3 lease ms   4 prefix of the state keys
--      5 number of the call, rises   6 claims lost until a task is claimed alone   7 … until it is put off
--      8 the epoch that was read
-- Reply {ms until the next task is due, or -1; then id, fence, 0 urgent | 1 low | 2 put off, …}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local last_fence = math.max(tonumber(redis.call('GET', KEYS[2]) or '0'), time[1] * 1000000 + time[2])
local lease = tonumber(ARGV[3])
local number = tonumber(ARGV[5])
local last = redis.call('LRANGE', KEYS[3], 0, -1)
if last[1] and tonumber(last[1]) > number then
  return {-1}
end
if last[1] and tonumber(last[1]) == number then
  last[1] = 0
  return last
end

even_if_full(KEYS[1])
local reply = {-1}
local function next_is(first)
  if first[2] then
    local wait = math.max(0, first[2] - now)
    if reply[1] == -1 or wait < reply[1] then
      reply[1] = wait
    end
  end
end
local function take(due, most, low)
  if most == 0 then
    return
  end
  local taken = 0
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, most)) do
    local state = ARGV[4] .. id
    local leased_until = redis.pcall('HGET', state, 'lease_until')
    if type(leased_until) == 'table' then
      if redis.call('TYPE', state)['ok'] == 'hash' then
        return leased_until
      end
      -- A state key of another type: the others go on, and it is looked at again in an hour.
      redis.call('ZADD', due, now + 3600000, id)
    else
      local lost = tonumber(redis.call('HGET', state, 'claims_lost') or '0')
      local ran_out = leased_until and tonumber(leased_until) <= now
      if ran_out then
        lost = lost + 1
      end
      local suspect = lost >= tonumber(ARGV[6])
      if suspect and taken > 0 then
        break
      end
      if ran_out then
        local counted = redis.pcall('HSET', state, 'claims_lost', lost)
        if type(counted) == 'table' then
          return counted
        end
        redis.call('HDEL', state, 'lease_until')
      end
      if ran_out and lost >= tonumber(ARGV[7]) then
        local doubled = math.min(lost - tonumber(ARGV[7]), 6)
        redis.call('ZADD', due, now + math.min(3600000, 60000 * 2 ^ doubled), id)
        reply[#reply + 1] = id
        reply[#reply + 1] = 0
        reply[#reply + 1] = 2
      else
        last_fence = last_fence + 1
        local fence = string.format('%.0f', last_fence)
        redis.call('ZADD', due, now + lease, id)
        local claimed = redis.pcall('HSET', state, 'fence', fence, 'lease_until', now + lease)
        if type(claimed) == 'table' then
          return claimed
        end
        reply[#reply + 1] = id
        reply[#reply + 1] = last_fence
        reply[#reply + 1] = low
        taken = taken + 1
        if suspect then
          break
        end
      end
    end
  end
  next_is(redis.call('ZRANGE', due, 0, 0, 'WITHSCORES'))
end

local failed = take(KEYS[1], tonumber(ARGV[1]), 0) or take(KEYS[1] .. ':low', tonumber(ARGV[2]), 1)
if failed then
  return failed
end
if #reply > 1 then
  redis.call('SET', KEYS[2], string.format('%.0f', last_fence))
  redis.call('DEL', KEYS[3])
  redis.call('RPUSH', KEYS[3], number)
  for n = 2, #reply do
    redis.call('RPUSH', KEYS[3], type(reply[n]) == 'number' and string.format('%.0f', reply[n]) or reply[n])
  end
  redis.call('PEXPIRE', KEYS[3], lease)
elseif last[1] then
  redis.call('LTRIM', KEYS[3], 0, 0)
  redis.call('LSET', KEYS[3], 0, number)
end
return reply
