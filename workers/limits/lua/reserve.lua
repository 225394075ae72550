-- Take a slot of a bucket, or ask, when its time has come, to use the one held. All times are microseconds of this
-- server's clock.
--
-- The bucket has as many lanes as requests are allowed in a window, and a lane lets one request through per window.
-- Of any N+1 requests two have used the same lane, so they are a window apart, however late their senders woke up.
--
-- KEYS: the lanes, the gate of the group, the gate of the venue. The lanes are a hash: `f<lane>` when it can be
-- reserved for, `r<lane>` when it last let a request through, `last` the latest slot given.
-- ARGV: lanes, window, smallest distance of two slots, longest wait, lane held (0: none).
-- Returns {outcome, wait, lane}; outcome 'slot' (wait 0: send now), or 'full' or 'closed' where the wait would be
-- longer than the longest: then nothing was taken.
local lanes, window, gap = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local longest, held = tonumber(ARGV[4]), tonumber(ARGV[5])
local KEEP_MS = 60000
-- nobody waits that long: such a time was written before the clock was set back
local FAR = 120000000
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local gate = math.max(tonumber(redis.call('GET', KEYS[2]) or 0), tonumber(redis.call('GET', KEYS[3]) or 0))

local stored = {}
local flat = redis.call('HGETALL', KEYS[1])
for position = 1, #flat, 2 do
  local time = tonumber(flat[position + 1])
  stored[flat[position]] = time <= now + FAR and time or 0
end
local function time_of(field) return stored[field] or 0 end
local function set(field, time) redis.call('HSET', KEYS[1], field, string.format('%.0f', time)) end

local function let_through(lane)
  set('r' .. lane, now)
  set('f' .. lane, math.max(time_of('f' .. lane), now + window))
end

if held > 0 then
  local opens = math.max(gate, time_of('r' .. held) + window)
  if opens <= now then
    let_through(held)
    redis.call('PEXPIRE', KEYS[1], KEEP_MS)
    return {'slot', 0, held}
  end
  return {opens - now <= longest and 'slot' or gate == opens and 'closed' or 'full', opens - now, held}
end

local lane = 1
for other = 2, lanes do
  if time_of('f' .. other) < time_of('f' .. lane) then lane = other end
end
local free = math.max(time_of('f' .. lane), time_of('last') + gap)
local slot = math.max(now, free, gate)
if slot - now > longest then
  return {gate > free and 'closed' or 'full', slot - now, 0}
end
set('last', slot)
if slot == now then
  let_through(lane)
else
  set('f' .. lane, slot + window)
end
redis.call('PEXPIRE', KEYS[1], KEEP_MS + math.ceil((slot - now) / 1000))
return {'slot', slot - now, lane}
