"""What an analysis saw of its symbol last, in Redis: its name and its daily candles, for whoever shows them.

A decoration like the pictures of messages: it may be gone at any time, and neither who writes it nor who reads it waits
long for it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from redis.asyncio import Redis
from redis.exceptions import RedisError

from trading.types import Candle, Instrument

log = logging.getLogger(__name__)

CANDLES_KEY = "autotrader:candles:{market}:{symbol}"
NAMES_KEY = "autotrader:names:{market}"
CANDLES_KEPT = 90
# a symbol that was not analysed for so long has no chart worth showing
TTL_SECONDS = 14 * 86_400
PATIENCE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Sighting:
    """The daily candles of a symbol as its last analysis saw them, oldest first; prices in `currency`."""

    currency: str
    candles: tuple[Candle, ...]


async def keep(redis: Redis, instrument: Instrument, candles: Sequence[Candle]) -> None:
    """Keep the name and the last candles of a symbol for two weeks. Never raises for Redis."""
    rows = [
        [int(one.time.timestamp()), *(f"{value:f}" for value in (one.open, one.high, one.low, one.close, one.volume))]
        for one in candles[-CANDLES_KEPT:]
    ]
    names = NAMES_KEY.format(market=instrument.market)
    key = CANDLES_KEY.format(market=instrument.market, symbol=instrument.symbol)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS), redis.pipeline(transaction=False) as pipe:
            pipe.set(key, json.dumps([instrument.currency, rows]), ex=TTL_SECONDS)
            pipe.hset(names, instrument.symbol, instrument.name)
            pipe.expire(names, TTL_SECONDS)
            await pipe.execute()
    except (RedisError, OSError, TimeoutError) as error:
        log.warning("the candles of %s are not kept for its page: %s", instrument.symbol, type(error).__name__)


async def candles_of(redis: Redis, symbols: Iterable[tuple[str, str]]) -> Mapping[tuple[str, str], Sighting]:
    """The sightings there are by (market, symbol), by one call; none while Redis does not answer."""
    wanted = list(dict.fromkeys(symbols))
    if not wanted:
        return {}
    keys = [CANDLES_KEY.format(market=market, symbol=symbol) for market, symbol in wanted]
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            found = await redis.mget(keys)
    except (RedisError, OSError, TimeoutError):
        return {}
    read = {name: _read(text) for name, text in zip(wanted, found, strict=True) if isinstance(text, str)}
    return {name: sighting for name, sighting in read.items() if sighting is not None}


async def names_of(redis: Redis, symbols: Iterable[tuple[str, str]]) -> Mapping[tuple[str, str], str]:
    """The names that are known by (market, symbol), by one call; none while Redis does not answer."""
    wanted: dict[str, list[str]] = {}
    for market, symbol in dict.fromkeys(symbols):
        wanted.setdefault(market, []).append(symbol)
    if not wanted:
        return {}
    try:
        async with asyncio.timeout(PATIENCE_SECONDS), redis.pipeline(transaction=False) as pipe:
            for market, listed in wanted.items():
                pipe.hmget(NAMES_KEY.format(market=market), listed)
            found: Sequence[Sequence[str | None]] = await pipe.execute()
    except (RedisError, OSError, TimeoutError):
        return {}
    pairs = (
        (market, zip(listed, names, strict=True)) for (market, listed), names in zip(wanted.items(), found, strict=True)
    )
    return {(market, symbol): name for market, named in pairs for symbol, name in named if name}


def _read(text: str) -> Sighting | None:
    """What was kept; None for what another version wrote."""
    try:
        currency, rows = json.loads(text)
        candles = [
            Candle(datetime.fromtimestamp(at, UTC), *(Decimal(value) for value in values)) for at, *values in rows
        ]
    except (ValueError, TypeError, InvalidOperation):
        return None
    return Sighting(str(currency), tuple(candles))
