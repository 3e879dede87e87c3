-- Adds one batch of uses to the totals, once, and answers with the totals.
-- KEYS: the instance's mark, and each key's hash.
-- ARGV: the batch's number, seconds the mark lives, seconds a total lives, then for each key: the count in its status,
-- uses to add, milliseconds, version and address of the last use.
local is_new = tonumber(redis.call('GET', KEYS[1]) or '0') < tonumber(ARGV[1])
local totals = {}
for i = 2, #KEYS do
  local at = 4 + (i - 2) * 5
  if is_new then
    -- A total that was lost or never here goes on from what the status says.
    if tonumber(redis.call('HGET', KEYS[i], 'count') or '0') < tonumber(ARGV[at]) then
      redis.call('HSET', KEYS[i], 'count', ARGV[at])
    end
    redis.call('HINCRBY', KEYS[i], 'count', ARGV[at + 1])
    if tonumber(ARGV[at + 2]) > tonumber(redis.call('HGET', KEYS[i], 'at') or '-1') then
      redis.call('HSET', KEYS[i], 'at', ARGV[at + 2], 'version', ARGV[at + 3], 'address', ARGV[at + 4])
    end
    redis.call('EXPIRE', KEYS[i], ARGV[3])
  end
  totals[i - 1] = redis.call('HMGET', KEYS[i], 'count', 'at', 'version', 'address')
end
if is_new then
  redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
end
return totals
