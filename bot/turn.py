"""Whose turn it is to poll: Telegram gives its updates to one process only, and several notifiers may run."""

from __future__ import annotations

import asyncio
import logging
import uuid

from redis import RedisError
from redis.asyncio import Redis

from storage.redis import release

log = logging.getLogger(__name__)

KEY = "autotrader:bot:poller"
LEASE_SECONDS = 10.0
RENEW_SECONDS = 3.0

# Whoever has it keeps it; whoever finds it free takes it.
_KEEP = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""


class Turn:
    """The lease on the polling. While Redis does not answer, nobody can know: whoever had it goes on, and who has just
    started begins, since commands must be heard then of all times. What two would fetch is done once all the same.

    `held` is set while it is this process' turn."""

    def __init__(self, redis: Redis) -> None:
        self._keep = redis.register_script(_KEEP)
        self._redis = redis
        self._token = uuid.uuid4().hex
        self._asked = False
        self.held = asyncio.Event()

    async def watch(self) -> None:
        """Take the lease when it is free and renew it; until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(RENEW_SECONDS)

    async def look(self) -> None:
        """Take or renew it now."""
        try:
            mine = bool(await self._keep(keys=[KEY], args=[self._token, round(LEASE_SECONDS * 1000)]))
        except (RedisError, OSError, TimeoutError):
            mine = self.held.is_set() or not self._asked
        else:
            self._asked = True
        if mine is self.held.is_set():
            return
        if mine:
            log.info("this notifier listens to commands")
            self.held.set()
        else:
            log.info("another notifier listens to commands")
            self.held.clear()

    async def release(self) -> None:
        """Let another notifier listen at once; a lease that cannot be released ends by itself."""
        self.held.clear()
        try:
            await release(self._redis, KEY, self._token)
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("the bot's lease was not released (%s); it ends by itself", type(error).__name__)
