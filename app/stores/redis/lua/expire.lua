-- Set how long Redis keeps an index: at least `ttl` milliseconds, or for ever if `ttl` is ''.
-- `old` is the PTTL that the index had before it was written.
local function lengthen(index, old, ttl)
  if ttl == '' then
    redis.call('persist', index)
  elseif old == -2 or (old >= 0 and old < tonumber(ttl)) then
    redis.call('pexpire', index, ttl)
  end
end

-- Set how long Redis keeps a record and the indexes that it is in.
local function expire(id, key, user, seen, expires, ttl)
  if ttl == '' then
    redis.call('zrem', 'latchkey:expiry', id)
  else
    redis.call('zadd', 'latchkey:expiry', expires, id)
  end
  if user then
    local index = 'latchkey:user:' .. user
    local old = redis.call('pttl', index)
    redis.call('zadd', index, seen, id)
    lengthen(index, old, ttl)
    local public = 'latchkey:public:' .. user
    lengthen(public, redis.call('pttl', public), ttl)
  end
  if ttl == '' then redis.call('persist', key) else redis.call('pexpire', key, ttl) end
end
