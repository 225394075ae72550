"""Which symbol is meant: by itself, by its ticker alone, or by its name, such as 비트코인 or 삼성전자."""

from __future__ import annotations

import asyncio
import re
import time
import unicodedata
from collections.abc import Mapping
from difflib import get_close_matches

from redis.exceptions import RedisError
from sqlalchemy.ext.asyncio import AsyncEngine

from api.errors import ApiError, Candidate
from settings import Settings
from storage.reading import known_symbols
from workers.dated import load
from workers.errors import VenueError
from workers.http import VenueHttp
from workers.upbit.client import UpbitClient

# how a symbol of each market is written
FORMS: Mapping[str, re.Pattern[str]] = {
    "upbit": re.compile(r"KRW-[A-Z0-9]{1,20}"),
    "kis": re.compile(r"[0-9][0-9A-Z]{5}"),
    "yfinance": re.compile(r"[A-Z][A-Z0-9.\-]{0,9}"),
}
EXAMPLES = {"upbit": "KRW-BTC", "kis": "005930", "yfinance": "AAPL"}

LISTING_SECONDS = 24 * 3600.0
# a name that is not listed may have been listed since, but is more often a mistake
RECHECK_SECONDS = 60.0
CANDIDATES = 5


class Symbols:
    """Finds symbols among the enabled ones, those analysed before, and what the venue lists.

    Upbit names all its markets. Of Korean stocks the names of `workers/kis/names.json` are known, of US stocks none;
    of those two markets every symbol of the right form is taken, and the worker finds out whether it is listed.
    """

    def __init__(self, settings: Settings, engine: AsyncEngine, http: VenueHttp) -> None:
        self._settings = settings
        self._engine = engine
        self._upbit = UpbitClient(http, settings.upbit_base_url)
        self._stocks: dict[str, str] = load("workers.kis", "names.json")["names"]
        self._listed: dict[str, str] = {}
        self._listed_at = float("-inf")
        self._asking = asyncio.Lock()

    async def find(self, market: str, text: str) -> str:
        """The symbol of `market` that `text` means. Raises `ApiError` with what may have been meant."""
        wanted = _plain(text)
        names = {symbol: symbol for symbol in self._settings.symbols(market)}
        # for these nobody has to be asked
        if symbol := _named(names, wanted):
            return symbol
        names |= {symbol: symbol for symbol in await known_symbols(self._engine, market)}
        if symbol := _named(names, wanted):
            return symbol
        names |= await self._names(market, wanted)
        if symbol := _named(names, wanted):
            return symbol
        if market != "upbit" and FORMS[market].fullmatch(wanted.upper()):
            return wanted.upper()
        raise _unknown(market, text, wanted, names)

    async def find_to_halt(self, market: str, text: str) -> str:
        """The same, but a symbol of the right form is taken where the venue cannot be asked: a halt must not wait."""
        try:
            return await self.find(market, text)
        except (VenueError, RedisError, OSError):
            symbol = _plain(text).upper()
            if FORMS[market].fullmatch(symbol):
                return symbol
            raise

    async def _names(self, market: str, wanted: str) -> Mapping[str, str]:
        """Names by symbol. Raises a `VenueError`."""
        if market == "kis":
            return self._stocks
        if market != "upbit":
            return {}
        async with self._asking:
            age = time.monotonic() - self._listed_at
            if age > LISTING_SECONDS or (age > RECHECK_SECONDS and _named(self._listed, wanted) is None):
                rows = await self._upbit.market_all()
                self._listed = {row.market: row.korean_name for row in rows if FORMS["upbit"].fullmatch(row.market)}
                self._listed_at = time.monotonic()
        return self._listed


def _named(names: Mapping[str, str], wanted: str) -> str | None:
    """The symbol that is written like `wanted`, with or without its KRW-, or is named like it."""
    for symbol, name in names.items():
        if wanted in {symbol.casefold(), symbol.removeprefix("KRW-").casefold(), _plain(name)}:
            return symbol
    return None


def _plain(text: str) -> str:
    """A name without what people write differently: composition, case and spaces."""
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())


def _unknown(market: str, text: str, wanted: str, names: Mapping[str, str]) -> ApiError:
    written: dict[str, str] = {}
    for symbol, name in names.items():
        written.setdefault(_plain(name), symbol)
        written.setdefault(_plain(symbol.removeprefix("KRW-")), symbol)
    near = [key for key in written if wanted and (wanted in key or key in wanted)]
    near += get_close_matches(wanted, written, n=CANDIDATES, cutoff=0.4)
    symbols = list(dict.fromkeys(written[key] for key in near))[:CANDIDATES]
    return ApiError(
        404,
        "not_found",
        f"{market} has no symbol {text[:40]}",
        f"take one of the candidates, or write the symbol as {EXAMPLES[market]}",
        candidates=[Candidate(symbol=symbol, name=names[symbol]) for symbol in symbols],
    )
