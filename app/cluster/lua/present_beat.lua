-- Note that a process runs, and remove the users of those that do not. Return whether the process
-- was known, removed by another one, or new, and then each user who has left with a dead process.
--
-- ARGV  name of the process, milliseconds after which it is taken for dead, 1 if it stops
local process, clock = ARGV[1], redis.call('time')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local state = 'new'
if redis.call('hexists', 'latchkey:present', process) == 1 then
  state = 'known'
elseif redis.call('del', 'latchkey:present:removed:' .. process) == 1 then
  state = 'removed'
end
if ARGV[3] == '1' and redis.call('exists', 'latchkey:present:of:' .. process) == 0 then
  redis.call('hdel', 'latchkey:present', process)
else
  redis.call('hset', 'latchkey:present', process, string.format('%.0f', now + ARGV[2]))
end
local answer = {state}
local processes = redis.call('hgetall', 'latchkey:present')
for i = 1, #processes, 2 do
  local other = processes[i]
  if other ~= process and tonumber(processes[i + 1]) < now then
    local theirs = 'latchkey:present:of:' .. other
    for _, member in ipairs(redis.call('smembers', theirs)) do
      local at = string.find(member, '\n', 1, true)
      local user, namespace = string.sub(member, 1, at - 1), string.sub(member, at + 1)
      local inside = 'latchkey:present:in:' .. namespace
      redis.call('hdel', 'latchkey:present:at:' .. user, other .. '\n' .. namespace)
      if redis.call('hincrby', inside, user, -1) <= 0 then
        redis.call('hdel', inside, user)
        answer[#answer + 1] = member
      end
    end
    redis.call('del', theirs)
    redis.call('hdel', 'latchkey:present', other)
    redis.call('set', 'latchkey:present:removed:' .. other, '', 'EX', 86400)
  end
end
return answer
