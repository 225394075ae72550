"""Sessions: what a browser holds instead of the token.

The cookie says a scope, an expiry and a random name, signed with a key made from the token, which is in neither cookie
nor address. Another token makes another key, so whoever changes a token ends its sessions. Nothing has to be stored
for a session to hold: the desk halts trading while Redis is away. A session that was logged out is noted in Redis
until it would have expired.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256

from redis.asyncio import Redis
from redis.exceptions import RedisError

from api.auth import INCLUDED, Scope, Tokens

log = logging.getLogger(__name__)

LASTS_SECONDS = 12 * 3600
PATIENCE_SECONDS = 0.3
ENDED_KEY = "autotrader:desk:ended:{name}"

# a browser takes the first from nobody but this host over TLS
SECURE_COOKIE, PLAIN_COOKIE = "__Host-autotrader-desk", "autotrader-desk"

_VERSION = "1"
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that gave a token once. `expires` is in Unix seconds, `csrf` what its forms must carry."""

    scope: Scope
    name: str
    expires: int
    csrf: str

    @property
    def granted(self) -> frozenset[Scope]:
        return INCLUDED[self.scope]


class Sessions:
    """Begins, reads and ends sessions."""

    def __init__(self, tokens: Tokens, redis: Redis, clock: Callable[[], float] = time.time) -> None:
        self._keys: Mapping[Scope, bytes] = {
            scope: hmac.digest(digest, b"autotrader desk session", sha256) for scope, digest in tokens.digests
        }
        self._redis = redis
        self._clock = clock

    def begin(self, granted: frozenset[Scope]) -> str:
        """The cookie of a new session for whoever gave a token that entitles to `granted`, which is not empty."""
        scope = Scope.OPERATE if Scope.OPERATE in granted else Scope.READ
        expires = int(self._clock()) + LASTS_SECONDS
        said = f"{_VERSION}.{scope}.{expires}.{secrets.token_hex(16)}"
        return f"{said}.{self._signed(scope, said)}"

    def read(self, cookie: str) -> Session | None:
        """The session of a cookie that was made here and has not expired."""
        said, _, signature = cookie[:_LONGEST].rpartition(".")
        parts = said.split(".")
        if len(parts) != 4 or parts[0] != _VERSION or parts[1] not in {str(scope) for scope in self._keys}:
            return None
        scope, (expires, name) = Scope(parts[1]), parts[2:]
        if not hmac.compare_digest(signature.encode(), self._signed(scope, said).encode()):
            return None
        # only now is it known to be our own text
        if self._clock() >= int(expires):
            return None
        return Session(scope, name, int(expires), self._signed(scope, f"form.{said}"))

    async def end(self, session: Session) -> None:
        """Note that a session is over, so that a copy of its cookie opens nothing; only while Redis answers."""
        left = max(1, session.expires - int(self._clock()))
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._redis.set(_key(session), "1", ex=left)
        except (RedisError, OSError, TimeoutError):
            log.warning("Redis does not take that a session of the desk was ended; its cookie is good until it expires")

    async def ended(self, session: Session) -> bool:
        """Whether it was logged out. While Redis does not answer it was not: a halt must not wait for Redis."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return bool(await self._redis.exists(_key(session)))
        except (RedisError, OSError, TimeoutError):
            return False

    def _signed(self, scope: Scope, said: str) -> str:
        return hmac.digest(self._keys[scope], said.encode(), sha256).hex()


def cookie_of(cookies: Mapping[str, str], *, secure: bool) -> str:
    """The session's cookie among those of a request, or ""."""
    return cookies.get(SECURE_COOKIE if secure else PLAIN_COOKIE, "")


def _key(session: Session) -> str:
    return ENDED_KEY.format(name=sha256(session.name.encode()).hexdigest())
