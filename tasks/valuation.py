"""What positions are valued at: the price of the newest analysis, and where that has grown old, a quote of now.

An analysis that fails, or a symbol that left the settings while it is held, leaves its last price standing still: a
position that falls would cost the account nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache

from sqlalchemy.ext.asyncio import AsyncEngine

from beat.sessions import is_open
from settings import Settings
from storage import analyses
from storage.analyses import LastPrice
from workers.errors import BadReply, TimedOut
from workers.ports import MarketData
from workers.runtime import Runtime

log = logging.getLogger(__name__)

# between two sweeps no price is old, and after a missed one it is, whatever their jitter
GOOD_FOR_SWEEPS = 1.5
# however short the sweeps are: some sources are late by a quarter of an hour
GOOD_FOR_AT_LEAST = timedelta(minutes=20)
# what was quoted, or could not be, so recently is not asked for again by each symbol of a sweep
REMEMBERED = timedelta(seconds=60)
# of all quotes together: whoever asks holds the lease of a symbol, or has a cancelled task's last seconds
PATIENCE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Asked:
    """When a quote was asked for last, by the rules' clock, whether it failed, and what the symbol then counted at."""

    at: datetime
    failed: bool
    last: LastPrice


@dataclass(frozen=True, slots=True)
class Valuation:
    """The price of each symbol that has one. Those in `errors`, with what their quote raised, have an old one."""

    prices: dict[str, Decimal]
    errors: dict[str, Exception]


async def last_known(runtime: Runtime, market: str, held: Iterable[str]) -> dict[str, Decimal]:
    """The best prices there are for what is held, in the market's currency: an old one where no quote can be had, which
    is logged. Never raises what a quote raises, and does not ask again for what could not be quoted just now."""
    return (await value_now(runtime, market, held, again=False)).prices


async def value_now(runtime: Runtime, market: str, held: Iterable[str], *, again: bool = True) -> Valuation:
    """The prices of what is held, in the market's currency, with what was raised in place of a quote. With `again`,
    also what could not be quoted just now is asked for."""
    known = await analyses.newest_prices(runtime.engine, market)
    now, asked = runtime.now(), _asked(runtime.engine)
    latest = now - good_for(runtime.settings, market)
    # while a market is closed its last price is the right one
    is_trading = runtime.settings.ignore_market_hours or is_open(market, now).open
    wanted = []
    for symbol in held:
        if symbol not in known or known[symbol].at >= latest:
            continue
        before = asked.get((market, symbol))
        if is_trading and (before is None or abs(now - before.at) >= REMEMBERED or (before.failed and again)):
            wanted.append(symbol)
        if before is not None and before.last.at > known[symbol].at:
            # not back to the price of the analysis where there is no quote: that would be a loss, or a gain, of its own
            known[symbol] = before.last
    if not wanted:
        return Valuation(_prices(known), {})
    client = await runtime.market(market)
    async with asyncio.TaskGroup() as group:
        quoting = {symbol: group.create_task(_quote(client, symbol)) for symbol in wanted}
    errors: dict[str, Exception] = {}
    for symbol, task in quoting.items():
        found, last = task.result(), known[symbol]
        if isinstance(found, Exception):
            errors[symbol] = found
            log.warning("%s: counted at %s of %s: %s", symbol, last.price, last.at.isoformat(timespec="seconds"), found)
        else:
            last = known[symbol] = LastPrice(found, now)
        asked[market, symbol] = Asked(now, isinstance(found, Exception), last)
    return Valuation(_prices(known), errors)


def _prices(known: Mapping[str, LastPrice]) -> dict[str, Decimal]:
    return {symbol: last.price for symbol, last in known.items()}


def good_for(settings: Settings, market: str) -> timedelta:
    """How long the price of an analysis stands for that of now."""
    return max(GOOD_FOR_AT_LEAST, GOOD_FOR_SWEEPS * timedelta(minutes=settings.sweep_minutes(market)))


async def _quote(client: MarketData, symbol: str) -> Decimal | Exception:
    """The price of now, or why there is none."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            price = (await client.quote(symbol)).price
        if not price.is_finite() or price <= 0:
            raise BadReply(f"{client.market} {symbol}: the last price of its quote is {price}; wait for the next one")
    except TimeoutError:
        return TimedOut(
            f"{client.market} {symbol}: no quote within {PATIENCE_SECONDS:g} s, so what is held of it counts at its "
            "last known price; look at the venue and at why its analyses fail"
        )
    except Exception as error:  # noqa: BLE001 - handed to who asked: no other symbol's order waits for this one's quote
        return error
    return price


@lru_cache(maxsize=8)
def _asked(engine: AsyncEngine) -> dict[tuple[str, str], Asked]:
    """What was asked for lately, by market and symbol: of the world whose database this is."""
    return {}
