-- Remove a record, whoever holds its lock, and return its fields.
--
-- KEYS[1]  latchkey:{ID}
-- ARGV[1]  id
local record = read(KEYS[1])
if record[1] then remove(ARGV[1], KEYS[1], record) end
return record
