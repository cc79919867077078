-- Return the number and the connections of each running process: {number or '', connections}.
local found = {}
for _, name in ipairs(redis.call('smembers', 'latchkey:processes')) do
  local all, number, connections = redis.call('hgetall', 'latchkey:process:' .. name), '', 0
  for i = 1, #all, 2 do
    if all[i] == '#' then
      number = all[i + 1]
    elseif all[i] ~= '' then
      connections = connections + select(2, string.gsub(all[i + 1], '%S+', ''))
    end
  end
  if #all > 0 then found[#found + 1] = {number, connections} end
end
return found
