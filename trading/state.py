"""May anything be ordered now? Rows with a reason and an expiry, never a flag in memory.

A row holds for everything, for one market or for one symbol. `reducing` lets through only what does not increase
exposure, `halted` no order at all; cancelling is always allowed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Literal

from trading.types import Side


class State(StrEnum):
    ACTIVE = "active"
    REDUCING = "reducing"
    HALTED = "halted"


class Scope(StrEnum):
    ALL = "all"
    MARKET = "market"
    SYMBOL = "symbol"


_STRICTNESS = {State.ACTIVE: 0, State.REDUCING: 1, State.HALTED: 2}
_FOREVER = datetime.max.replace(tzinfo=UTC)


def _strictness(row: TradingState) -> tuple[int, datetime]:
    return _STRICTNESS[row.state], row.until or _FOREVER


def _check_aware(at: datetime | None) -> None:
    if at is not None and at.utcoffset() is None:
        raise ValueError(f"{at} has no time zone; use aware UTC times")


@dataclass(frozen=True, slots=True)
class TradingState:
    """One row: for all markets without `market`, for a whole market without `symbol`. In force before `until`,
    without one until it is taken back. Raises `ValueError` for a symbol without market or a naive expiry."""

    state: State
    reason: str
    until: datetime | None = None
    market: str | None = None
    symbol: str | None = None

    def __post_init__(self) -> None:
        if self.symbol is not None and self.market is None:
            raise ValueError(f"the state of {self.symbol} names no market")
        _check_aware(self.until)

    @property
    def scope(self) -> Scope:
        if self.symbol is not None:
            return Scope.SYMBOL
        return Scope.ALL if self.market is None else Scope.MARKET

    @property
    def where(self) -> tuple[str | None, str | None]:
        """Exactly what the row is about: rows of the same scope share it."""
        return self.market, self.symbol

    def covers(self, market: str, symbol: str) -> bool:
        """Whether the row is about this symbol of this market."""
        return self.market in (None, market) and self.symbol in (None, symbol)

    def milder(self, other: TradingState) -> bool:
        """Whether it allows what the other one does not."""
        return _STRICTNESS[self.state] < _STRICTNESS[other.state]

    def outweighs(self, other: TradingState) -> bool:
        """Whether the other one says nothing besides it: it is as strict, and lasts at least as long."""
        return not self.milder(other) and (self.until or _FOREVER) >= (other.until or _FOREVER)


@dataclass(frozen=True, slots=True)
class Arming:
    """Live trading in a market was allowed, from `since` and before `until`. Raises `ValueError` for naive times."""

    market: str
    since: datetime
    until: datetime

    def __post_init__(self) -> None:
        _check_aware(self.since)
        _check_aware(self.until)


ACTIVE = TradingState(State.ACTIVE, "no restriction is in force")


def effective(states: Iterable[TradingState], market: str, symbol: str, now: datetime) -> TradingState:
    """The strictest row in force for the symbol, of equally strict ones the last to expire; `ACTIVE` without any.

    A narrower row never loosens a wider one. `now` is aware.
    """
    in_force = (row for row in states if row.covers(market, symbol) and (row.until is None or now < row.until))
    return max(in_force, key=lambda row: (*_strictness(row), row.scope, row.reason), default=ACTIVE)


def tightens(new: TradingState, states: Iterable[TradingState], now: datetime) -> bool:
    """Whether `new` restricts its own scope beyond the rows in force: none of them is as strict for as long.

    For writers that are no person: a short halt does not stand for a circuit breaker that lasts until midnight. `now`
    is aware.
    """
    same = (row for row in states if row.where == new.where and (row.until is None or now < row.until))
    return new.state is not State.ACTIVE and not any(row.outweighs(new) for row in same)


def allows(state: TradingState, action: Side | Literal["cancel"], *, increases_exposure: bool) -> bool:
    """Whether an order, or a cancel, may be sent in this state. Selling what is held does not increase exposure."""
    if action == "cancel" or state.state is State.ACTIVE:
        return True
    return state.state is State.REDUCING and not increases_exposure


def armed(rows: Iterable[Arming], market: str, now: datetime) -> bool:
    """Whether a row arms exactly this market now. `now` is aware."""
    return any(row.market == market and row.since <= now < row.until for row in rows)


def live_allowed(mode: str, rows: Iterable[Arming], market: str, now: datetime) -> bool:
    """Live orders need both: the mode `live` and an armed row of their market."""
    return mode == "live" and armed(rows, market, now)
