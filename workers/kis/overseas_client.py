"""The quotation calls of KIS for US stocks, and which exchange lists a symbol."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import date

from workers.calls import Call, start_counting
from workers.errors import BadReply, UnknownSymbol
from workers.kis.overseas_calls import KisCalls, part_of
from workers.kis.overseas_wire import UsBook, UsBookTime, UsDailyRow, UsMinuteRow, UsPrice, listed
from workers.wire import parse_list, parse_one

SERVICE = "kis"
OPERATIONS = ("us_price", "us_asking_price", "us_daily", "us_minutes")
TICKER = re.compile(r"[A-Z][A-Z0-9.\-]{0,9}")
DAILY_PAGE_ROWS = 100
MINUTE_PAGE_ROWS = 120
FOUND_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Exchange:
    """One exchange: its code in quotations (EXCD) and in orders (OVRS_EXCG_CD)."""

    quotes: str
    orders: str


EXCHANGES = (Exchange("NAS", "NASD"), Exchange("NYS", "NYSE"), Exchange("AMS", "AMEX"))


def kis_symbol(symbol: str) -> str:
    """The symbol as KIS writes it: a class of shares after a slash (BRK/B), where Yahoo has a hyphen."""
    return symbol.replace("-", "/")


def our_symbol(symbol: str) -> str:
    """The symbol as the settings write it."""
    return symbol.replace("/", "-")


class KisOverseasClient:
    """One method per call; every method is one HTTP request, two where the token had ended."""

    def __init__(self, calls: KisCalls) -> None:
        self.calls = calls
        self._found: dict[str, tuple[float, Exchange]] = {}
        start_counting(SERVICE, OPERATIONS)

    async def price(self, exchange: Exchange, symbol: str) -> UsPrice:
        """The last price in USD, None where this exchange does not list the symbol."""
        call = Call(SERVICE, "us_price", symbol)
        document = await self.calls.read(call, _about(exchange, symbol))
        return parse_one(UsPrice, part_of(document, "output", call), call)

    async def book(self, exchange: Exchange, symbol: str) -> tuple[UsBookTime, UsBook]:
        """The best bid and ask in USD and when they stood so. Raises `NotOffered` in mock trading."""
        call = Call(SERVICE, "us_asking_price", symbol)
        document = await self.calls.read(call, _about(exchange, symbol))
        levels = part_of(document, "output2", call)
        levels = levels[0] if isinstance(levels, list) and levels else levels
        return parse_one(UsBookTime, part_of(document, "output1", call), call), parse_one(UsBook, levels, call)

    async def daily(self, exchange: Exchange, symbol: str, until: date) -> list[UsDailyRow]:
        """The last 100 sessions up to `until`, newest first; prices adjusted for splits."""
        call = Call(SERVICE, "us_daily", symbol)
        params = {**_about(exchange, symbol), "GUBN": "0", "BYMD": f"{until:%Y%m%d}", "MODP": "1"}
        document = await self.calls.read(call, params)
        return parse_list(UsDailyRow, listed(part_of(document, "output2", call), "xymd"), call)

    async def minutes(self, exchange: Exchange, symbol: str, unit: int, until: str) -> list[UsMinuteRow]:
        """The last 120 candles of `unit` minutes, newest first, of all hours that are traded; `until` "" is now, else
        the newest wanted in New York, as YYYYMMDDhhmmss. Raises `NotOffered` in mock trading."""
        call = Call(SERVICE, "us_minutes", symbol)
        params = {
            **_about(exchange, symbol), "NMIN": str(unit), "PINC": "1", "NEXT": "1" if until else "",
            "NREC": str(MINUTE_PAGE_ROWS), "FILL": "", "KEYB": until,
        }  # fmt: skip
        document = await self.calls.read(call, params)
        return parse_list(UsMinuteRow, listed(part_of(document, "output2", call), "xymd"), call)

    async def exchange_of(self, symbol: str) -> Exchange:
        """The one exchange that has a price of the symbol; found by asking all three, and kept for a day.

        Raises `UnknownSymbol` where none has, and `BadReply` where two have: an order would go to a guess.
        """
        if not TICKER.fullmatch(symbol):
            raise UnknownSymbol(f"kis {symbol[:32]}: no US ticker, such as AAPL or BRK-B; correct YFINANCE_SYMBOLS")
        at, known = self._found.get(symbol, (float("-inf"), EXCHANGES[0]))
        if time.monotonic() - at < FOUND_SECONDS:
            return known
        found = [exchange for exchange in EXCHANGES if await self._lists(exchange, symbol)]
        if not found:
            raise UnknownSymbol(f"kis us_price {symbol}: no US exchange lists it; correct YFINANCE_SYMBOLS")
        if len(found) > 1:
            names = ", ".join(exchange.orders for exchange in found)
            raise BadReply(f"kis us_price {symbol}: {names} have a price of it each; which one is it? see KIS's app")
        self._found[symbol] = (time.monotonic(), found[0])
        return found[0]

    async def _lists(self, exchange: Exchange, symbol: str) -> bool:
        try:
            return bool((await self.price(exchange, symbol)).last)
        except UnknownSymbol:
            return False


def _about(exchange: Exchange, symbol: str) -> dict[str, str]:
    return {"AUTH": "", "EXCD": exchange.quotes, "SYMB": kis_symbol(symbol)}
