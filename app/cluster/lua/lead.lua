-- Lead a job of the site, or go on leading it.
--
-- The key never expires by a clock. Its value is "OWNER BEAT LEFT": the process that leads, a
-- number that each of its heartbeats changes, and the milliseconds until the next run. A process
-- that has seen the same value for the whole lease, by its own clock, may replace it.
--
-- KEYS[1]  latchkey:job:NAME
-- ARGV[1]  owner, 16 characters; the value of a process that has stopped begins with 16 dashes
-- ARGV[2]  new value
-- ARGV[3]  value that has not changed for the whole lease, '' for none, 'absent' for no value
--
-- Returns whether this process leads now, 1 or 0, and the value that was found, or 'absent'.
local value = redis.call('get', KEYS[1]) or 'absent'
local owner = string.sub(value, 1, 16)
if owner == ARGV[1] or owner == '----------------' or value == ARGV[3] then
  redis.call('set', KEYS[1], ARGV[2])
  return {1, value}
end
return {0, value}
