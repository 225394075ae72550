"""The order journal under everything that can be said to it, in any order and again, against a model in memory."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from storage import orders
from storage.engine import open_engine
from storage.errors import Contradiction, SymbolBlocked
from storage.exits import begin
from storage.journal import JournalOrder, Origin, read
from storage.tables import orders as orders_table
from trading.exits import Exit, ExitKind
from trading.orders import RESTING, TERMINAL, TRANSITIONS, UNPROVEN
from trading.types import Fill, OpenOrder, OrderIntent, OrderState, Placement, Side

T = TypeVar("T")
History = list[tuple[OrderState | None, OrderState]]

AT = datetime(2026, 11, 23, 1, tzinfo=UTC)
QUANTITY, PRICE = Decimal(10), Decimal(100)
# of these trades several make up the whole order, and several too much
TRADES = tuple(Decimal(units) for units in (1, 2, 3, 4, 5, 10))
# how far an order has come before it is met by what else is said
WAYS: tuple[tuple[OrderState, ...], ...] = (
    (),
    (OrderState.SENDING,),
    (OrderState.SENDING, OrderState.ACCEPTED),
    (OrderState.SENDING, OrderState.UNKNOWN),
    (OrderState.SENDING, OrderState.UNKNOWN, OrderState.NOT_CREATED),
    (OrderState.SENDING, OrderState.THROTTLED),
    (OrderState.SENDING, OrderState.REJECTED),
)
ENDS = (None, OrderState.CANCELLED, OrderState.REJECTED)
EXAMPLES, STEPS = 24, 50
MOST_PLANNED = 2
# of how many steps the last is compared with the database as a whole; the end of an example always is
COMPARED = 8
NEVER_TRADED = {OrderState.REJECTED, OrderState.THROTTLED, OrderState.NOT_CREATED}


@dataclass
class Known:
    """An order as the model has it."""

    row: JournalOrder
    state: OrderState
    history: History
    venue_order_id: str | None = None
    fills: dict[str, Decimal] = field(default_factory=dict)
    words: list[Placement] = field(default_factory=list)
    claimed: int = 0
    looks: int = 0

    @property
    def slot(self) -> tuple[str, Side]:
        return self.row.intent.symbol, self.row.intent.side

    @property
    def number(self) -> str:
        """What the venue calls it, or would."""
        return self.venue_order_id or f"v-{self.row.intent.client_order_id}"

    @property
    def filled(self) -> Decimal:
        return sum(self.fills.values(), Decimal(0))

    def move(self, state: OrderState) -> None:
        self.history.append((self.state, state))
        self.state = state

    def trade(self, index: int) -> Fill:
        return Fill(f"{self.row.intent.client_order_id}-{index}", TRADES[index], PRICE, Decimal(0), AT)

    def __repr__(self) -> str:
        return f"<{self.row.intent.client_order_id} {self.state} {self.filled} of {QUANTITY}>"


class Journal(RuleBasedStateMachine):
    """Rules say something to the journal, and the model says what has to come of it."""

    engine: ClassVar[AsyncEngine]
    runner: ClassVar[asyncio.Runner]
    examples: ClassVar[Iterator[int]]
    ended: ClassVar[Counter[OrderState]]
    refused: ClassVar[int]

    known = Bundle("known")

    def __init__(self) -> None:
        super().__init__()
        self.orders: list[Known] = []
        self.example = next(self.examples)
        self.names = count(1)
        self.steps = count(1)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    @initialize()
    def open_symbols(self) -> None:
        """Symbols of this example alone, each with an exit that its orders come from."""
        self.exits = {}
        for symbol in (f"A{self.example}", f"B{self.example}"):
            wanted = Exit(ExitKind.STOP_LOSS, QUANTITY, PRICE, PRICE, Decimal(0), "test")
            of = self.run(begin(self.engine, market="upbit", symbol=symbol, exit=wanted, average_price=PRICE))
            self.exits[symbol] = of.id

    # what the tasks say

    @rule(target=known, first=st.booleans(), side=st.sampled_from(Side), way=st.sampled_from(WAYS))
    def plan(self, first: bool, side: Side, way: tuple[OrderState, ...]) -> Any:
        """A new order, and a first part of its way."""
        symbol = f"{'A' if first else 'B'}{self.example}"
        slot = symbol, side
        if any(order.slot == slot and order.state in UNPROVEN | {OrderState.PLANNED} for order in self.orders):
            # it could only wait; that it does is for `claim` to see, with what `adopt` and `plan_one_more` bring
            return multiple()
        order = self.planned(symbol, side)
        for state in way:
            assert self.run(orders.set_state(self.engine, order.row.id, state, expected=order.state))
            order.claimed += state is OrderState.SENDING
            order.move(state)
        return order

    @rule(target=known, order=known)
    def plan_one_more(self, order: Known) -> Any:
        waiting = [other for other in self.orders if other.slot == order.slot and other.state is OrderState.PLANNED]
        return self.planned(*order.slot) if len(waiting) < MOST_PLANNED else multiple()

    def planned(self, symbol: str, side: Side) -> Known:
        intent = OrderIntent(f"{symbol}-{next(self.names)}", "upbit", symbol, side, QUANTITY, PRICE, "KRW")
        row = self.run(orders.plan(self.engine, intent, origin=Origin(exit_id=self.exits[symbol])))
        order = Known(row, OrderState.PLANNED, [(None, OrderState.PLANNED)])
        self.orders.append(order)
        return order

    @rule(order=known)
    def plan_again(self, order: Known) -> None:
        changed = replace(order.row.intent, quantity=QUANTITY * 2, price=PRICE * 2)
        if order.row.origin.adopted:
            return
        again = self.run(orders.plan(self.engine, changed, origin=order.row.origin))
        assert (again.id, again.intent) == (order.row.id, order.row.intent)

    @rule(order=known, callers=st.integers(1, 3))
    def claim(self, order: Known, callers: int) -> None:
        results = self.run(at_once(*(orders.claim(self.engine, order.row.id) for _ in range(callers))))
        if order.state is not OrderState.PLANNED:
            assert results == [False] * callers
        elif self.blocked(order):
            assert all(isinstance(result, SymbolBlocked) for result in results)
        else:
            assert (results.count(True), results.count(False)) == (1, callers - 1)
            order.claimed += 1
            order.move(OrderState.SENDING)

    @rule(one=known, other=known)
    def claim_two_at_once(self, one: Known, other: Known) -> None:
        if one is other or {one.state, other.state} != {OrderState.PLANNED} or self.blocked(one) or self.blocked(other):
            return
        claims = (orders.claim(self.engine, order.row.id) for order in (one, other))
        results = self.run(at_once(*claims))
        for order, result in zip((one, other), results, strict=True):
            if result is True:
                order.claimed += 1
                order.move(OrderState.SENDING)
            else:
                assert isinstance(result, SymbolBlocked)
        # two of one side never, of two sides both
        assert results.count(True) == (1 if one.slot == other.slot else 2)

    @rule(order=known, expected=st.none() | st.sampled_from(OrderState), state=st.sampled_from(OrderState))
    def set_state(self, order: Known, expected: OrderState | None, state: OrderState) -> None:
        expected = expected or order.state
        if state is expected:
            return
        change = orders.set_state(self.engine, order.row.id, state, expected=expected, reason="test")
        if expected is not order.state:
            assert not self.run(change)
        elif state in TRANSITIONS[expected] and self.fits(order, state):
            assert self.run(change)
            order.claimed += state is OrderState.SENDING
            order.move(state)
        else:
            self.refuses(IntegrityError, change)

    @rule(order=known, which=st.integers(0, 9))
    def proceed(self, order: Known, which: int) -> None:
        """One of the changes that are legal: an answer lost, a refusal for rate, an absence believed."""
        legal = [state for state in sorted(TRANSITIONS[order.state]) if self.fits(order, state)]
        if legal and (state := legal[which % len(legal)]) is not order.state:
            assert self.run(orders.set_state(self.engine, order.row.id, state, expected=order.state))
            order.claimed += state is OrderState.SENDING
            order.move(state)

    @rule(order=known)
    def missed(self, order: Known) -> None:
        look = orders.missed(self.engine, order.row)
        if order.state is not OrderState.UNKNOWN:
            self.refuses(IntegrityError, look)
            return
        order.looks += 1
        order.move(OrderState.UNKNOWN)
        assert self.run(look).looks == order.looks

    # what the venue says

    @rule(
        order=known,
        state=st.sampled_from(OrderState),
        number=st.sampled_from(["own", "own", "none", "another"]),
        trades=st.lists(st.integers(0, len(TRADES) - 1), max_size=4, unique=True),
        foreign=st.none() | known,
    )
    def record_anything(
        self, order: Known, state: OrderState, number: str, trades: list[int], foreign: Known | None
    ) -> None:
        """A word that can be true, old, or nonsense."""
        fills = [order.trade(index) for index in trades]
        if foreign is not None and foreign is not order and foreign.fills:
            fills.append(Fill(next(iter(foreign.fills)), Decimal(1), PRICE, Decimal(0), AT))
        name = {"own": order.number, "none": None, "another": "v-another"}[number]
        placement = Placement(name, state, tuple(fills), "test")
        try:
            self.run(orders.record(self.engine, order.row.id, placement))
        except Contradiction:
            # refused as a whole: that nothing has changed is for the invariants to see
            type(self).refused += 1
            return
        assert order.state is not OrderState.PLANNED
        assert all(fill.trade_id in order.fills or fill.trade_id.startswith(f"{mine(order)}-") for fill in fills)
        # of an order that never traded no word is believed that it does
        assert order.state not in NEVER_TRADED or state in NEVER_TRADED | UNPROVEN
        self.take(order, placement)

    @rule(order=known, trades=st.permutations(range(len(TRADES))), told=st.integers(0, 3), end=st.sampled_from(ENDS))
    def record_the_truth(self, order: Known, trades: list[int], told: int, end: OrderState | None) -> None:
        """A word that can be true, with trades in any order, known ones among them: it is always taken."""
        if order.state not in UNPROVEN | RESTING:
            return
        fills, total = [], order.filled
        for index in trades[:told]:
            fill = order.trade(index)
            fresh = Decimal(0) if fill.trade_id in order.fills else fill.quantity
            if total + fresh <= QUANTITY:
                fills.append(fill)
                total += fresh
        if total == QUANTITY:
            state = OrderState.FILLED
        elif end is OrderState.CANCELLED:
            state = OrderState.CANCELLED
        elif end is OrderState.REJECTED and not total and order.state is not OrderState.PARTLY_FILLED:
            state = OrderState.REJECTED
        else:
            state = OrderState.PARTLY_FILLED if total else OrderState.ACCEPTED
        placement = Placement(order.number, state, tuple(fills))
        self.run(orders.record(self.engine, order.row.id, placement))
        self.take(order, placement)
        assert order.state is state

    @rule(order=known, state=st.sampled_from([OrderState.ACCEPTED, OrderState.CANCELLED]))
    def record_a_sign_of_life(self, order: Known, state: OrderState) -> None:
        """Of an order that is known to be none it is news, not a word to be passed over."""
        if order.state in NEVER_TRADED | {OrderState.PLANNED}:
            self.refuses(Contradiction, orders.record(self.engine, order.row.id, Placement(order.number, state)))

    @rule(order=known, which=st.integers(0, 9))
    def record_again(self, order: Known, which: int) -> None:
        """Any word that was taken before, however old, changes nothing: the invariants compare every event."""
        if order.words:
            try:
                self.run(orders.record(self.engine, order.row.id, order.words[which % len(order.words)]))
            except Contradiction:
                # since then it was proven that there is no such order
                assert order.state in NEVER_TRADED

    @rule(target=known, first=st.booleans(), side=st.sampled_from(Side), callers=st.integers(1, 2))
    def adopt(self, first: bool, side: Side, callers: int) -> Any:
        symbol = f"{'A' if first else 'B'}{self.example}"
        number = f"v-{symbol}-{next(self.names)}"
        found = OpenOrder(number, None, symbol, side, QUANTITY, Decimal(0), PRICE, "KRW", AT)
        results = self.run(at_once(*(orders.adopt(self.engine, "upbit", found) for _ in range(callers))))
        if any(order.slot == (symbol, side) and order.state in UNPROVEN for order in self.orders):
            assert all(isinstance(result, SymbolBlocked) for result in results)
            return multiple()
        (row,) = [result for result in results if result is not None]
        assert isinstance(row, JournalOrder), row
        order = Known(row, OrderState.PLANNED, [(None, OrderState.PLANNED)], venue_order_id=number)
        order.move(OrderState.SENDING)
        order.move(OrderState.ACCEPTED)
        self.orders.append(order)
        return order

    @rule(order=known)
    def adopt_what_is_known(self, order: Known) -> None:
        if order.venue_order_id is None:
            return
        symbol, side = order.slot
        found = OpenOrder(order.venue_order_id, None, symbol, side, QUANTITY, Decimal(0), PRICE, "KRW", AT)
        assert self.run(orders.adopt(self.engine, "upbit", found)) is None

    # what holds at every moment

    @invariant()
    def now_and_then_the_journal_is_as_the_model(self) -> None:
        if next(self.steps) % COMPARED == 0:
            self.compare()

    def teardown(self) -> None:
        self.compare()
        self.ended.update(order.state for order in self.orders)

    def compare(self) -> None:
        stored, told = self.run(self.read())
        assert set(stored) == {order.row.id for order in self.orders}
        for order in self.orders:
            row = stored[order.row.id]
            assert (row.intent, row.state, row.venue_order_id) == (order.row.intent, order.state, order.venue_order_id)
            assert {fill.trade_id: fill.quantity for fill in row.fills} == order.fills
            assert row.filled_quantity == order.filled <= QUANTITY
            assert told[row.id] == order.history

    @invariant()
    def an_order_is_claimed_once_and_one_of_a_side_is_unproven(self) -> None:
        assert all(order.claimed <= 1 for order in self.orders)
        unproven = [order.slot for order in self.orders if order.state in UNPROVEN]
        assert len(unproven) == len(set(unproven))

    @invariant()
    def a_history_has_no_gap_and_no_way_back(self) -> None:
        for order in self.orders:
            assert order.history[0] == (None, OrderState.PLANNED)
            for (_, stood), (old, new) in zip(order.history, order.history[1:], strict=False):
                assert old == stood
                # nothing leaves a terminal state; a step on the spot tells of fills, a number or a look
                assert old is not None
                assert new == old or (new in TRANSITIONS[old] and old not in TERMINAL)
            assert [new for old, new in order.history if old != new].count(OrderState.SENDING) <= 1

    # what the model knows

    def blocked(self, order: Known) -> bool:
        return any(other is not order and other.slot == order.slot and other.state in UNPROVEN for other in self.orders)

    def fits(self, order: Known, state: OrderState) -> bool:
        """Whether what was filled allows that state, and the other orders do."""
        if state in UNPROVEN:
            return not self.blocked(order)
        if state in NEVER_TRADED:
            return not order.filled
        if state is OrderState.FILLED:
            return order.filled == QUANTITY
        return state is not OrderState.PARTLY_FILLED or order.filled > 0

    def take(self, order: Known, placement: Placement) -> None:
        """The journal took this word: what is new in it is one event."""
        moved = placement.state is not order.state and placement.state in TRANSITIONS[order.state]
        fresh = {fill.trade_id: fill.quantity for fill in placement.fills if fill.trade_id not in order.fills}
        named = order.venue_order_id is None and placement.venue_order_id is not None
        assert order.venue_order_id is None or placement.venue_order_id in (None, order.venue_order_id)
        order.fills |= fresh
        order.venue_order_id = order.venue_order_id or placement.venue_order_id
        order.words.append(placement)
        if moved or fresh or named:
            order.move(placement.state if moved else order.state)

    def refuses(self, error: type[Exception], change: Coroutine[Any, Any, object]) -> None:
        with pytest.raises(error):
            self.run(change)
        type(self).refused += 1

    async def read(self) -> tuple[dict[Any, JournalOrder], dict[Any, History]]:
        symbols = [f"A{self.example}", f"B{self.example}"]
        statement = text(
            "SELECT order_id, from_state, to_state FROM order_events JOIN orders ON orders.id = order_id "
            "WHERE symbol = ANY(:symbols) ORDER BY seq"
        )
        wanted = orders_table.c.symbol.in_(symbols)
        async with self.engine.connect() as connection:
            stored = {order.id: order for order in await read(connection, wanted)}
            told: dict[Any, History] = {order_id: [] for order_id in stored}
            for row in await connection.execute(statement, {"symbols": symbols}):
                old = None if row.from_state is None else OrderState(row.from_state)
                told[row.order_id].append((old, OrderState(row.to_state)))
        return stored, told


def mine(order: Known) -> str:
    return order.row.intent.client_order_id


async def at_once(*calls: Coroutine[Any, Any, T]) -> list[T | BaseException]:
    """What each of the calls returned or, of ours, raised."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, SymbolBlocked):
            raise result
    return results


@pytest.mark.timeout(240)
def test_whatever_is_said_the_journal_keeps_its_promises(database_url: str) -> None:
    async def opened() -> AsyncEngine:
        return open_engine(database_url, pool_size=4, application_name="test")

    with closing(asyncio.Runner()) as runner:
        Journal.runner, Journal.engine = runner, runner.run(opened())
        Journal.examples, Journal.ended, Journal.refused = count(1), Counter(), 0
        run_state_machine_as_test(
            Journal,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                deadline=None,
                derandomize=True,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        runner.run(Journal.engine.dispose())
    # it went everywhere, and was refused much
    for kind in (UNPROVEN, RESTING, TERMINAL, {OrderState.PLANNED}):
        assert sum(Journal.ended[state] for state in kind) > 1
    assert Journal.refused > EXAMPLES
