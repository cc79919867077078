-- Find a session of a user by its public id.
--
-- ARGV[1]  account id of the user
-- ARGV[2]  public id
--
-- Returns {id, fields}, 'none', or 'unindexed' if some sessions of the user are not in the index.
local user, public = ARGV[1], 'latchkey:public:' .. ARGV[1]
local id = redis.call('hget', public, ARGV[2])
if id then
  local record = read('latchkey:{' .. id .. '}')
  if record[5] == user then return {id, record} end
  redis.call('hdel', public, ARGV[2])
end
if redis.call('hlen', public) < redis.call('zcard', 'latchkey:user:' .. user) then
  return 'unindexed'
end
return 'none'
