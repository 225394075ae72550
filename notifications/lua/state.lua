-- How the queue stands. ARGV: lowest_priority chat...
-- Returns {alerts that wait or are being sent, age in ms of the oldest of them, dead ones}. An edit whose window still
-- runs does not wait, nor does what is muted; a new alert does, also while the bot must not be used.
local waiting, oldest, MOST = 0, NOW, 1000
for position = 2, #ARGV do
  for prio = 0, tonumber(ARGV[1]) do
    local key = P .. 'ready:' .. ARGV[position] .. ':' .. prio
    local found = redis.call('ZRANGE', key, 0, MOST - 1, 'WITHSCORES')
    for index = 1, #found, 2 do
      local record = redis.call('HMGET', record_key(found[index]), 'shown', 'first', 'parked')
      local due = tonumber(found[index + 1])
      local since = record[1] == '0' and not record[3] and tonumber(record[2]) or due
      if record[1] and since <= NOW then
        waiting = waiting + 1
        if since < oldest then oldest = since end
      end
    end
    waiting = waiting + math.max(redis.call('ZCARD', key) - MOST, 0)
  end
end
for _, id in ipairs(redis.call('ZRANGE', P .. 'inflight', 0, MOST - 1)) do
  local record = redis.call('HMGET', record_key(id), 'shown', 'first')
  waiting = waiting + 1
  if record[1] == '0' and tonumber(record[2]) < oldest then oldest = tonumber(record[2]) end
end
return {waiting, NOW - oldest, redis.call('ZCARD', P .. 'dead')}
