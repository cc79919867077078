-- Lock a session for one edit, and read what its process does not have in its cache.
--
-- KEYS[1]  latchkey:{ID}
-- ARGV[1]  token of the edit; its first 16 characters name the process
-- ARGV[2]  version of the cached record, or ''
-- ARGV[3]  seen of the cached record, or ''
-- ARGV[4]  lease, milliseconds
--
-- Returns 'busy' if another edit has the lock or the next turn. If locked, returns 'current' if the
-- cached record is up to date, {seen, expires} if only those differ, else the fields of the record.
local key, token = KEYS[1], ARGV[1]
local turn = redis.call('get', key .. ':turn')
local may_lock = not turn or turn == token
if may_lock and redis.call('set', key .. ':lock', token, 'nx', 'px', ARGV[4]) then
  if turn then redis.call('del', key .. ':turn') end
  local record = read(key)
  if record[1] ~= ARGV[2] then return record end
  if record[3] ~= ARGV[3] then return {record[3], record[4]} end
  return 'current'
end
-- reserve the next turn, for as long as this process goes on asking
if may_lock then redis.call('set', key .. ':turn', token, 'px', 150) end
local holder = redis.call('get', key .. ':lock')
if holder then
  redis.call('publish', 'latchkey:wanted:' .. string.sub(holder, 1, 16), string.sub(key, 11, -2))
end
return 'busy'
