-- Unlock without a save, and give up a reserved turn.
--
-- KEYS[1]  latchkey:{ID}
-- ARGV[1]  token of the edit
local key, token = KEYS[1], ARGV[1]
unlock(key, token)
if redis.call('get', key .. ':turn') == token then redis.call('del', key .. ':turn') end
