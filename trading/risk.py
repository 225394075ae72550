"""The gate before an order: each limit is a pure function, applied in the order of `LIMITS`.

A limit lets the wanted value pass (None), cuts it (`Clamp`) or ends the matter (`Refusal`, an outcome with a name).
Selling is held back by less than buying, and leaving a position by an exit rule by less still: what reduces exposure
is stopped only where an order makes no sense, or where a person said so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import ROUND_DOWN, ROUND_UP, Decimal
from enum import StrEnum
from typing import TypeAlias

from trading.ladder import smallest_value
from trading.state import TradingState, allows
from trading.strategy import SymbolStrategy
from trading.ticks import check_quote
from trading.types import Analysis, Clamp, Decision, Instrument, Position, Quote, Refusal, RefusalRule, Side

# off by more, a clock makes every age wrong that the limits look at, and a venue may take a request for a replay
MAX_CLOCK_OFFSET = timedelta(seconds=2)


class Purpose(StrEnum):
    """Why an order is wanted: the analysis says buy or sell, or an exit rule says leave."""

    BUY = "buy"
    SELL = "sell"
    EXIT = "exit"

    @property
    def side(self) -> Side:
        return Side.BUY if self is Purpose.BUY else Side.SELL


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Everything a limit may look at. Money in the instrument's currency, times aware.

    `state` is the effective one. `cash` is free cash, `equity` cash and all positions of the account. `open_buys` is
    the value of buy orders of the symbol that may still fill; they are exposure already. `unproven` are the sides of
    orders of the symbol that are `sending` or `unknown`. `last_trade_at` and `trades_today` (KST day) count fills.
    `clock_offset` is by how much the venues' clocks are proven to be ahead of this machine's (below 0: behind), None
    where nothing is proven. An exit needs no analysis.
    """

    purpose: Purpose
    now: datetime
    instrument: Instrument
    strategy: SymbolStrategy
    state: TradingState
    analysis: Analysis | None
    quote: Quote
    market_open: bool
    position: Position
    cash: Decimal
    equity: Decimal
    open_buys: Decimal = Decimal(0)
    last_trade_at: datetime | None = None
    trades_today: int = 0
    unproven: frozenset[Side] = frozenset()
    clock_offset: timedelta | None = None

    @property
    def smallest(self) -> Decimal:
        """The smallest order at the current price."""
        return smallest_value(self.quote.price, self.instrument)

    def cost(self, value: Decimal) -> Decimal:
        """`value` and the fee on it."""
        return value * (1 + self.instrument.fee_rate)

    def affordable(self, money: Decimal) -> Decimal:
        """The value that `money` pays for, its fee included."""
        # twelve decimals, rounded down: the quotient of two decimals is itself rounded, maybe up
        return (money / (1 + self.instrument.fee_rate)).quantize(Decimal("1e-12"), ROUND_DOWN)


@dataclass(frozen=True, slots=True)
class Approval:
    """An order, or the sum of a ladder, may be worth up to `value` without fees; `clamps` made it so."""

    value: Decimal
    clamps: tuple[Clamp, ...]


Limit: TypeAlias = Callable[[Situation, Decimal], Clamp | Refusal | None]


def check(situation: Situation, wanted: Decimal) -> Approval | Refusal:
    """Pass `wanted`, the value of an order without its fee, through all limits of its purpose, in their order.

    Raises `BadQuote`, and `ValueError` for a value that is not above 0.
    """
    check_quote(situation.quote)
    if not wanted.is_finite() or wanted <= 0:
        raise ValueError(f"{situation.instrument.symbol}: an order worth {wanted} is none")
    clamps: list[Clamp] = []
    value = wanted
    for limit, purposes in LIMITS:
        if situation.purpose not in purposes:
            continue
        verdict = limit(situation, value)
        if isinstance(verdict, Refusal):
            return replace(verdict, clamps=tuple(clamps))
        if verdict is not None and verdict.after is not None:
            clamps.append(verdict)
            value = verdict.after
    return Approval(value, tuple(clamps))


