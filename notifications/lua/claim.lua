-- Lease the most urgent alert that is due. ARGV: lease_ms token max_attempts aging_ms lowest_priority chat...
-- Returns {id, flat record} or {milliseconds until there may be something, at most an hour}.
local lease, token, max_attempts, aging, lowest =
  tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local inflight, wait = P .. 'inflight', 3600000

local function sooner(milliseconds)
  if milliseconds < wait then wait = milliseconds end
end

-- A lease that ended belongs to a sender that died. One that dies of the alert itself must not do so for ever.
for _, id in ipairs(redis.call('ZRANGEBYSCORE', inflight, '-inf', NOW, 'LIMIT', 0, 100)) do
  redis.call('ZREM', inflight, id)
  local attempts = tonumber(redis.call('HGET', record_key(id), 'att'))
  if attempts and attempts >= max_attempts then bury(id) elseif attempts then make_ready(id, NOW) end
end
local first_lease = redis.call('ZRANGE', inflight, 0, 0, 'WITHSCORES')[2]
if first_lease then sooner(tonumber(first_lease) - NOW) end

local paused = redis.call('PTTL', P .. 'pause')
if paused > 0 then
  sooner(paused)
  return {wait}
end

local best, best_key, best_rank = nil, nil, nil
for position = 6, #ARGV do
  local chat = ARGV[position]
  local chat_paused = redis.call('PTTL', P .. 'pause:' .. chat)
  if chat_paused > 0 then
    sooner(chat_paused)
  else
    for prio = 0, lowest do
      local key = P .. 'ready:' .. chat .. ':' .. prio
      local head = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
      while head[1] and tonumber(head[2]) <= NOW and redis.call('EXISTS', record_key(head[1])) == 0 do
        redis.call('ZREM', key, head[1])
        head = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
      end
      if head[1] then
        local due = tonumber(head[2])
        -- each step down costs `aging` ms, so nothing waits for ever behind what is a little more urgent
        local rank = prio == 0 and due - 1e14 or due + prio * aging
        if due > NOW then sooner(due - NOW)
        elseif not best or rank < best_rank then best, best_key, best_rank = head[1], key, rank end
      end
    end
  end
end
if not best then return {wait} end

local rec = record_key(best)
redis.call('ZREM', best_key, best)
redis.call('ZADD', inflight, string.format('%.0f', NOW + lease), best)
redis.call('HSET', rec, 'tok', token, 'state', 'inflight')
redis.call('HINCRBY', rec, 'att', 1)
-- what is claimed after it was shown is the edit at the end of the window
if redis.call('HGET', rec, 'msg') ~= '' then close(best) end
return {best, redis.call('HGETALL', rec)}
