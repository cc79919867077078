-- Write data if the record has the version that was read, and no other edit holds the lock.
-- Return 'saved', 'gone' (there is no record) or 'lost' (another edit has written, or is about to).
local function write(key, token, version, data)
  local stored = redis.call('hget', key, 'version')
  if not stored then return 'gone' end
  local holder = redis.call('get', key .. ':lock')
  if stored ~= version or (holder and holder ~= token) then return 'lost' end
  redis.call('hset', key, 'version', stored + 1, 'data', data)
  return 'saved'
end
