-- Count hits of keys in a sliding window, or ask how long to wait.
--
-- KEYS     latchkey:rate:NAME:KEY, lists of the times of the latest hits
-- ARGV[1]  how many hits a window may have
-- ARGV[2]  window, milliseconds
-- ARGV[3]  'wait': count nothing; 'hit': count; 'take': count if no key has to wait
--
-- Returns the longest wait of these keys, milliseconds.
local limit, window, what = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local time = redis.call('time')
local now, longest = time[1] * 1000 + math.floor(time[2] / 1000), 0
for _, key in ipairs(KEYS) do
  local last = redis.call('lindex', key, -1)
  -- Redis has no monotonic clock; if it was set back, forget rather than lock anybody out
  if last and tonumber(last) > now then redis.call('del', key) end
  local first = redis.call('lindex', key, -limit)
  if first then longest = math.max(longest, first + window - now) end
end
if what == 'hit' or (what == 'take' and longest <= 0) then
  for _, key in ipairs(KEYS) do
    redis.call('rpush', key, string.format('%.0f', now))
    redis.call('ltrim', key, -limit, -1)
    redis.call('pexpire', key, window)
  end
end
return longest
