-- End the lease of this owner on a key.
--
-- KEYS[1]  latchkey:number:N
-- ARGV[1]  owner
if redis.call('get', KEYS[1]) == ARGV[1] then redis.call('del', KEYS[1]) end
