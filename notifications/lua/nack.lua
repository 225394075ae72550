-- The alert was not delivered.
-- ARGV: id token delay_ms refund(0|1) max_attempts pause("" | "bot" | chat) critical_passes(0|1) reason
-- With `refund` the attempt does not count; with `pause` nobody uses the bot, or that chat, for the delay; what is
-- critical may pass, if there is another way for it. `reason` is kept with what is given up.
-- Returns 'ready', 'dead', or 'lost' if the claim was not this sender's any more.
local id, token, delay, refund, max_attempts, pause, passes, reason =
  ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5]), ARGV[6], ARGV[7], ARGV[8]

-- true whoever holds the claim: it is Telegram that asked for it
if pause ~= '' and delay > 0 then
  local key = P .. (pause == 'bot' and 'pause' or 'pause:' .. pause)
  if redis.call('PTTL', key) < delay then
    redis.call('SET', key, passes == '1' and 'critical passes' or 'all', 'PX', string.format('%.0f', delay))
  end
end

if not holds(id, token) then return 'lost' end
redis.call('ZREM', P .. 'inflight', id)
redis.call('ZREM', ready_key(id), id)
redis.call('HSET', record_key(id), 'tok', '')
if refund == '1' then
  redis.call('HINCRBY', record_key(id), 'att', -1)
elseif tonumber(redis.call('HGET', record_key(id), 'att')) >= max_attempts then
  bury(id, reason)
  return 'dead'
end
make_ready(id, NOW + delay)
return 'ready'
