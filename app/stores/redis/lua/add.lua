-- Add a record. What needs memory is written first, so that all of it is stored or nothing.
--
-- KEYS[1]  latchkey:{ID}
-- ARGV     id, time to live in milliseconds or '', version, data, seen, expires, made;
--          for a user's session also account id, public id, name and authentication; '' for a
--          name or an authentication that there is not
local key, id, ttl = KEYS[1], ARGV[1], ARGV[2]
local seen, expires, user, public_id = ARGV[5], ARGV[6], ARGV[8], ARGV[9]
local name, authentication = ARGV[10], ARGV[11]
redis.call('hset', key, 'version', ARGV[3], 'data', ARGV[4], 'seen', seen,
  'expires', expires, 'made', ARGV[7])
if user then
  redis.call('hset', key, 'user', user, 'public', public_id)
  if name ~= '' then redis.call('hset', key, 'name', name) end
  if authentication ~= '' then redis.call('hset', key, 'authentication', authentication) end
  local public = 'latchkey:public:' .. user
  local old = redis.call('pttl', public)
  redis.call('hset', public, public_id, id)
  lengthen(public, old, ttl)
end
expire(id, key, user, seen, expires, ttl)
