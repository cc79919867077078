-- Set when sessions were seen and expire; neither moves to an earlier time.
--
-- ARGV  for each session: id, seen, expires, time to live in milliseconds or ''
for i = 1, #ARGV, 4 do
  local id, seen, expires, ttl = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local key = 'latchkey:{' .. id .. '}'
  local old_seen, user, old_expires = unpack(redis.call('hmget', key, 'seen', 'user', 'expires'))
  if old_seen and tonumber(seen) >= tonumber(old_seen) then
    if tonumber(expires) >= tonumber(old_expires) then
      redis.call('hset', key, 'seen', seen, 'expires', expires)
      expire(id, key, user, seen, expires, ttl)
    else
      redis.call('hset', key, 'seen', seen)
      if user then redis.call('zadd', 'latchkey:user:' .. user, seen, id) end
    end
  end
end
