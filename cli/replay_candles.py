"""Where the candles of a replay come from: recorded files, the venue itself, or a seeded random walk."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from replay.errors import BadReplay
from replay.series import Series
from replay.terms import session
from settings import Settings
from trading.indicators import MINIMUM_ROWS

# a year, where no first day is given
DEFAULT_DAYS = 365
# stock exchanges are closed on about 3 days of 10; more is asked for than can be needed
SPARE_DAYS = 40


def recorded(folder: Path, market: str, symbols: Sequence[str]) -> dict[str, Series]:
    """The candles of `folder`, of `symbols` or of all there are. Raises `BadReplay`."""
    from sandbox.candles import CandleFault, read_candles

    if not folder.is_dir():
        raise BadReplay(f"--candles {folder}: no such folder: give one with {market}/SYMBOL.1d.csv files in it")
    there = sorted(path.name.removesuffix(".1d.csv") for path in (folder / market).glob("*.1d.csv"))
    if not there:
        raise BadReplay(f"--candles {folder}: there is no {market}/SYMBOL.1d.csv in it")
    found = {}
    for symbol in symbols or there:
        daily, hourly = (folder / market / f"{symbol}.{unit}.csv" for unit in ("1d", "60m"))
        if symbol not in there:
            raise BadReplay(f"{symbol} has no candles: {daily} does not exist; there are {', '.join(there)}")
        try:
            hours = read_candles(hourly, "60m") if hourly.is_file() else ()
            found[symbol] = Series(read_candles(daily, "1d"), hours)
        except CandleFault as error:
            raise BadReplay(str(error)) from None
    return found


def simulated(market: str, symbols: Sequence[str], seed: int, until: date | None) -> dict[str, Series]:
    """400 invented days that end on `until`, or today, the same for the same seed and day. Raises `BadReplay`."""
    from sandbox.simulated import simulated_book

    end = until or datetime.now(UTC).date()
    book = simulated_book(seed, clock=lambda: datetime(end.year, end.month, end.day, 23, 59, tzinfo=UTC))
    there = book.symbols(market)
    for symbol in symbols:
        if symbol not in there:
            raise BadReplay(f"{symbol} is not simulated: use some of {', '.join(there)}")
    return {
        symbol: Series(tuple(book.daily(market, symbol)), tuple(book.minutes(market, symbol, 60)))
        for symbol in symbols or there
    }


async def of_venue(settings: Settings, market: str, symbols: Sequence[str], start: date | None) -> dict[str, Series]:
    """The venue's own daily candles that are closed, within the limits that all processes share, from `start` or for a
    year, and those that the indicators need before. Raises `BadReplay`."""
    from storage.redis import open_redis
    from workers.errors import VenueError
    from workers.http import open_session
    from workers.limits import Limiter
    from workers.markets import open_market

    now = datetime.now(UTC)
    days = (now.date() - start).days if start else DEFAULT_DAYS
    redis = open_redis(settings.redis_url)
    http = open_session(settings.http_timeout_seconds, limiter=Limiter(redis))
    try:
        client = open_market(market, session=http, redis=redis, settings=settings)
        found = {}
        for symbol in symbols:
            candles = await client.candles(symbol, max(days, 1) + MINIMUM_ROWS + SPARE_DAYS)
            found[symbol] = Series(tuple(one for one in candles if session(market, one.time.date())[1] <= now))
        await client.close()
    except VenueError as error:
        raise BadReplay(f"{error}; or give recorded candles with --candles, or --simulated ones") from None
    finally:
        await http.close()
        await redis.aclose()
    return found
