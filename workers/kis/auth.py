"""The access token, one for all processes: kept in Redis, asked for under a lock, never sooner than KIS allows.

KIS allows one request a minute and tells the owner of every token by KakaoTalk, so no process asks by itself.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from datetime import UTC, datetime
from uuid import uuid4

from redis.asyncio import Redis
from redis.exceptions import RedisError

from telemetry.instruments import credential_expiry
from workers.calls import Call
from workers.errors import BadCredentials, Throttled, Unreachable
from workers.http import VenueHttp, request_json
from workers.kis.errors import TokenTooSoon, judge_token
from workers.kis.wire import Token
from workers.wire import parse_one

REFRESH_BEFORE_SECONDS = 600
# Within six hours KIS answers the same token again, so one that is about to end is still kept for a while.
SHORTEST_SECONDS = 60
BACKOFF_SECONDS = 65.0
WAIT_SECONDS = 20.0
POLL_SECONDS = 0.1
# longer than the longest HTTP time-out, so that a lock outlives its holder's request but not its holder for long
LOCK_MILLISECONDS = 45_000
EXPIRY_OF = {"service": "kis", "credential": "access_token"}

DELETE_IF_EQUAL = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"


class SharedToken:
    """The token of one key pair. Its keys in Redis hold a hash of the app key, never the key.

    `backoff_seconds` is how long nobody asks after KIS said "too soon"; `wait_seconds` bounds how long `token`
    waits for that or for another process.
    """

    def __init__(
        self,
        session: VenueHttp,
        redis: Redis,
        base_url: str,
        app_key: str,
        app_secret: str,
        *,
        backoff_seconds: float = BACKOFF_SECONDS,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        if not app_key or not app_secret:
            raise BadCredentials(
                "kis: there are no keys; set KIS_APP_KEY and KIS_APP_SECRET, or leave KIS_SYMBOLS empty"
            )
        self._session = session
        self._redis = redis
        self._url = f"{base_url.rstrip('/')}/oauth2/tokenP"
        self._app_key = app_key
        self._app_secret = app_secret
        self._backoff_seconds = backoff_seconds
        self._wait_seconds = wait_seconds
        self._call = Call("kis", "token")
        account = hashlib.sha256(f"{base_url.rstrip('/')}|{app_key}".encode()).hexdigest()[:20]
        self._token_key = f"kis:token:{account}"
        self._lock_key = f"{self._token_key}:lock"
        self._backoff_key = f"{self._token_key}:backoff"
        self._delete_if_equal = redis.register_script(DELETE_IF_EQUAL)
        self._reported = ""

    async def token(self) -> str:
        """A token that is good for ten minutes more.

        Raises `Throttled` when none can be had within `wait_seconds`, `BadCredentials` when KIS refuses the keys,
        `Unreachable` when Redis is, and what `request_json` raises.
        """
        try:
            return await self._token()
        except RedisError as error:
            raise _no_redis(error) from None

    async def drop(self, refused: str) -> None:
        """Forget this token, unless another process has replaced it already."""
        try:
            await self._delete_if_equal(keys=[self._token_key], args=[refused])
        except RedisError as error:
            raise _no_redis(error) from None

    async def _token(self) -> str:
        clock = asyncio.get_running_loop()
        deadline = clock.time() + self._wait_seconds
        while True:
            if stored := await self._stored():
                await self._report(stored)
                return stored
            pause = await self._backoff_left()
            if pause > 0:
                if clock.time() + pause > deadline:
                    raise Throttled(f"{self._call}: KIS issues one token a minute; wait {pause:.0f} s", pause)
            else:
                if issued := await self._issue_alone():
                    return issued
                pause = POLL_SECONDS
                if clock.time() > deadline:
                    raise Throttled(
                        f"{self._call}: another process has been asking for {self._wait_seconds:g} s; "
                        "it is tried again at the next tick",
                        self._wait_seconds,
                    )
            await asyncio.sleep(pause)

    async def _issue_alone(self) -> str | None:
        """A new token, or None where another process holds the lock or KIS said that it is too soon."""
        nonce = uuid4().hex
        if not await self._redis.set(self._lock_key, nonce, nx=True, px=LOCK_MILLISECONDS):
            return None
        try:
            # the holder before us may have stored one, or been told to wait, since we looked
            if await self._backoff_left() > 0:
                return None
            return await self._stored() or await self._issue()
        except TokenTooSoon:
            await self._redis.set(self._backoff_key, "1", px=int(self._backoff_seconds * 1000))
            return None
        finally:
            await self._delete_if_equal(keys=[self._lock_key], args=[nonce])

    async def _issue(self) -> str:
        document = await request_json(
            self._session,
            self._call,
            "POST",
            self._url,
            judge=judge_token,
            body={"grant_type": "client_credentials", "appkey": self._app_key, "appsecret": self._app_secret},
        )
        token = parse_one(Token, document, self._call)
        left = (token.access_token_token_expired - datetime.now(UTC)).total_seconds()
        seconds = max(SHORTEST_SECONDS, int(left) - REFRESH_BEFORE_SECONDS)
        await self._redis.set(self._token_key, token.access_token, ex=seconds)
        self._reported = token.access_token
        credential_expiry.set(token.access_token_token_expired.timestamp(), EXPIRY_OF)
        return token.access_token

    async def _report(self, stored: str) -> None:
        """Export when a token ends that another process asked for, once per token."""
        if stored != self._reported:
            left = await self._redis.ttl(self._token_key)
            self._reported = stored
            credential_expiry.set(time.time() + left + REFRESH_BEFORE_SECONDS, EXPIRY_OF)

    async def _stored(self) -> str | None:
        value: bytes | str | None = await self._redis.get(self._token_key)
        return value.decode() if isinstance(value, bytes) else value

    async def _backoff_left(self) -> float:
        """Seconds until a token may be asked for; 0 or less when it may be now."""
        milliseconds: int = await self._redis.pttl(self._backoff_key)
        return milliseconds / 1000


def _no_redis(error: RedisError) -> Unreachable:
    return Unreachable(
        f"kis token: Redis, where the token is shared, does not answer ({type(error).__name__}); "
        "check REDIS_URL and that Redis runs"
    )
