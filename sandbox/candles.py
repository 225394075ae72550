"""The candles the sandbox serves, recorded or simulated, moved in time so that their last day is today (UTC).

Prices and volumes are served exactly as they were read; only times move, and only by whole days.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from itertools import groupby
from pathlib import Path

from trading.types import Candle

MARKETS = ("upbit", "kis", "yfinance")
COLUMNS = ["time", "open", "high", "low", "close", "volume"]
# fewer rows than this carry no indicator worth serving
MINIMUM_ROWS = {"1d": 30, "60m": 1}
# how far back hours are split into minutes
MINUTE_DAYS = 4

_FILE_NAME = re.compile(r"^(?P<symbol>[A-Za-z0-9.^=-]+)\.(?P<unit>1d|60m)\.csv$")
_EXPECTED_NAMES = "name candle files SYMBOL.1d.csv or SYMBOL.60m.csv"

Minutes = Callable[[str, str, Sequence[Candle]], list[Candle]]


class CandleFault(Exception):
    """Candles that cannot be served; the message names the file, the row and the cure."""


@dataclass(frozen=True, slots=True)
class Series:
    """One symbol's candles, oldest first: by day and, where there are any, by hour."""

    daily: tuple[Candle, ...]
    hourly: tuple[Candle, ...] = ()


def utc_now() -> datetime:
    return datetime.now(UTC)


