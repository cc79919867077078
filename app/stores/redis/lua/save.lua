-- Save an edit and unlock.
--
-- KEYS[1]  latchkey:{ID}
-- ARGV[1]  token of the edit
-- ARGV[2]  version that was read
-- ARGV[3]  data
--
-- Returns what `write` returns.
local result = write(KEYS[1], ARGV[1], ARGV[2], ARGV[3])
unlock(KEYS[1], ARGV[1])
return result
