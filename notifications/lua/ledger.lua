-- What the scripts of the alert ledger share; put in front of each of them.
--
-- Keys, all under the prefix KEYS[1] (record keys are computed, so the ledger wants one Redis, not a cluster):
--   open:<fingerprint>        the id of the record that counts further occurrences; ends with the window
--   rec:<id>                  hash: fp chat prio once window n first last att tok state msg via shown until why p,
--                             and parked while a mute holds it back
--   counted                   zset of the ids of occurrences that were counted, of a day at most
--   ready:<chat>:<priority>   zset of ids by the time they are due (ms)
--   inflight                  zset of ids by the end of their lease (ms)
--   dead                      zset of ids by the time they were given up (ms), until the notifier has moved them
--   pause, pause:<chat>       exist while the bot, or one chat, must not be used
--   mutes                     zset of kinds, short fingerprints or "all", by the end of their mute (ms)
--   told:<day>                how many were delivered on a UTC day (days since 1970), kept for ten days
--   sent, sent:what           zset of the ids of what was told lately by that time (ms), and a hash of what it was
--   moved                     hash of chats that became supergroups
--   wake                      a list the notifier blocks on
--   seq                       numbers the records
-- States of a record: ready -> inflight -> shown -> ready (edit due) -> inflight -> deleted; or dead.
local P = KEYS[1]
local CLOCK = redis.call('TIME')
local NOW = CLOCK[1] * 1000 + math.floor(CLOCK[2] / 1000)

local function record_key(id) return P .. 'rec:' .. id end

local function ready_key(id)
  local place = redis.call('HMGET', record_key(id), 'chat', 'prio')
  return P .. 'ready:' .. place[1] .. ':' .. place[2]
end

local function make_ready(id, due)
  redis.call('ZADD', ready_key(id), string.format('%.0f', due), id)
  redis.call('HSET', record_key(id), 'state', 'ready')
  redis.call('PERSIST', record_key(id))
end

-- No further occurrence joins the record: the next one is a new alert.
local function close(id)
  local open = P .. 'open:' .. redis.call('HGET', record_key(id), 'fp')
  if redis.call('GET', open) == id then redis.call('DEL', open) end
end

local function bury(id, reason)
  close(id)
  redis.call('HSET', record_key(id), 'state', 'dead', 'tok', '', 'why', reason)
  redis.call('ZADD', P .. 'dead', string.format('%.0f', NOW), id)
end

local function wake()
  if redis.call('LLEN', P .. 'wake') == 0 then redis.call('RPUSH', P .. 'wake', '1') end
end

-- A token that is not the record's belongs to a sender whose lease ended and was given to another.
local function holds(id, token)
  return redis.call('HGET', record_key(id), 'tok') == token
end
