-- Take a lease on a key, or renew it; return 1 if this owner has it now, else 0.
--
-- KEYS[1]  latchkey:number:N
-- ARGV[1]  owner
-- ARGV[2]  lease, milliseconds
local holder = redis.call('get', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('set', KEYS[1], ARGV[1], 'px', ARGV[2])
return 1
