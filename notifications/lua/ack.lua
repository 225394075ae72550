-- The alert was delivered. ARGV: id token message_id occurrences_shown keep_ms via sent sent_kept
-- message_id is "" if it was a line of a digest, which no edit of one alert may replace; `via` is the chat it went
-- to, if not its own; `sent` is what the list of what was sent shows of it, "" for nothing. The window starts here,
-- at delivery.
-- Returns 1, or 0 if the claim was not this sender's any more.
local id, token, message, shown, keep, via, sent, sent_kept =
  ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6], ARGV[7], tonumber(ARGV[8])
if not holds(id, token) then return 0 end
local rec, open = record_key(id), P .. 'open:'

-- Nothing here may stop a delivery from being written down: whatever is wrong with the list is left as it is.
local function note_sent(id, what, kept)
  local list, whats = P .. 'sent', P .. 'sent:what'
  -- a new count shows where the alert was first told
  redis.pcall('ZADD', list, 'NX', string.format('%.0f', NOW), id)
  redis.pcall('HSET', whats, id, what)
  local beyond = redis.pcall('ZRANGE', list, 0, -kept - 1)
  if beyond.err then return end
  for _, old in ipairs(beyond) do
    redis.pcall('ZREM', list, old)
    redis.pcall('HDEL', whats, old)
  end
end

redis.call('ZREM', P .. 'inflight', id)
redis.call('ZREM', ready_key(id), id) -- the lease may have ended without anybody claiming it

if sent ~= '' then note_sent(id, sent, sent_kept) end

local record = redis.call('HMGET', rec, 'fp', 'once', 'window', 'msg', 'n')
open = open .. record[1]
if record[4] ~= '' then -- an edit: the window is over
  redis.call('DEL', rec)
  return 1
end

-- told for the first time: counted by UTC day, for the reports
local told = P .. 'told:' .. math.floor(NOW / 86400000)
redis.call('INCR', told)
redis.call('PEXPIRE', told, 864000000)

local ends = NOW + tonumber(record[3])
if redis.call('GET', open) == id then redis.call('PEXPIREAT', open, string.format('%.0f', ends)) end
if record[2] == '1' then
  redis.call('DEL', rec)
  return 1
end
redis.call('HSET', rec, 'msg', message, 'via', via, 'shown', shown, 'until', string.format('%.0f', ends), 'att', 0,
  'tok', '', 'state', 'shown')
if tonumber(record[5]) > shown then
  make_ready(id, ends + 1)
else
  redis.call('PEXPIREAT', rec, string.format('%.0f', ends + keep))
end
return 1
