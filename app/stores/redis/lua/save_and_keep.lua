-- Save an edit and keep the lock, unless another process waits for it.
--
-- KEYS[1], ARGV[1..3]  as for save.lua
-- ARGV[4]              lease, milliseconds
--
-- Returns 'kept' if it was saved and the lock was kept, else as save.lua.
local key, token = KEYS[1], ARGV[1]
local result = write(key, token, ARGV[2], ARGV[3])
if result == 'saved' and not redis.call('get', key .. ':turn') then
  redis.call('set', key .. ':lock', token, 'px', ARGV[4])
  return 'kept'
end
unlock(key, token)
return result
