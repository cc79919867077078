-- Look for sessions of a user that an older release stored without a public id.
--
-- ARGV[1]  account id of the user
-- ARGV[2]  how many sessions to pass over
-- ARGV[3]  how many to look at
--
-- Returns how many of those are still in the list of the user, and the ids without a public id.
local user, index, still, found = ARGV[1], 'latchkey:user:' .. ARGV[1], 0, {}
for _, id in ipairs(redis.call('zrange', index, ARGV[2], ARGV[2] + ARGV[3] - 1)) do
  local record = redis.pcall('hmget', 'latchkey:{' .. id .. '}', 'user', 'public')
  if record[1] == user then
    still = still + 1
    if not record[2] then found[#found + 1] = id end
  else
    redis.call('zrem', index, id)
  end
end
return {still, found}
