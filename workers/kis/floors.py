"""The lowest price of the day of a stock: the Korea Exchange refuses whatever is ordered below it.

An exit asks for the best bid less a margin. On a day on which a stock falls by nearly 30 % that lies below the lowest
price, and each attempt would be refused though buyers are there; at the lowest price it sells to the same buyers.

The price comes with every quote, and is shared through Redis by those who quote and those who order. An order whose
number is not known is found by its price, so what was sent instead of the intent's is written down before it is sent.
"""

from __future__ import annotations

import asyncio
import logging
from decimal import Decimal

from opentelemetry.instrumentation.utils import suppress_instrumentation
from redis.asyncio import Redis
from redis.exceptions import RedisError

from trading.types import OrderIntent, Quote, Side, TimeInForce
from workers.errors import Unreachable

log = logging.getLogger(__name__)

FLOOR_KEY = "kis:floor:{symbol}"
RAISED_KEY = "kis:raised:{client_order_id}"
# an order is sent within seconds of its quote; a floor of another day is never used
FLOOR_SECONDS = 600
# what is sent is proven, or found to be nothing, long before
RAISED_SECONDS = 14 * 86_400
# nobody who leaves a position waits longer for this
REDIS_SECONDS = 1.0


class DayFloors:
    """The lowest prices, and the orders that were sent at one. `redis` stays the caller's."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def keep(self, symbol: str, lowest: Decimal | None) -> None:
        """Note the lowest price of today in KRW; nothing without one. A Redis that is away is no error."""
        if lowest is None or not lowest.is_finite() or lowest <= 0:
            return
        try:
            await self._set(FLOOR_KEY.format(symbol=symbol), f"{lowest:f}", FLOOR_SECONDS)
        except (RedisError, OSError, TimeoutError) as error:
            log.info("kis %s: the lowest price of the day is not noted (%s)", symbol, type(error).__name__)

    async def price_to_send(self, intent: OrderIntent, quote: Quote) -> Decimal:
        """The intent's price; of an immediate sale the lowest price of the day where that is higher, but no more than
        the best bid. Where it is not known, or cannot be written down, it is the intent's."""
        if not _leaves_at_once(intent) or intent.price >= quote.bid:
            return intent.price
        try:
            lowest = await self._get(FLOOR_KEY.format(symbol=intent.symbol))
            if lowest is None or not intent.price < lowest <= quote.bid:
                return intent.price
            await self._set(_raised_key(intent), f"{lowest:f}", RAISED_SECONDS)
        except (RedisError, OSError, TimeoutError) as error:
            log.warning(
                "kis %s: the lowest price of the day is not known (%s): the order is sent at %s, and refused below it",
                intent.symbol,
                type(error).__name__,
                intent.price,
            )
            return intent.price
        log.info("kis %s: sent at the lowest price of the day, %s, not at %s", intent.symbol, lowest, intent.price)
        return lowest

    async def raised_price(self, intent: OrderIntent) -> Decimal | None:
        """What the order may have been sent at in place of its price, None where it was not. Raises `Unreachable`
        where Redis does not answer: without it a look for the order proves nothing."""
        if not _leaves_at_once(intent):
            return None
        try:
            return await self._get(_raised_key(intent))
        except (RedisError, OSError, TimeoutError) as error:
            raise Unreachable(
                f"kis {intent.symbol}: Redis, where the price that was sent is kept, does not answer "
                f"({type(error).__name__}); check REDIS_URL and that Redis runs"
            ) from None

    async def _get(self, key: str) -> Decimal | None:
        with suppress_instrumentation():
            async with asyncio.timeout(REDIS_SECONDS):
                value: bytes | str | None = await self._redis.get(key)
        return None if value is None else Decimal(value.decode() if isinstance(value, bytes) else value)

    async def _set(self, key: str, value: str, seconds: int) -> None:
        with suppress_instrumentation():
            async with asyncio.timeout(REDIS_SECONDS):
                await self._redis.set(key, value, ex=seconds)


def _leaves_at_once(intent: OrderIntent) -> bool:
    return intent.side is Side.SELL and intent.time_in_force is TimeInForce.IOC


def _raised_key(intent: OrderIntent) -> str:
    return RAISED_KEY.format(client_order_id=intent.client_order_id)