class CandleBook:
    """Every symbol's candles, as of now.

    `minutes` splits one market's hourly candles into minutes; without it (recorded candles) there are no
    candles below 60 minutes. `source` is "recorded" or "simulated".
    """

    def __init__(
        self,
        series: Mapping[tuple[str, str], Series],
        source: str,
        minutes: Minutes | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.source = source
        self.now = clock
        self._series = dict(series)
        self._minutes = minutes
        self._day: date | None = None
        self._moved: dict[tuple[str, str, str], list[Candle]] = {}

    def symbols(self, market: str) -> list[str]:
        """The symbols served for a market, sorted."""
        return sorted(symbol for owner, symbol in self._series if owner == market)

    def has(self, market: str, symbol: str) -> bool:
        return (market, symbol) in self._series

    def daily(self, market: str, symbol: str) -> list[Candle]:
        """Daily candles, oldest first, the last one starting today at 00:00 UTC."""
        return self._today((market, symbol, "1d"), lambda: self._series[market, symbol].daily)

    def price(self, market: str, symbol: str) -> Decimal:
        """The last trade: the close of the last daily candle, in the market's currency."""
        return self._series[market, symbol].daily[-1].close

    def minutes(self, market: str, symbol: str, unit: int) -> list[Candle]:
        """Candles of `unit` minutes that have started, oldest first; empty where there are none."""
        now = self.now()
        if unit % 60 == 0:
            rows = self._hourly(market, symbol)
        elif self._minutes is not None and 60 % unit == 0:
            rows = self._today((market, symbol, "1m"), lambda: self._split(market, symbol))
        else:
            return []
        started = [candle for candle in rows if candle.time <= now]
        return started if unit in (1, 60) else aggregate(started, unit)

    def _hourly(self, market: str, symbol: str) -> list[Candle]:
        return self._today((market, symbol, "60m"), lambda: self._series[market, symbol].hourly)

    def _split(self, market: str, symbol: str) -> list[Candle]:
        assert self._minutes is not None
        hourly = self._series[market, symbol].hourly
        if not hourly:
            return []
        oldest = hourly[-1].time - timedelta(days=MINUTE_DAYS)
        return self._minutes(market, symbol, [candle for candle in hourly if candle.time > oldest])

    def _today(self, key: tuple[str, str, str], read: Callable[[], Sequence[Candle]]) -> list[Candle]:
        today = self.now().date()
        if self._day != today:
            self._moved.clear()
            self._day = today
        if key not in self._moved:
            self._moved[key] = ending_on(today, read())
        return self._moved[key]


def ending_on(day: date, candles: Sequence[Candle]) -> list[Candle]:
    """The same candles moved by whole days so that the last one falls on `day`."""
    if not candles:
        return []
    shift = timedelta(days=(day - candles[-1].time.date()).days)
    return [replace(candle, time=candle.time + shift) for candle in candles]


def aggregate(candles: Iterable[Candle], unit: int) -> list[Candle]:
    """Candles of `unit` minutes (counted from 00:00 UTC) out of smaller ones; gaps stay gaps."""

    def start(candle: Candle) -> datetime:
        midnight = candle.time.replace(hour=0, minute=0, second=0, microsecond=0)
        passed = int((candle.time - midnight).total_seconds() // 60)
        return midnight + timedelta(minutes=passed - passed % unit)

    bars = []
    for time, group in groupby(candles, key=start):
        rows = list(group)
        bars.append(
            Candle(
                time=time,
                open=rows[0].open,
                high=max(row.high for row in rows),
                low=min(row.low for row in rows),
                close=rows[-1].close,
                volume=sum((row.volume for row in rows), Decimal(0)),
            )
        )
    return bars


def number(value: Decimal) -> int | float:
    """A JSON number of exactly that value, without a decimal point where it has no fraction."""
    return int(value) if value == value.to_integral_value() else float(value)


def load_recorded(folder: Path) -> dict[tuple[str, str], Series]:
    """Read `folder/{upbit,kis,yfinance}/SYMBOL.{1d,60m}.csv`. Raises `CandleFault`."""
    if not folder.is_dir():
        raise CandleFault(f"{folder}: no such folder: give --candles a folder with upbit/, kis/ or yfinance/ in it")
    found: dict[tuple[str, str], dict[str, tuple[Candle, ...]]] = {}
    for market in MARKETS:
        for path in sorted((folder / market).glob("*.csv")):
            name = _FILE_NAME.match(path.name)
            if name is None:
                raise CandleFault(f"{path}: not a name of a candle file: {_EXPECTED_NAMES}")
            found.setdefault((market, name["symbol"]), {})[name["unit"]] = read_candles(path, name["unit"])
    if not found:
        raise CandleFault(f"{folder}: no candle files: put SYMBOL.1d.csv files into its upbit/, kis/ or yfinance/")
    for (market, symbol), units in found.items():
        if "1d" not in units:
            raise CandleFault(
                f"{folder / market / symbol}.60m.csv: has no {symbol}.1d.csv beside it: add the daily file"
            )
    return {key: Series(units["1d"], units.get("60m", ())) for key, units in found.items()}


def read_candles(path: Path, unit: str) -> tuple[Candle, ...]:
    """Read one file (`unit` is "1d" or "60m"). Raises `CandleFault` at the first row that cannot be served."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CandleFault(
            f"{path}: cannot be read ({type(error).__name__}): make it a readable UTF-8 CSV file"
        ) from None
    if not lines or lines[0] != COLUMNS:
        raise CandleFault(f"{path}: row 1: the header is not {','.join(COLUMNS)}: make this the first line")
    rows: list[Candle] = []
    for number, cells in enumerate(lines[1:], start=2):
        where = f"{path}: row {number}"
        candle = _candle(cells, where)
        if rows and candle.time <= rows[-1].time:
            raise CandleFault(f"{where}: {cells[0]} is not after the row before it: sort the rows and drop duplicates")
        rows.append(candle)
    if len(rows) < MINIMUM_ROWS[unit]:
        last, least = f"{path}: row {len(rows) + 1} is the last", f"give at least {MINIMUM_ROWS[unit]}"
        raise CandleFault(f"{last}: {len(rows)} candles are too few: {least}")
    return tuple(rows)


def _candle(cells: Sequence[str], where: str) -> Candle:
    if len(cells) != len(COLUMNS):
        raise CandleFault(f"{where}: {len(cells)} columns instead of {len(COLUMNS)}: write {','.join(COLUMNS)}")
    time = _time(cells[0], where)
    numbers = [_number(name, text, where) for name, text in zip(COLUMNS[1:], cells[1:], strict=True)]
    candle = Candle(time, *numbers)
    if not (candle.low <= min(candle.open, candle.close) and max(candle.open, candle.close) <= candle.high):
        raise CandleFault(f"{where}: open or close lies outside low..high: correct or remove the row")
    return candle


def _time(text: str, where: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise CandleFault(f"{where}: time {text!r} is no ISO time in UTC: write it like 2026-01-31T00:00:00Z")
    return time.astimezone(UTC)


def _number(name: str, text: str, where: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        raise CandleFault(f"{where}: {name} {text!r} is no number: correct or remove the row")
    # a day without a trade has a volume of 0, but no price is 0
    if value < 0 or (value == 0 and name != "volume"):
        raise CandleFault(f"{where}: {name} {text} is not positive: correct or remove the row")
    return value
