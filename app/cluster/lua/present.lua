-- Return the transports of sessions at each other running process, in the order of the ids.
--
-- ARGV  name of the process that asks, then ids
local found = {}
for _, name in ipairs(redis.call('smembers', 'latchkey:processes')) do
  local key = 'latchkey:process:' .. name
  if redis.call('exists', key) == 0 then
    redis.call('srem', 'latchkey:processes', name)
  elseif name ~= ARGV[1] then
    found[#found + 1] = redis.call('hmget', key, unpack(ARGV, 2))
  end
end
return found
