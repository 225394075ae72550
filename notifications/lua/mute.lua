-- Tell nothing of a kind, of one alert, or nothing at all for a while, save what is critical.
-- ARGV: name milliseconds(0 = end it now) lowest_priority chat...
-- What is held back is looked at again by the next claim, so that a mute may be made shorter as well as longer.
local name, length, mutes = ARGV[1], tonumber(ARGV[2]), P .. 'mutes'
if length > 0 then
  redis.call('ZADD', mutes, string.format('%.0f', NOW + length), name)
else
  redis.call('ZREM', mutes, name)
end
local last = redis.call('ZRANGE', mutes, -1, -1, 'WITHSCORES')[2]
if last then redis.call('PEXPIREAT', mutes, string.format('%.0f', tonumber(last))) end

for position = 4, #ARGV do
  for prio = 1, tonumber(ARGV[3]) do
    local key = P .. 'ready:' .. ARGV[position] .. ':' .. prio
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', key, string.format('(%.0f', NOW), '+inf')) do
      if redis.call('HEXISTS', record_key(id), 'parked') == 1 then
        redis.call('ZADD', key, string.format('%.0f', NOW), id)
      end
    end
  end
end
wake()
return 1
