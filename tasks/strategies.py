"""The strategy of each symbol: a profile, the settings that the file replaces, and the amounts of the environment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from settings import MARKETS, Settings
from trading.breaker import LossLimits, loss_limits
from trading.strategy import BadStrategy, SymbolStrategy, strategy
from trading.thresholds import Thresholds, thresholds

SECTIONS = ("all", "account", "markets")
# what a symbol's settings hold besides those of its strategy
CHECKS = "checks"
AMOUNTS = frozenset({"level_value", "level_quantity"})


@lru_cache(maxsize=256)
def strategy_of(settings: Settings, market: str, symbol: str, currency: str) -> SymbolStrategy:
    """How a symbol is traded. The narrower setting wins: environment, then `all`, then the symbol's own.

    Raises `BadStrategy`, one line that names the setting and the file.
    """
    file = read(settings.strategy_file)
    wide, narrow = file.get("all", {}), file.get("markets", {}).get(market, {}).get(symbol, {})
    # an amount of one kind takes the place of a wider one of the other
    kept = {name: value for name, value in wide.items() if not (name in AMOUNTS and AMOUNTS & set(narrow))}
    own = {name: value for name, value in {**kept, **narrow}.items() if name != CHECKS}
    values: dict[str, object] = {"min_confidence": settings.min_confidence, **own}
    if not AMOUNTS & set(own):
        values["level_value"] = settings.order_value(currency)
    try:
        return strategy(settings.strategy_profile, values)
    except BadStrategy as error:
        raise BadStrategy(f"{_source(settings)}: strategy of {market} {symbol}: {error}") from None


@lru_cache(maxsize=256)
def thresholds_of(settings: Settings, market: str, symbol: str) -> Thresholds:
    """Where the checks of a symbol's analyses refuse: `checks` of `all`, and over it the symbol's own.

    Raises `BadStrategy`, one line that names the setting and the file.
    """
    file = read(settings.strategy_file)
    parts = [file.get("all", {}), file.get("markets", {}).get(market, {}).get(symbol, {})]
    given: dict[str, object] = {}
    try:
        for part in (part.get(CHECKS, {}) for part in parts):
            if not isinstance(part, dict):
                raise BadStrategy("must be an object")
            given |= part
        return thresholds(given)
    except BadStrategy as error:
        raise BadStrategy(f"{_source(settings)}: checks of {market} {symbol}: {error}") from None


def limits(settings: Settings) -> LossLimits:
    """The loss limits of every account. Raises `BadStrategy`."""
    try:
        return loss_limits(settings.strategy_profile, read(settings.strategy_file).get("account"))
    except BadStrategy as error:
        raise BadStrategy(f"{_source(settings)}: account: {error}") from None


def check(settings: Settings) -> None:
    """Read the strategies of all symbols once, so that a mistake is told at start. Raises `BadStrategy`."""
    limits(settings)
    for market in MARKETS:
        currency = "USD" if market == "yfinance" else "KRW"
        for symbol in settings.symbols(market):
            strategy_of(settings, market, symbol, currency)
            thresholds_of(settings, market, symbol)
    named = read(settings.strategy_file).get("markets", {})
    for market, symbols in named.items():
        for symbol in symbols:
            if symbol not in settings.symbols(market):
                raise BadStrategy(
                    f"{settings.strategy_file}: {market} {symbol} is no enabled symbol; add it to "
                    f"{market.upper()}_SYMBOLS or take it out"
                )


@lru_cache(maxsize=4)
def read(path: str) -> Mapping[str, Any]:
    """The strategy file, or nothing without one. Its shape:
    `{"all": {…}, "account": {…}, "markets": {"upbit": {"KRW-BTC": {…}}}}`; `checks` may stand in `all` and a symbol.

    Raises `BadStrategy` for a file that cannot be read or is shaped otherwise.
    """
    if not path:
        return {}
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"), object_pairs_hook=_each_once)
    except (OSError, ValueError, RecursionError) as error:
        raise BadStrategy(f"STRATEGY_FILE {path}: cannot be read as JSON: {error}") from None
    if not isinstance(content, dict) or not set(content) <= set(SECTIONS):
        raise BadStrategy(f"STRATEGY_FILE {path}: must be an object with no other keys than {', '.join(SECTIONS)}")
    markets = content.get("markets", {})
    sections = [content.get("all", {}), content.get("account", {}), markets]
    symbols = list(markets.values()) if isinstance(markets, dict) else []
    settings_of = [row for symbol in symbols if isinstance(symbol, dict) for row in symbol.values()]
    if not all(isinstance(part, dict) for part in (*sections, *symbols, *settings_of)):
        raise BadStrategy(f"STRATEGY_FILE {path}: `all`, `account`, each market and each symbol must be an object")
    unknown = set(markets) - set(MARKETS)
    if unknown:
        raise BadStrategy(f"STRATEGY_FILE {path}: unknown market {min(unknown)}: use one of {', '.join(MARKETS)}")
    return content


def _source(settings: Settings) -> str:
    """Where a setting of a strategy comes from."""
    profile = f"STRATEGY_PROFILE {settings.strategy_profile}"
    return f"STRATEGY_FILE {settings.strategy_file}" if settings.strategy_file else profile


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; a name that comes twice would silently lose its first settings."""
    known = dict(pairs)
    if len(known) != len(pairs):
        twice = next(name for name, _ in pairs if sum(name == other for other, _ in pairs) > 1)
        raise ValueError(f"{twice!r} is there twice")
    return known
