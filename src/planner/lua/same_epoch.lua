-- same_epoch: refuses to run what follows under another epoch than the one that the engine read. Included in front
-- of the scripts that hand out or import tasks; their last key is the epoch, their last argument what was read:
-- '' = there was none, '*' = it was not read yet, and everything goes.
do
  local known = ARGV[#ARGV]
  if known ~= '*' and (redis.call('GET', KEYS[#KEYS]) or '') ~= known then
    return redis.error_reply('EPOCH the epoch is another one')
  end
end