def enabled(situation: Situation, _: Decimal) -> Refusal | None:
    """Nothing is ordered in a symbol that is switched off, exits included."""
    if situation.strategy.enabled:
        return None
    return Refusal("disabled", f"{situation.instrument.symbol} is switched off in its settings")


def trading_state(situation: Situation, _: Decimal) -> Refusal | None:
    """`reducing` stops buys, `halted` stops every order."""
    increases = situation.purpose is Purpose.BUY
    if allows(situation.state, situation.purpose.side, increases_exposure=increases):
        return None
    until = f" until {situation.state.until.isoformat()}" if situation.state.until else ""
    return Refusal("trading_state", f"{situation.state.state}{until}: {situation.state.reason}")


def clock(situation: Situation, _: Decimal) -> Refusal | None:
    """This machine's clock must not be off the venues' by more than `MAX_CLOCK_OFFSET`."""
    offset = situation.clock_offset
    if offset is None or abs(offset) <= MAX_CLOCK_OFFSET:
        return None
    have, need = (Decimal(str(time.total_seconds())) for time in (abs(offset), MAX_CLOCK_OFFSET))
    # rounded up, so that what is refused never reads like the limit itself
    shown, way = have.quantize(Decimal("0.1"), ROUND_UP), "behind" if offset > timedelta(0) else "ahead of"
    reason = f"this machine's clock is {shown:f} s {way} the venues'; correct it (timedatectl set-ntp true)"
    return Refusal("clock", reason, have, need)


def decision(situation: Situation, _: Decimal) -> Refusal | None:
    """The analysis must have decided for this side."""
    if situation.analysis is None:
        return Refusal("no_analysis", f"there is no analysis of {situation.instrument.symbol}")
    if situation.analysis.decision is Decision(situation.purpose.side.value):
        return None
    return Refusal("decision", f"the analysis says {situation.analysis.decision}, the order is a {situation.purpose}")


def confidence(situation: Situation, _: Decimal) -> Refusal | None:
    """The analysis must be at least as confident as the strategy asks."""
    have = situation.analysis.confidence if situation.analysis else 0
    need = situation.strategy.min_confidence
    if have >= need:
        return None
    return Refusal("low_confidence", f"confidence {have} is below {need}", Decimal(have), Decimal(need))


def analysis_age(situation: Situation, _: Decimal) -> Refusal | None:
    """The analysis must be fresh."""
    if situation.analysis is None:
        return Refusal("no_analysis", f"there is no analysis of {situation.instrument.symbol}")
    return _too_old(
        "stale_analysis", "analysis", situation.now - situation.analysis.at, situation.strategy.max_analysis_age
    )


def quote_age(situation: Situation, _: Decimal) -> Refusal | None:
    """The quote must be fresh."""
    return _too_old("stale_quote", "quote", situation.now - situation.quote.at, situation.strategy.max_quote_age)


def market_open(situation: Situation, _: Decimal) -> Refusal | None:
    """The market must be in session."""
    return None if situation.market_open else Refusal("market_closed", f"{situation.instrument.market} is closed")


def min_interval(situation: Situation, _: Decimal) -> Refusal | None:
    """Between two trades of a symbol, across midnight too, lies a minimum time."""
    if situation.last_trade_at is None:
        return None
    # the venue's clock, which dates a trade, may be a little ahead of ours
    passed, need = max(situation.now - situation.last_trade_at, timedelta(0)), situation.strategy.min_interval
    if passed >= need:
        return None
    return Refusal(
        "min_interval",
        f"the last trade was {_seconds(passed):f} s ago, the interval is {_seconds(need):f} s",
        _seconds(passed),
        _seconds(need),
    )


def trades_per_day(situation: Situation, _: Decimal) -> Refusal | None:
    """No more than so many trades of a symbol in a KST day."""
    have, most = situation.trades_today, situation.strategy.max_trades_per_day
    if have < most:
        return None
    return Refusal("trades_per_day", f"{have} trades today, {most} at most", Decimal(have), Decimal(most))


