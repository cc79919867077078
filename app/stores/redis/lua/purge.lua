-- Remove sessions that have expired; return id, fields, id, fields, …
--
-- ARGV[1]  now, seconds since 1970
-- ARGV[2]  how many to remove at most
local found = {}
local expired = redis.call('zrangebyscore', 'latchkey:expiry', '-inf', ARGV[1], 'limit', 0, ARGV[2])
for _, id in ipairs(expired) do
  local key = 'latchkey:{' .. id .. '}'
  local record = read(key)
  remove(id, key, record)
  if record[1] then
    found[#found + 1] = id
    found[#found + 1] = record
  end
end
return found
