"""The circuit breaker: how much of an account may be lost in a day and in a week before it only reduces.

It is computed from portfolio snapshots alone, so a restart changes nothing. A loss is what the whole account lost,
fees and open positions included; deposits and withdrawals are neither profit nor loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from typing import Annotated

from trading.declared import Setting, check, convert
from trading.periods import DAY, WEEK, kst_day, kst_week, starts
from trading.state import State, TradingState
from trading.strategy import profile_of

_FRACTION = ": it is a fraction, 0.10 for ten percent"


@dataclass(frozen=True, slots=True)
class Equity:
    """What an account was worth at an aware time: cash and positions, in its currency."""

    at: datetime
    total: Decimal


@dataclass(frozen=True, slots=True)
class Flow:
    """Money that came in (above 0) or went out (below 0), in the account's currency."""

    at: datetime
    amount: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class LossLimits:
    """Fractions of the equity, 0.10 for ten percent; None for no limit. Raises `BadStrategy`."""

    daily_loss: Annotated[
        Decimal | None, Setting(what="of the equity, in a KST day; then buys stop", above=0, below=1, hint=_FRACTION)
    ] = Decimal("0.10")
    weekly_loss: Annotated[
        Decimal | None, Setting(what="of the equity, in a KST week; then buys stop", above=0, below=1, hint=_FRACTION)
    ] = Decimal("0.15")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, slots=True)
class Breach:
    """The first moment of a period at which its loss, a fraction, had reached the limit."""

    at: datetime
    loss: Decimal


def loss_limits(profile: str = "base", overrides: Mapping[str, object] | None = None) -> LossLimits:
    """The limits of a profile with some replaced. Raises `BadStrategy`."""
    return LossLimits(**convert(LossLimits, {**profile_of(profile)["account"], **(overrides or {})}))


def breaker(
    snapshots: Iterable[Equity],
    flows: Iterable[Flow],
    limits: LossLimits,
    now: datetime,
    *,
    market: str | None = None,
    resumed_at: datetime | None = None,
) -> TradingState | None:
    """The row to write, or None while no limit is broken: `reducing` until the day or the week ends in KST.

    A limit that was broken once in a period stays broken until its end, so asking again gives the same row, or a
    longer one. The snapshots and flows are of one account in one currency, from before the start of the week on. An
    operator who resumes at `resumed_at` starts both periods anew from there. `market` is the account's, None for all.
    """
    points = sorted((point for point in snapshots if point.at <= now), key=lambda point: point.at)
    money = list(flows)
    # the week first: its row lasts longer
    for name, limit, start, length in (
        ("weekly", limits.weekly_loss, starts(kst_week(now)), WEEK),
        ("daily", limits.daily_loss, starts(kst_day(now)), DAY),
    ):
        since = max(start, resumed_at) if resumed_at else start
        found = None if limit is None else breach(points, money, since, limit)
        if found is not None:
            return TradingState(
                State.REDUCING,
                f"circuit breaker: {name} loss {found.loss:.2%} at {found.at.isoformat()}, the limit is {limit:.2%}",
                start + length,
                market,
            )
    return None


def breach(points: Sequence[Equity], flows: Sequence[Flow], since: datetime, limit: Decimal) -> Breach | None:
    """The first snapshot after `since` at which the account had lost `limit` of what it was worth then.

    What it was worth at `since` is the last snapshot not after it, else the first one after it. Snapshots are in
    order of time.
    """
    for at, growth in growths(points, flows, since):
        if 1 - growth >= limit:
            return Breach(at, 1 - growth)
    return None


def growths(points: Sequence[Equity], flows: Sequence[Flow], since: datetime) -> list[tuple[datetime, Decimal]]:
    """At each snapshot after `since`, the equity over that of the start, flows taken out: 0.9 for a loss of 10 %.

    Growth is chained from snapshot to snapshot (a time-weighted return), so a deposit neither hides a loss nor a
    withdrawal makes one. Money that comes or goes between two snapshots counts as there from the first of them on;
    from one with nothing in it, growth cannot be told and none is counted.
    """
    before = [point for point in points if point.at <= since][-1:]
    chain = before + [point for point in points if point.at > since]
    growth, found = Decimal(1), []
    for previous, point in pairwise(chain):
        moved = sum((flow.amount for flow in flows if previous.at < flow.at <= point.at), Decimal(0))
        base = previous.total + moved
        if base > 0:
            growth *= max(point.total, Decimal(0)) / base
        found.append((point.at, growth))
    return found
