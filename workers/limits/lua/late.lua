-- A request may have reached the venue later than it was let through: its lane opens as much later.
-- KEYS: the lanes. ARGV: lane, microseconds, window.
local lane = ARGV[1]
local through = tonumber(redis.call('HGET', KEYS[1], 'r' .. lane) or 0)
if through == 0 then return 0 end
through = through + tonumber(ARGV[2])
local free = math.max(tonumber(redis.call('HGET', KEYS[1], 'f' .. lane) or 0), through + tonumber(ARGV[3]))
redis.call('HSET', KEYS[1], 'r' .. lane, string.format('%.0f', through), 'f' .. lane, string.format('%.0f', free))
return 1
