-- Close a gate for a while; one that is closed for longer stays so.
-- KEYS: the gate. ARGV: microseconds. Returns the microseconds until it opens.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local opens = now + tonumber(ARGV[1])
local before = tonumber(redis.call('GET', KEYS[1]) or 0)
if before >= opens then return before - now end
redis.call('SET', KEYS[1], string.format('%.0f', opens), 'PX', math.ceil((opens - now) / 1000) + 1)
return opens - now
