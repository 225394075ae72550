-- Lease the most urgent alert that is due, or all of a flood.
-- ARGV: lease_ms token max_attempts aging_ms lowest_priority fold_above(-1 = never) chat...
-- Returns {id, flat record}, or {'*', {id, flat record}...} for a digest, or {milliseconds until there may be
-- something, at most an hour}.
local lease, token, max_attempts, aging, lowest, fold_above =
  tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local inflight, wait = P .. 'inflight', 3600000
local MOST_IN_A_DIGEST = 500

local function sooner(milliseconds)
  if milliseconds < wait then wait = milliseconds end
end

-- A lease that ended belongs to a sender that died. One that dies of the alert itself must not do so for ever.
for _, id in ipairs(redis.call('ZRANGEBYSCORE', inflight, '-inf', NOW, 'LIMIT', 0, 100)) do
  redis.call('ZREM', inflight, id)
  local attempts = tonumber(redis.call('HGET', record_key(id), 'att'))
  if attempts and attempts >= max_attempts then
    bury(id, 'its senders died while they had it')
  elseif attempts then
    make_ready(id, NOW)
  end
end
local first_lease = redis.call('ZRANGE', inflight, 0, 0, 'WITHSCORES')[2]
if first_lease then sooner(tonumber(first_lease) - NOW) end

local paused = redis.call('PTTL', P .. 'pause')
if paused > 0 then
  sooner(paused)
  return {wait}
end

redis.call('ZREMRANGEBYSCORE', P .. 'mutes', '-inf', NOW)
local any_mute = redis.call('EXISTS', P .. 'mutes') == 1

-- Until when an alert must not be told, or 0. Edits go on: they make no sound, and show the count.
local function muted_until(id)
  if not any_mute then return 0 end
  local record = redis.call('HMGET', record_key(id), 'fp', 'p', 'msg')
  if not record[1] or record[3] ~= '' then return 0 end
  local readable, contents = pcall(cjson.decode, record[2])
  local names = {'all', record[1]}
  if #record[1] == 64 and not record[1]:find('[^0-9a-f]') then names[2] = record[1]:sub(1, 16) end
  if readable and type(contents) == 'table' and type(contents.kind) == 'string' then names[3] = contents.kind end
  local ends = 0
  for _, name in ipairs(names) do
    ends = math.max(ends, tonumber(redis.call('ZSCORE', P .. 'mutes', name) or 0))
  end
  return ends
end

-- The next of a queue; what was deleted meanwhile goes, what is muted is put back until the end of the mute.
local function head_of(key, prio)
  while true do
    local head = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
    if not head[1] or tonumber(head[2]) > NOW then return head end
    if redis.call('EXISTS', record_key(head[1])) == 0 then
      redis.call('ZREM', key, head[1])
    else
      local ends = prio > 0 and muted_until(head[1]) or 0
      if ends == 0 then return head end
      redis.call('ZADD', key, string.format('%.0f', ends), head[1])
      redis.call('HSET', record_key(head[1]), 'parked', 1)
    end
  end
end

local function lease_it(id, key)
  local rec = record_key(id)
  redis.call('ZREM', key, id)
  redis.call('ZADD', inflight, string.format('%.0f', NOW + lease), id)
  redis.call('HSET', rec, 'tok', token, 'state', 'inflight')
  redis.call('HINCRBY', rec, 'att', 1)
  redis.call('HDEL', rec, 'parked')
  return {id, redis.call('HGETALL', rec)}
end

local best, best_key, best_rank, best_prio, best_chat = nil, nil, nil, nil, nil
for position = 7, #ARGV do
  local chat, last = ARGV[position], lowest
  local chat_paused = redis.call('PTTL', P .. 'pause:' .. chat)
  if chat_paused > 0 then
    sooner(chat_paused)
    last = redis.call('GET', P .. 'pause:' .. chat) == 'critical passes' and 0 or -1
  end
  for prio = 0, last do
    local key = P .. 'ready:' .. chat .. ':' .. prio
    local head = head_of(key, prio)
    if head[1] then
      local due = tonumber(head[2])
      -- each step down costs `aging` ms, so nothing waits for ever behind what is a little more urgent
      local rank = prio == 0 and due - 1e14 or due + prio * aging
      if due > NOW then sooner(due - NOW)
      elseif not best or rank < best_rank then
        best, best_key, best_rank, best_prio, best_chat = head[1], key, rank, prio, chat
      end
    end
  end
end
if not best then return {wait} end

-- One line of a digest does for an alert that counts its occurrences and was not shown yet. An event that happens
-- once is told by itself unless a mute held it back, and so is what failed before: it must not take the others with it.
local function foldable(id)
  local record = redis.call('HMGET', record_key(id), 'once', 'parked', 'msg', 'att')
  if record[3] ~= '' or tonumber(record[4]) > 0 then return false end
  return (record[1] == '0' or record[2] == '1') and muted_until(id) == 0
end

if fold_above >= 0 and best_prio > 0 and foldable(best) then
  -- all that a mute held back is one message, however little it is
  local most = redis.call('HEXISTS', record_key(best), 'parked') == 1 and 1 or fold_above
  local flood = {}
  for prio = 1, lowest do
    local key = P .. 'ready:' .. best_chat .. ':' .. prio
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', NOW, 'LIMIT', 0, MOST_IN_A_DIGEST)) do
      if foldable(id) then flood[#flood + 1] = {id, key} end
    end
  end
  if #flood > most then
    local leased = {'*'}
    for _, found in ipairs(flood) do leased[#leased + 1] = lease_it(found[1], found[2]) end
    return leased
  end
end

local claimed = lease_it(best, best_key)
-- what is claimed after it was shown is the edit at the end of the window
if redis.call('HGET', record_key(best), 'msg') ~= '' then close(best) end
return claimed
