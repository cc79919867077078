-- Remove a record with its entries in the indexes, and tell all processes.
local function remove(id, key, record)
  local user = record[5]
  if user then
    redis.call('zrem', 'latchkey:user:' .. user, id)
    local public = redis.call('hget', key, 'public')
    if public then redis.call('hdel', 'latchkey:public:' .. user, public) end
  end
  redis.call('del', key)
  redis.call('zrem', 'latchkey:expiry', id)
  redis.call('publish', 'latchkey:gone', id)
end
