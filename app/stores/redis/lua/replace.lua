-- Put a new record in the place of one that is locked, and unlock.
--
-- KEYS[1]   latchkey:{ID} of the old record
-- KEYS[2]   latchkey:{ID} of the new record
-- ARGV[1]   token of the edit
-- ARGV[2]   version that was read
-- ARGV[3]   old id
-- ARGV[4]   note for the processes that have connections of the old id, or ''
-- ARGV[5]   milliseconds for which the note is kept
-- ARGV[6..] as for add.lua
--
-- Returns 'saved', 'gone' or 'lost', as `write` does.
local old, token, note = KEYS[1], ARGV[1], ARGV[4]
local record, holder = read(old), redis.call('get', old .. ':lock')
local result = 'saved'
if not record[1] then
  result = 'gone'
elseif record[1] ~= ARGV[2] or (holder and holder ~= token) then
  result = 'lost'
else
  insert(KEYS[2], unpack(ARGV, 6))
  -- before the old record goes, so that no process finds it missing and knows nothing of the new one
  if note ~= '' then
    redis.call('set', 'latchkey:replaced:' .. ARGV[3], note, 'px', ARGV[5])
    redis.call('publish', 'latchkey:replaced', note)
  end
  remove(ARGV[3], old, record)
end
unlock(old, token)
return result
