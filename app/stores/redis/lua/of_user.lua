-- Return the sessions of a user, last seen first: id, fields, id, fields, … Ids without a record
-- leave the index.
--
-- ARGV[1]  account id of the user
-- ARGV[2]  how many at most
local index, found = 'latchkey:user:' .. ARGV[1], {}
repeat
  local ids = redis.call('zrevrange', index, 0, ARGV[2] - 1)
  for _, id in ipairs(ids) do
    local record = read('latchkey:{' .. id .. '}')
    if record[1] then
      found[#found + 1] = id
      found[#found + 1] = record
    else
      redis.call('zrem', index, id)
    end
  end
until #ids == 0 or #found > 0
return found
