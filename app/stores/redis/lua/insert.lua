-- Add a record. What needs memory is written first, so that all of it is stored or nothing.
--
-- `ttl` is in milliseconds or ''; `user` and `public_id` are nil for a visitor's session, and `name`
-- and `authentication` '' if there is none.
local function insert(key, id, ttl, version, data, seen, expires, made, user, public_id, name,
    authentication)
  redis.call('hset', key, 'version', version, 'data', data, 'seen', seen, 'expires', expires,
    'made', made)
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
end
