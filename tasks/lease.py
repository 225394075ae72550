"""A lease on one symbol, so that two runs of it never overlap, whichever processes they are in.

The lease is short and renewed while its holder lives: one left by a killed worker is free after
`LEASE_SECONDS`, long before its message is delivered again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import AsyncIterator

from redis.asyncio import Redis
from redis.exceptions import RedisError

from storage.redis import release

log = logging.getLogger(__name__)

LEASES = "autotrader:lease"
LEASE_SECONDS = 15.0
RENEW_SECONDS = 5.0
# How long a second run waits for the first before it gives up.
WAIT_SECONDS = LEASE_SECONDS + 5.0
POLL_SECONDS = 0.25

_RENEW = "if redis.call('GET',KEYS[1])==ARGV[1] then return redis.call('PEXPIRE',KEYS[1],ARGV[2]) end return 0"


class LeaseLost(Exception):
    """Another run holds the symbol now, so this one must not go on."""


@contextlib.asynccontextmanager
async def symbol_lease(
    redis: Redis,
    market: str,
    symbol: str,
    *,
    wait: float = WAIT_SECONDS,
    poll: float = POLL_SECONDS,
    within: str = LEASES,
) -> AsyncIterator[bool]:
    """Hold (market, symbol) inside the block. Yields False if another one kept it for `wait` seconds, asked every
    `poll` seconds. A lease of other leases than `within` is another one.

    Raises `LeaseLost` in the block's task if the lease cannot be renewed in time.
    """
    key, token = f"{within}:{market}:{symbol}", uuid.uuid4().hex
    if not await _acquire(redis, key, token, wait, poll):
        yield False
        return
    holder = asyncio.current_task()
    assert holder is not None
    lost = asyncio.Event()
    renewal = asyncio.create_task(_renew(redis, key, token, holder, lost))
    try:
        yield True
    except asyncio.CancelledError:
        if lost.is_set():
            # that was ours, and what comes after must not take it for somebody else's
            holder.uncancel()
            raise LeaseLost(f"the lease on {market} {symbol} was lost; another run may hold it") from None
        raise
    finally:
        renewal.cancel()
        try:
            await release(redis, key, token)
        except RedisError as error:
            log.warning("the lease on %s %s was not released (%s); it ends by itself", market, symbol, error)


async def _acquire(redis: Redis, key: str, token: str, wait: float, poll: float) -> bool:
    waited = 0.0
    while not await redis.set(key, token, nx=True, px=int(LEASE_SECONDS * 1000)):
        if waited >= wait:
            return False
        await asyncio.sleep(poll)
        waited += poll
    return True


async def _renew(redis: Redis, key: str, token: str, holder: asyncio.Task[object], lost: asyncio.Event) -> None:
    """Renew the lease until it is lost; `holder` is then cancelled, also where this ends by an error of its own."""
    this = asyncio.current_task()
    assert this is not None
    renewed = time.monotonic()
    held = True
    try:
        while held:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                held = bool(await redis.eval(_RENEW, 1, key, token, int(LEASE_SECONDS * 1000)))
            except RedisError:
                # a blip is survived as long as the lease cannot have ended
                held = time.monotonic() - renewed < LEASE_SECONDS - RENEW_SECONDS
            else:
                renewed = time.monotonic()
    finally:
        # where this was cancelled, the block has ended, or the process ends
        if not this.cancelling():
            lost.set()
            holder.cancel()
