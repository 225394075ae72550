"""Configuration, keys, the venues' addresses and this machine's clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import aiohttp

from doctor.findings import Finding, fault, ok, skipped, warning, why
from settings import MARKETS, Settings
from trading.risk import MAX_CLOCK_OFFSET
from trading.strategy import BadStrategy
from workers.clock import PROOF, ClockWatch

# of a worker's slots, for the guard and the resolver
KEPT_FREE = 2
# as WORKER_CONCURRENCY allows
MOST_SLOTS = 64
YAHOO = "https://query1.finance.yahoo.com"


def configuration(settings: Settings) -> list[Finding]:
    """The strategy file, and for each market where its orders go and whether the keys for that are there."""
    from tasks import strategies

    try:
        strategies.check(settings)
        found = [ok("settings", f"readable, mode {settings.trading_mode}")]
    except BadStrategy as error:
        found = [fault("settings", str(error))]
    for market in MARKETS:
        name = f"keys {market}"
        if not settings.symbols(market):
            found.append(skipped(name, f"{market.upper()}_SYMBOLS is empty"))
        elif market == "kis" and not (
            settings.kis_app_key.get_secret_value() and settings.kis_app_secret.get_secret_value()
        ):
            found.append(
                fault(name, "KIS_APP_KEY or KIS_APP_SECRET is missing, and quotes need both; set them, or KIS_SYMBOLS=")
            )
        elif settings.live(market):
            found.append(ok(name, "LIVE: orders go to the account of the keys, once the market is armed"))
        else:
            found.append(ok(name, "paper: no order key is needed"))
    return [*found, *_slots(settings)]


def _slots(settings: Settings) -> list[Finding]:
    """The markets whose sweep may take every slot of their worker, and what looks at stops and orders waits for one."""
    enough = settings.worker_concurrency - KEPT_FREE
    return [
        warning(
            f"worker {market}",
            f"a sweep of {count} symbols may take all {settings.worker_concurrency} slots, and stop-losses wait until "
            f"one is free; set WORKER_CONCURRENCY={min(count + KEPT_FREE, MOST_SLOTS)}",
        )
        for market in MARKETS
        if (count := len(settings.symbols(market))) > enough and settings.worker_concurrency < MOST_SLOTS
    ]


async def venues(settings: Settings, session: aiohttp.ClientSession) -> list[Finding]:
    """That the venues' hosts answer at all, and what their replies say of this machine's clock."""
    addresses = {
        "upbit": (settings.upbit_base_url, "UPBIT_BASE_URL"),
        "kis": (settings.kis_base_url, "KIS_BASE_URL"),
        "yfinance": (settings.yahoo_base_url or YAHOO, "YAHOO_BASE_URL"),
    }
    watch, dated = ClockWatch(), False
    found = []
    for market, (url, setting) in addresses.items():
        if not settings.symbols(market):
            continue
        try:
            for _ in range(PROOF):
                sent = datetime.now(UTC)
                # whatever it answers: that it does is what counts, and it is dated
                async with session.get(url, allow_redirects=False) as response:
                    watch.hear(market, response.headers, sent, datetime.now(UTC))
                    dated |= "Date" in response.headers
            found.append(ok(f"venue {market}", "answers"))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            found.append(fault(f"venue {market}", why(error, setting)))
    if not dated:
        return [*found, skipped("clock", "no venue dated its replies")]
    # not proven to be off is as good as right
    return [*found, _clock(watch.offset(datetime.now(UTC)) or timedelta(0))]


def _clock(offset: timedelta) -> Finding:
    seconds = offset.total_seconds()
    if abs(offset) > MAX_CLOCK_OFFSET:
        way = "behind" if seconds > 0 else "ahead of"
        return fault("clock", f"is {abs(seconds):.1f} s {way} the venues'; correct it: timedatectl set-ntp true")
    return ok("clock", f"within {MAX_CLOCK_OFFSET.total_seconds():g} s of the venues'")
