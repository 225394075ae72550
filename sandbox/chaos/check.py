"""The comparison of what the venues hold with what the journal says. Pure, and none of the application's own code.

Quantities are units, values and fees are in the currency of the market.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

ZERO = Decimal(0)
# the journal keeps an average price where a venue tells no single trades, rounded to eight digits
TOLERANCE = Decimal("0.001")

NOT_SENT = ("planned", "rejected", "throttled", "not_created")
UNPROVEN = ("planned", "sending", "unknown")
OPEN = ("accepted", "partly_filled")


class Kind(StrEnum):
    """What is wrong: an order too many, one that is not accounted for, or one nobody has settled."""

    DOUBLED = "doubled"
    LOST = "lost"
    UNRESOLVED = "unresolved"


@dataclass(frozen=True, slots=True)
class VenueOrder:
    """An order as the venue has it. `venue_order_id` is written as the journal writes it, `client_order_id` is None
    where the venue keeps none. `traded` units for `value`, with `fee`; `open` while it rests."""

    market: str
    venue_order_id: str
    client_order_id: str | None
    symbol: str
    side: str
    quantity: Decimal
    price: Decimal
    traded: Decimal
    value: Decimal
    fee: Decimal
    open: bool


@dataclass(frozen=True, slots=True)
class JournalOrder:
    """An order as the journal has it, its fills summed up. `origin` is the run or the exit it comes from, None for
    an order that was adopted."""

    id: str
    market: str
    client_order_id: str
    venue_order_id: str | None
    symbol: str
    side: str
    leg: int
    origin: str | None
    state: str
    quantity: Decimal
    price: Decimal
    filled: Decimal
    value: Decimal
    fee: Decimal


@dataclass(frozen=True, slots=True)
class RunSymbol:
    """How a symbol of a run ended; `state` is pending, done or failed."""

    run_id: str
    market: str
    symbol: str
    state: str


@dataclass(frozen=True, slots=True)
class Balance:
    """What an account holds of one asset (the currency, or a symbol), at the start and at the end."""

    market: str
    asset: str
    start: Decimal
    end: Decimal


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is compared. `fees_told` are the markets whose venue tells the fee of each order; where it does not,
    the journal's fee is an estimate and the venue's own is taken."""

    venue: Sequence[VenueOrder]
    journal: Sequence[JournalOrder]
    runs: Sequence[RunSymbol]
    balances: Sequence[Balance]
    currency: str = "KRW"
    fees_told: frozenset[str] = frozenset({"upbit", "yfinance"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. `order_id` is the journal's, `origin` the run or exit, where known."""

    kind: Kind
    what: str
    market: str
    symbol: str
    origin: str | None = None
    order_id: str | None = None


def check(evidence: Evidence) -> list[Finding]:
    """Everything that does not add up, doubled orders first."""
    matched, unknown = _match(evidence)
    found = [
        *_sent_twice(evidence, matched),
        *_unknown(unknown, matched, evidence.journal),
        *_compared(evidence, matched),
        *_runs(evidence.runs),
        *_balances(evidence, matched),
    ]
    return sorted(found, key=lambda finding: list(Kind).index(finding.kind))


def _match(evidence: Evidence) -> tuple[dict[str, list[VenueOrder]], list[VenueOrder]]:
    """The venue's orders by the journal's order they belong to, and those that belong to none."""
    by_client = {(order.market, order.client_order_id): order for order in evidence.journal}
    by_number = {(order.market, order.venue_order_id): order for order in evidence.journal if order.venue_order_id}
    matched: dict[str, list[VenueOrder]] = defaultdict(list)
    unknown = []
    for order in evidence.venue:
        owner = by_number.get((order.market, order.venue_order_id))
        if owner is None and order.client_order_id is not None:
            owner = by_client.get((order.market, order.client_order_id))
        if owner is None:
            unknown.append(order)
        else:
            matched[owner.id].append(order)
    return matched, unknown


def _sent_twice(evidence: Evidence, matched: dict[str, list[VenueOrder]]) -> Iterator[Finding]:
    legs: dict[tuple[str | None, str, str, str, int], list[JournalOrder]] = defaultdict(list)
    for order in evidence.journal:
        here = matched.get(order.id, [])
        for extra in here[1:]:
            what = f"the venue has order {extra.venue_order_id} besides {here[0].venue_order_id} for it"
            yield _of(order, Kind.DOUBLED, what)
        if here and order.origin is not None:
            legs[order.origin, order.market, order.symbol, order.side, order.leg].append(order)
    for orders in legs.values():
        for extra_order in orders[1:]:
            what = f"its {extra_order.side} of leg {extra_order.leg} was created already as {orders[0].client_order_id}"
            yield _of(extra_order, Kind.DOUBLED, what)


def _unknown(
    unknown: Iterable[VenueOrder], matched: dict[str, list[VenueOrder]], journal: Sequence[JournalOrder]
) -> Iterator[Finding]:
    for order in unknown:
        twins = [other for other in journal if _alike(order, other)]
        twin = next((other for other in twins if other.id in matched), None)
        if twin is not None:
            what = f"order {order.venue_order_id} is unknown to the journal, and equal to {twin.client_order_id}"
            yield _of(twin, Kind.DOUBLED, what)
            continue
        given_up = f"; the journal has {twins[0].client_order_id} as {twins[0].state}" if twins else ""
        what = f"order {order.venue_order_id} at the venue is unknown to the journal{given_up}"
        yield Finding(Kind.LOST, what, order.market, order.symbol, twins[0].origin if twins else None)
    for own in journal:
        # nobody but the system trades here, so what it took for a stranger's order is its own
        if own.origin is None:
            yield _of(own, Kind.LOST, f"order {own.venue_order_id} was adopted, though nobody else has placed any")


def _alike(order: VenueOrder, other: JournalOrder) -> bool:
    same = (order.market, order.symbol, order.side, order.quantity, order.price)
    return same == (other.market, other.symbol, other.side, other.quantity, other.price) and other.origin is not None


def _compared(evidence: Evidence, matched: dict[str, list[VenueOrder]]) -> Iterator[Finding]:
    for order in evidence.journal:
        here = matched.get(order.id)
        if order.state in UNPROVEN:
            yield _of(order, Kind.UNRESOLVED, f"it is {order.state} in the journal")
        if here is None:
            if order.state not in NOT_SENT + UNPROVEN and (order.venue_order_id or order.filled):
                yield _of(order, Kind.LOST, f"it is {order.state} in the journal, and the venue has no such order")
            continue
        yield from _one(order, here[0], order.market in evidence.fees_told)


def _one(order: JournalOrder, there: VenueOrder, fee_told: bool) -> Iterator[Finding]:
    name = f"venue order {there.venue_order_id}"
    if order.state in NOT_SENT and order.state != "planned":
        yield _of(order, Kind.LOST, f"it is {order.state} in the journal, and {name} exists")
    if order.state in OPEN and not there.open:
        yield _of(order, Kind.UNRESOLVED, f"it is {order.state} in the journal, and {name} has ended")
    if order.state not in OPEN + UNPROVEN and there.open:
        yield _of(order, Kind.LOST, f"it is {order.state} in the journal, and {name} still rests")
    if order.state in UNPROVEN:
        # its fills are compared when it is proven
        return
    if order.filled != there.traded:
        yield _of(order, Kind.LOST, f"{order.filled} of it are filled in the journal, {there.traded} in {name}")
    elif abs(order.value - there.value) > TOLERANCE:
        yield _of(order, Kind.LOST, f"its fills are worth {order.value} in the journal, {there.value} in {name}")
    elif fee_told and abs(order.fee - there.fee) > TOLERANCE:
        yield _of(order, Kind.LOST, f"its fees are {order.fee} in the journal, {there.fee} in {name}")


def _runs(runs: Iterable[RunSymbol]) -> Iterator[Finding]:
    for run in runs:
        if run.state == "pending":
            yield Finding(Kind.LOST, "its run never came to an end", run.market, run.symbol, run.run_id)


def _balances(evidence: Evidence, matched: dict[str, list[VenueOrder]]) -> Iterator[Finding]:
    """What an account holds must be its start and what the journal's fills explain; less money or more units than
    that were spent or bought twice."""
    changes: dict[tuple[str, str], Decimal] = defaultdict(lambda: ZERO)
    for order in evidence.journal:
        there = matched.get(order.id, [])
        fee = order.fee if order.market in evidence.fees_told else sum((other.fee for other in there), ZERO)
        way = 1 if order.side == "buy" else -1
        changes[order.market, order.symbol] += way * order.filled
        changes[order.market, evidence.currency] -= way * order.value + fee
    for balance in evidence.balances:
        expected = balance.start + changes[balance.market, balance.asset]
        off = balance.end - expected
        if abs(off) <= TOLERANCE:
            continue
        twice = off < 0 if balance.asset == evidence.currency else off > 0
        kind = Kind.DOUBLED if twice else Kind.LOST
        what = f"the account holds {balance.end}, the journal explains {expected} ({off:+f})"
        yield Finding(kind, what, balance.market, balance.asset)


def _of(order: JournalOrder, kind: Kind, what: str) -> Finding:
    return Finding(kind, f"{order.client_order_id}: {what}", order.market, order.symbol, order.origin, order.id)
