-- Return the fields of a record, each false if it is missing. A key of another type is an error in
-- its own row only, so that one spoiled key does not fail a batch.
local function read(key)
  return redis.pcall('hmget', key, 'version', 'data', 'seen', 'expires', 'user', 'made', 'name',
    'authentication')
end
