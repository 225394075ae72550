"""yfinance, held to one chart request per call: no look-up of time zones, no hidden errors, no shared cache.

Import this in a thread of the worker that needs it: yfinance takes half a second and 90 MB. Everything here blocks.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any

import pandas as pd
import yfinance as yf
from curl_cffi.requests.exceptions import RequestException
from opentelemetry.trace import TracerProvider
from yfinance import cache
from yfinance.data import YfData
from yfinance.exceptions import YFException

from workers.calls import ERROR_STATUS, Call, bad_status
from workers.errors import BadReply, VenueError
from workers.limits import BlockingGate
from workers.yfinance.errors import no_data, translate
from workers.yfinance.session import CHART, QUOTE, QUOTE_PATH, SERVICE, YahooSession

NEW_YORK = "America/New_York"
META = (
    "currency",
    "longName",
    "shortName",
    "regularMarketPrice",
    "regularMarketTime",
    "fiftyTwoWeekHigh",
    "fiftyTwoWeekLow",
)
QUOTE_URL = f"https://query1.finance.yahoo.com{QUOTE_PATH}"

# How yfinance fails: its own errors, curl's, and what it trips over in a reply that it does not check.
# RuntimeError is what pandas and the decoder of JSON raise for times out of range and for depth.
FAILURES = (
    VenueError,
    YFException,
    RequestException,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
)


@dataclass(frozen=True, slots=True)
class Chart:
    """`rows` indexed by aware time, oldest first, NaN kept; `meta` is what Yahoo sends of `META` beside the rows."""

    rows: pd.DataFrame
    meta: Mapping[str, Any]


class YahooClient:
    """Charts of one Yahoo, or of what stands in for it. Threads may share it."""

    def __init__(
        self,
        origin: str,
        timeout_seconds: float,
        *,
        gate: BlockingGate | None = None,
        tracer_provider: TracerProvider | None = None,
    ) -> None:
        _set_up()
        self._timeout = timeout_seconds
        self._session = YahooSession(origin, timeout_seconds, gate=gate, tracer_provider=tracer_provider)
        self._zoned: set[str] = set()
        self._zoning = Lock()

    def chart(self, symbol: str, period: str, interval: str) -> Chart:
        """Prices as traded (adjusted for splits only) over `period` (Yahoo's `5d`, `1mo`, `1y`).

        Raises `NoData`, never returns an empty frame; `UnknownSymbol`, `Throttled`, `TimedOut`, `Unreachable` and
        `BadReply` as their names say.
        """
        call = Call(SERVICE, CHART, symbol)
        self._set_zone(symbol)
        try:
            with self._session.operation():
                ticker = yf.Ticker(symbol, session=self._session)
                rows = ticker.history(
                    period=period,
                    interval=interval,
                    auto_adjust=False,
                    actions=False,
                    # it would drop rows without prices, and with them the sign that something is wrong
                    keepna=True,
                    timeout=self._timeout,
                )
                known = ticker.get_history_metadata()
                # not all of it: to look at its trading periods is to make yfinance ask for them
                meta = {name: known[name] for name in META if name in known}
        except FAILURES as error:
            raise translate(error, call, self._timeout) from None
        if rows.empty:
            raise no_data(call)
        if rows.index.hasnans:
            raise BadReply(f"{call}: answered a candle without a time; it is tried again at the next tick")
        return Chart(rows, meta)

    def company(self, symbol: str) -> Mapping[str, Any]:
        """What Yahoo's quote tells of the company, by Yahoo's names, as one request. Raises as `chart` does."""
        call = Call(SERVICE, QUOTE, symbol)
        try:
            with self._session.operation():
                params = {"symbols": symbol, "formatted": "false"}
                response = YfData(session=self._session).get(QUOTE_URL, params=params, timeout=self._timeout)
            if response.status_code >= ERROR_STATUS:
                raise bad_status(call, response.status_code)
            rows = response.json()["quoteResponse"]["result"]
            found = [row for row in rows if row["symbol"] == symbol]
        except FAILURES as error:
            raise translate(error, call, self._timeout) from None
        if not found:
            raise BadReply(f"{call}: answered no row of it")
        return dict(found[0])

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _set_zone(self, symbol: str) -> None:
        """Tell yfinance the zone, for which it would make a request of its own per symbol (and keep its failure)."""
        with self._zoning:
            if symbol not in self._zoned:
                cache.get_tz_cache().store(symbol, NEW_YORK)
                self._zoned.add(symbol)


@lru_cache(maxsize=1)
def _set_up() -> tempfile.TemporaryDirectory[str]:
    """Configure yfinance once per process; the directory of its caches lives as long as the process."""
    yf.config.debug.hide_exceptions = False
    yf.config.network.retries = 0
    # for what it does with pandas, which we cannot change
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"yfinance\.")
    # two processes on one sqlite file lock each other out
    directory = tempfile.TemporaryDirectory(prefix="autotrader-yfinance-", ignore_cleanup_errors=True)
    cache.set_cache_location(directory.name)
    return directory
