"""The pictures of messages on their way out: loaded once, and never sent twice."""

from __future__ import annotations

import logging
from collections import OrderedDict

from redis import RedisError
from redis.asyncio import Redis

from notifications import pictures
from notifications.alert import Claim
from notifications.ledger import PREFIX
from notifications.message import Message
from notifications.sender import Picture

log = logging.getLogger(__name__)

REDIS_ERRORS = (RedisError, OSError, TimeoutError)
# A message is dead or delivered long before.
REMEMBER_SECONDS = 86_400
REMEMBERED = 1_000


class Photos:
    """Knows which claims have shown their picture: a text that is sent again must not bring it again."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        # for the time in which Redis does not take it
        self._sent: OrderedDict[str, None] = OrderedDict()

    async def of(self, claim: Claim, message: Message) -> Picture | None:
        """The picture that is still to be sent with a claim's message; None if it has none, or none any more."""
        if not message.picture or claim.id in self._sent:
            return None
        try:
            if await self._redis.exists(_key(claim)):
                return None
            png = await pictures.load(self._redis, message.picture)
        except REDIS_ERRORS:
            png = None
        if png is None:
            log.warning("the picture of alert %s is gone: its text goes alone", claim.fingerprint)
            return None
        return Picture(png)

    async def note_sent(self, claim: Claim) -> None:
        """Remember that the chat has the picture of a claim. Never raises for Redis: this process knows it then."""
        self._sent[claim.id] = None
        while len(self._sent) > REMEMBERED:
            self._sent.popitem(last=False)
        try:
            await self._redis.set(_key(claim), "1", ex=REMEMBER_SECONDS)
        except REDIS_ERRORS:
            log.warning("it is not noted that the picture of alert %s was sent", claim.fingerprint)


def _key(claim: Claim) -> str:
    return f"{PREFIX}photo:{claim.id}"
