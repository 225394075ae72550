-- Count one occurrence. ARGV: fingerprint chat priority once(0|1) window_ms payload
-- Returns {'new'|'repeated', occurrences}.
local fp, chat, prio, once, window, payload = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local open = P .. 'open:' .. fp
local id = redis.call('GET', open)
local known = id and redis.call('EXISTS', record_key(id)) == 1

if id and not known and once == '1' then
  return {'repeated', 0} -- delivered, and nothing but the fingerprint was kept
end

if known then
  local rec = record_key(id)
  if once == '1' then return {'repeated', 1} end -- the same event seen twice is still one event
  local n = redis.call('HINCRBY', rec, 'n', 1)
  redis.call('HSET', rec, 'last', NOW)
  local now_is = redis.call('HMGET', rec, 'state', 'prio', 'until')
  if now_is[1] == 'ready' and tonumber(prio) < tonumber(now_is[2]) then
    local before = ready_key(id)
    local due = redis.call('ZSCORE', before, id)
    redis.call('ZREM', before, id)
    redis.call('HSET', rec, 'prio', prio)
    make_ready(id, tonumber(due) or NOW)
  elseif now_is[1] == 'shown' then
    make_ready(id, tonumber(now_is[3]) + 1)
  end
  return {'repeated', n}
end

id = fp .. '#' .. string.format('%.0f', redis.call('INCR', P .. 'seq'))
redis.call('SET', open, id)
redis.call('HSET', record_key(id), 'fp', fp, 'chat', chat, 'prio', prio, 'once', once, 'window', window,
  'n', 1, 'first', NOW, 'last', NOW, 'att', 0, 'tok', '', 'msg', '', 'shown', 0, 'p', payload)
make_ready(id, NOW)
wake()
return {'new', 1}
