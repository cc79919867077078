-- Add sessions of a user to the index of public ids.
--
-- ARGV  account id of the user, then for each session: id, public id
local user, public = ARGV[1], 'latchkey:public:' .. ARGV[1]
for i = 2, #ARGV, 2 do
  local key = 'latchkey:{' .. ARGV[i] .. '}'
  if redis.pcall('hget', key, 'user') == user then
    redis.call('hset', key, 'public', ARGV[i + 1])
    redis.call('hset', public, ARGV[i + 1], ARGV[i])
  end
end
local ttl = redis.call('pttl', 'latchkey:user:' .. user)
if ttl >= 0 then redis.call('pexpire', public, ttl) end
