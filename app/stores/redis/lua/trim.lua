-- Remove the least recently seen sessions of a user beyond a number; return id, fields, id, fields, …
--
-- ARGV[1]  account id of the user
-- ARGV[2]  how many the user may have
-- ARGV[3]  id of the session to keep
-- ARGV[4]  how many to remove at most
local index, found = 'latchkey:user:' .. ARGV[1], {}
local excess = math.min(redis.call('zcard', index) - ARGV[2], ARGV[4])
if excess <= 0 then return found end
for _, id in ipairs(redis.call('zrange', index, 0, excess)) do
  if id ~= ARGV[3] and excess > 0 then
    excess = excess - 1
    local key = 'latchkey:{' .. id .. '}'
    local record = read(key)
    if record[1] then
      remove(id, key, record)
      found[#found + 1] = id
      found[#found + 1] = record
    else
      redis.call('zrem', index, id)
    end
  end
end
return found
