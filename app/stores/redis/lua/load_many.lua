-- Return the fields of many records, in order.
--
-- ARGV  ids
local records = {}
for i, id in ipairs(ARGV) do
  records[i] = read('latchkey:{' .. id .. '}')
end
return records