def position_cap(situation: Situation, value: Decimal) -> Clamp | Refusal | None:
    """Position, open buys and the order together stay below a share of the equity and a fixed value."""
    cap = situation.equity * situation.strategy.max_position_share
    if situation.strategy.max_position_value is not None:
        cap = min(cap, situation.strategy.max_position_value)
    exposure = situation.position.quantity * situation.quote.price + situation.open_buys
    room = cap - exposure
    if value <= room:
        return None
    currency = situation.instrument.currency
    reason = f"{exposure:f} {currency} are held or on order, the cap is {cap:f} {currency}"
    return Clamp("position_cap", value, room, reason) if room > 0 else Refusal("position_cap", reason, exposure, cap)


def cash_reserve(situation: Situation, value: Decimal) -> Clamp | Refusal | None:
    """Buys leave the reserve in the account."""
    reserve, smallest = situation.strategy.cash_reserve, situation.cost(situation.smallest)
    # with too little cash for any order the reserve is not the reason: the next limit says so
    if reserve == 0 or situation.cash < smallest:
        return None
    spendable, currency = situation.cash - reserve, situation.instrument.currency
    reason = f"the balance is {situation.cash:f} {currency}, {reserve:f} {currency} of it are the reserve"
    if spendable < smallest:
        return Refusal("cash_reserve", reason, situation.cash, reserve + smallest)
    if situation.cost(value) <= spendable:
        return None
    return Clamp("cash_reserve", value, situation.affordable(spendable), reason)


def cash(situation: Situation, value: Decimal) -> Clamp | Refusal | None:
    """A buy and its fee cost no more than there is; too little for the smallest order is `insufficient_cash`."""
    need, currency = situation.cost(value), situation.instrument.currency
    if need <= situation.cash:
        return None
    reason = f"the balance is {situation.cash:f} {currency}, the order needs {need:f} {currency} with its fee"
    if situation.cash < situation.cost(situation.smallest):
        return Refusal("insufficient_cash", reason, situation.cash, need)
    return Clamp("cash", value, situation.affordable(situation.cash), reason)


def minimum_order(situation: Situation, value: Decimal) -> Refusal | None:
    """No order below the venue's minimum, or of less than one quantity step."""
    if value >= situation.smallest:
        return None
    currency = situation.instrument.currency
    return Refusal(
        "below_minimum",
        f"the order is worth {value:f} {currency}, the smallest {situation.smallest:f} {currency}",
        value,
        situation.smallest,
    )


def unproven_order(situation: Situation, _: Decimal) -> Refusal | None:
    """While an order of the symbol is unproven nothing is bought; while a sell is, nothing is sold again."""
    blocking = situation.unproven if situation.purpose is Purpose.BUY else situation.unproven & {Side.SELL}
    if not blocking:
        return None
    sides = " and ".join(sorted(blocking))
    return Refusal("unproven_order", f"a {sides} order of {situation.instrument.symbol} is not proven either way")


_ALL = frozenset(Purpose)
_BY_ANALYSIS = frozenset({Purpose.BUY, Purpose.SELL})
_BUY = frozenset({Purpose.BUY})

LIMITS: tuple[tuple[Limit, frozenset[Purpose]], ...] = (
    (enabled, _ALL),
    (trading_state, _ALL),
    (clock, _BY_ANALYSIS),
    (decision, _BY_ANALYSIS),
    (confidence, _BY_ANALYSIS),
    (analysis_age, _BY_ANALYSIS),
    (quote_age, _ALL),
    (market_open, _ALL),
    (min_interval, _BUY),
    (trades_per_day, _BUY),
    (position_cap, _BUY),
    (cash_reserve, _BUY),
    (cash, _BUY),
    (minimum_order, _ALL),
    (unproven_order, _ALL),
)


def _too_old(rule: RefusalRule, what: str, age: timedelta, most: timedelta) -> Refusal | None:
    # as far in the future means that a clock is wrong, and then the age says nothing
    if abs(age) <= most:
        return None
    have, need = _seconds(age), _seconds(most)
    return Refusal(rule, f"the {what} is {have:f} s old, {need:f} s at most", have, need)


def _seconds(duration: timedelta) -> Decimal:
    return Decimal(int(duration.total_seconds()))
