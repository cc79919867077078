-- Note which users came to a process or left it; return 1 for each that came as the first one, or
-- left as the last one; nothing if the process is not known.
--
-- ARGV  name of the process, then for each user: id, namespace, and what is kept (empty: left)
local process, told = ARGV[1], {}
if redis.call('hexists', 'latchkey:present', process) == 0 then return nil end
local mine = 'latchkey:present:of:' .. process
for i = 2, #ARGV, 3 do
  local user, namespace, kept = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local inside, at = 'latchkey:present:in:' .. namespace, 'latchkey:present:at:' .. user
  local member, field, is_new = user .. '\n' .. namespace, process .. '\n' .. namespace, 0
  if kept == '' then
    redis.call('hdel', at, field)
    if redis.call('srem', mine, member) == 1 and redis.call('hincrby', inside, user, -1) <= 0 then
      redis.call('hdel', inside, user)
      is_new = 1
    end
  else
    redis.call('hset', at, field, kept)
    if redis.call('sadd', mine, member) == 1 and redis.call('hincrby', inside, user, 1) == 1 then
      is_new = 1
    end
  end
  told[#told + 1] = is_new
end
return told
