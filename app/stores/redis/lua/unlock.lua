-- Free the lock if this token holds it, and tell the process that has reserved the next turn.
local function unlock(key, token)
  if redis.call('get', key .. ':lock') ~= token then return end
  redis.call('del', key .. ':lock')
  local turn = redis.call('get', key .. ':turn')
  if turn then redis.call('publish', 'latchkey:turn:' .. string.sub(turn, 1, 16), turn) end
end
