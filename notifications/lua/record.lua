-- Count occurrences of one alert.
-- ARGV: fingerprint chat priority once(0|1) window_ms payload first_ms last_ms id...
-- Each id is one occurrence, and one that was counted before does not count again: a recorder whose request timed
-- out cannot know whether it arrived. first_ms and last_ms are "" for now.
-- Returns {'new'|'repeated', occurrences}.
local fp, chat, prio, once, window, payload = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local first = ARGV[7] ~= '' and tonumber(ARGV[7]) or NOW
local last = ARGV[8] ~= '' and tonumber(ARGV[8]) or NOW
local COUNTED_MS, COUNTED_MOST = 86400000, 500000

local open = P .. 'open:' .. fp
local id = redis.call('GET', open)
local known = id and redis.call('EXISTS', record_key(id)) == 1

local counted, fresh = P .. 'counted', 0
redis.call('ZREMRANGEBYSCORE', counted, '-inf', NOW - COUNTED_MS)
for position = 9, #ARGV do fresh = fresh + redis.call('ZADD', counted, 'NX', NOW, ARGV[position]) end
local many = redis.call('ZCARD', counted)
if many > COUNTED_MOST then redis.call('ZREMRANGEBYRANK', counted, 0, many - COUNTED_MOST - 1) end
if fresh == 0 then
  return {'repeated', known and tonumber(redis.call('HGET', record_key(id), 'n')) or 0}
end

if id and not known and once == '1' then
  return {'repeated', 0} -- delivered, and nothing but the fingerprint was kept
end

if known then
  local rec = record_key(id)
  if once == '1' then return {'repeated', 1} end -- the same event seen twice is still one event
  local n = redis.call('HINCRBY', rec, 'n', fresh)
  local now_is = redis.call('HMGET', rec, 'state', 'prio', 'until', 'first', 'last')
  if first < tonumber(now_is[4]) then redis.call('HSET', rec, 'first', first) end
  if last > tonumber(now_is[5]) then redis.call('HSET', rec, 'last', last) end
  if now_is[1] == 'ready' and tonumber(prio) < tonumber(now_is[2]) then
    local before = ready_key(id)
    local due = redis.call('ZSCORE', before, id)
    redis.call('ZREM', before, id)
    redis.call('HSET', rec, 'prio', prio)
    -- what is critical now waits for the end of no mute
    make_ready(id, prio == '0' and NOW or tonumber(due) or NOW)
    if prio == '0' and redis.call('HDEL', rec, 'parked') == 1 then wake() end
  elseif now_is[1] == 'shown' then
    make_ready(id, tonumber(now_is[3]) + 1)
  end
  return {'repeated', n}
end

id = fp .. '#' .. string.format('%.0f', redis.call('INCR', P .. 'seq'))
redis.call('SET', open, id)
redis.call('HSET', record_key(id), 'fp', fp, 'chat', chat, 'prio', prio, 'once', once, 'window', window,
  'n', fresh, 'first', first, 'last', last, 'att', 0, 'tok', '', 'msg', '', 'via', '', 'shown', 0, 'p', payload)
make_ready(id, NOW)
wake()
return {'new', fresh}
