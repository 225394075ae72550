"""The journal sends an order at most once and believes only evidence, however often and from where it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from storage import analyses, orders, runs
from storage.analyses import StoredAnalysis
from storage.counts import run_counts
from storage.engine import open_engine
from storage.errors import Contradiction, NotFound, SymbolBlocked
from storage.journal import JournalOrder, Origin
from storage.recent import recent_decisions, recent_orders, recent_runs
from trading.types import (
    Analysis,
    Decision,
    Fill,
    OpenOrder,
    OrderIntent,
    OrderState,
    Placement,
    PriceRange,
    PriceRanges,
    Side,
)

SLOT = datetime(2026, 1, 2, 3, 0, tzinfo=UTC)
ANALYSIS = Analysis(
    decision=Decision.BUY,
    confidence=72,
    reasons=("RSI 28", "above the 200-day average"),
    ranges=PriceRanges(
        appropriate_buy=PriceRange(Decimal("99.5"), Decimal("100.5")),
        appropriate_sell=PriceRange(Decimal(108), Decimal(110)),
        buy_hope=PriceRange(Decimal(95), Decimal(97)),
        sell_target=PriceRange(Decimal(115), Decimal("120.00000001")),
    ),
    model="rules",
    price=Decimal("100.12345678"),
    at=SLOT,
)


@pytest.fixture
async def engine(emptied_database_url: str) -> AsyncIterator[AsyncEngine]:
    opened = open_engine(emptied_database_url, pool_size=20, application_name="test")
    yield opened
    await opened.dispose()


@pytest.fixture
async def analysis(engine: AsyncEngine) -> StoredAnalysis:
    return await stored(engine)


async def stored(
    engine: AsyncEngine, symbol: str = "KRW-BTC", *, market: str = "upbit", hours: int = 0
) -> StoredAnalysis:
    run = await runs.open_run(
        engine, market=market, slot=SLOT + timedelta(hours=hours), task_id="t", symbols=(symbol, "other")
    )
    return await analyses.store(
        engine, run_id=run.id, market=market, symbol=symbol, analysis=ANALYSIS, indicators={}, trace_id="trace"
    )


def intent(client_order_id: str = "upbit-b0-0-a", side: Side = Side.BUY, quantity: str = "1.5") -> OrderIntent:
    return OrderIntent(client_order_id, "upbit", "KRW-BTC", side, Decimal(quantity), Decimal("100.1"), currency="KRW")


def fill(trade_id: str, quantity: str) -> Fill:
    return Fill(trade_id, Decimal(quantity), Decimal("100.05"), Decimal("0.05"), SLOT)


async def planned(engine: AsyncEngine, analysis: StoredAnalysis, what: OrderIntent | None = None) -> JournalOrder:
    origin = Origin(analysis.id, analysis.run_id)
    return await orders.plan(engine, what or intent(), origin=origin, trace_id="trace")


async def sent(engine: AsyncEngine, analysis: StoredAnalysis, what: OrderIntent | None = None) -> JournalOrder:
    order = await planned(engine, analysis, what)
    assert await orders.claim(engine, order.id)
    return await orders.get(engine, order.id)


async def events(engine: AsyncEngine, order_id: UUID) -> list[tuple[str | None, str]]:
    statement = text("SELECT from_state, to_state FROM order_events WHERE order_id = :id ORDER BY seq")
    async with engine.connect() as connection:
        return [tuple(row) for row in await connection.execute(statement, {"id": order_id})]


# analyses


async def test_an_analysis_is_read_as_it_was_stored(engine: AsyncEngine, analysis: StoredAnalysis) -> None:
    assert analysis.fresh
    assert analysis.analysis == ANALYSIS
    assert await analyses.get(engine, analysis.id) == replace(analysis, fresh=False)
    assert await analyses.find(engine, analysis.run_id, "KRW-BTC") == replace(analysis, fresh=False)


async def test_a_repeated_analysis_returns_the_first(engine: AsyncEngine, analysis: StoredAnalysis) -> None:
    async def again(confidence: int) -> StoredAnalysis:
        return await analyses.store(
            engine,
            run_id=analysis.run_id,
            market="upbit",
            symbol="other",
            analysis=replace(ANALYSIS, confidence=confidence),
            indicators={},
        )

    results = await asyncio.gather(*(again(n) for n in range(20)))
    assert sum(result.fresh for result in results) == 1
    assert len({result.id for result in results}) == 1
    assert len({result.analysis.confidence for result in results}) == 1


async def test_an_analysis_that_is_not_there_is_said_so(engine: AsyncEngine, analysis: StoredAnalysis) -> None:
    assert await analyses.find(engine, analysis.run_id, "other") is None
    with pytest.raises(NotFound):
        await analyses.get(engine, uuid4())


async def test_indicators_of_every_kind_are_kept(engine: AsyncEngine) -> None:
    run = await runs.open_run(engine, market="upbit", slot=SLOT, task_id="t", symbols=("A",))
    indicators = {"rsi": 28.5, "atr": float("nan"), "price": Decimal("100.10"), "at": SLOT, "bands": (1, 2.5, None)}
    kept = await analyses.store(
        engine, run_id=run.id, market="upbit", symbol="A", analysis=ANALYSIS, indicators=indicators
    )
    assert kept.indicators == {
        "rsi": 28.5,
        "atr": None,
        "price": "100.10",
        "at": SLOT.isoformat(),
        "bands": [1, 2.5, None],
    }


async def test_positions_are_valued_at_the_newest_analysis(engine: AsyncEngine) -> None:
    for hours, price in ((0, "100"), (1, "130")):
        run = await runs.open_run(
            engine, market="upbit", slot=SLOT + timedelta(hours=hours), task_id="t", symbols=("A",)
        )
        seen = replace(ANALYSIS, price=Decimal(price), at=SLOT + timedelta(hours=hours))
        await analyses.store(engine, run_id=run.id, market="upbit", symbol="A", analysis=seen, indicators={})
    assert await analyses.last_prices(engine, "upbit") == {"A": Decimal(130)}
    assert await analyses.last_prices(engine, "kis") == {}


# plan and claim


async def test_an_intent_is_planned_once_by_many_deliveries(engine: AsyncEngine, analysis: StoredAnalysis) -> None:
    results = await asyncio.gather(*(planned(engine, analysis, intent(quantity=str(1 + n))) for n in range(20)))
    assert len({order.id for order in results}) == 1
    assert len({order.intent.quantity for order in results}) == 1
    assert await events(engine, results[0].id) == [(None, "planned")]


async def test_a_plan_keeps_every_digit(engine: AsyncEngine, analysis: StoredAnalysis) -> None:
    exact = replace(intent(), quantity=Decimal("123456789.00000001"), price=Decimal("0.00012345"))
    assert (await planned(engine, analysis, exact)).intent == exact


async def test_an_order_id_of_another_decision_is_refused(engine: AsyncEngine, analysis: StoredAnalysis) -> None:
    await planned(engine, analysis)
    with pytest.raises(Contradiction, match="already"):
        await planned(engine, analysis, intent(side=Side.SELL))
    with pytest.raises(Contradiction, match="already"):
        await planned(engine, await stored(engine, hours=1))


async def test_exactly_one_of_many_workers_may_send(engine: AsyncEngine, analysis: StoredAnalysis) -> None:
    order = await planned(engine, analysis)
    claims = await asyncio.gather(*(orders.claim(engine, order.id) for _ in range(20)))
    assert sum(claims) == 1
    assert await events(engine, order.id) == [(None, "planned"), ("planned", "sending")]


async def test_an_order_left_in_sending_is_never_claimed_again(engine: AsyncEngine, analysis: StoredAnalysis) -> None:
    order = await sent(engine, analysis)
    assert (await planned(engine, analysis)).state is OrderState.SENDING
    assert not await orders.claim(engine, order.id)


async def test_an_unproven_order_blocks_the_next_of_its_side(engine: AsyncEngine, analysis: StoredAnalysis) -> None:
    first = await sent(engine, analysis)
    second = await planned(engine, analysis, intent("upbit-b1-0-b"))
    exit_order = await planned(engine, analysis, intent("upbit-s0-0-c", Side.SELL))
    with pytest.raises(SymbolBlocked):
        await orders.claim(engine, second.id)
    assert await orders.claim(engine, exit_order.id)
    await orders.set_state(engine, first.id, OrderState.UNKNOWN, expected=OrderState.SENDING, reason="TimedOut")
    with pytest.raises(SymbolBlocked):
        await orders.claim(engine, second.id)
    await orders.set_state(engine, first.id, OrderState.NOT_CREATED, expected=OrderState.UNKNOWN)
    assert await orders.claim(engine, second.id)


async def test_claiming_an_order_that_is_not_there_is_an_error(engine: AsyncEngine) -> None:
    with pytest.raises(NotFound):
        await orders.claim(engine, uuid4())


# record


async def test_a_filled_order_is_recorded_with_its_fills(engine: AsyncEngine, analysis: StoredAnalysis) -> None:
    order = await sent(engine, analysis)
    word = Placement("venue-1", OrderState.FILLED, (fill("t1", "1"), fill("t2", "0.5")))
    recorded = await orders.record(engine, order.id, word, "trace-2")
    assert (recorded.state, recorded.venue_order_id, recorded.fills) == (OrderState.FILLED, "venue-1", word.fills)
    assert recorded.filled_quantity == Decimal("1.5")
    assert await orders.for_analysis(engine, analysis.id) == [recorded]
    assert await events(engine, order.id) == [(None, "planned"), ("planned", "sending"), ("sending", "filled")]


async def test_recording_many_times_at_once_books_once(engine: AsyncEngine, analysis: StoredAnalysis) -> None:
    order = await sent(engine, analysis)
    word = Placement("venue-1", OrderState.FILLED, (fill("t1", "1"), fill("t2", "0.5")))
    results = await asyncio.gather(*(orders.record(engine, order.id, word) for _ in range(20)))
    assert {result.state for result in results} == {OrderState.FILLED}
    assert {result.fills for result in results} == {word.fills}
    assert len(await events(engine, order.id)) == 3


async def test_fills_arrive_bit_by_bit(engine: AsyncEngine, analysis: StoredAnalysis) -> None:
    order = await sent(engine, analysis)
    first, second, third = fill("t1", "0.5"), fill("t2", "0.25"), fill("t3", "0.75")
    for word in (
        Placement("v", OrderState.ACCEPTED),
        Placement("v", OrderState.PARTLY_FILLED, (first,)),
        Placement("v", OrderState.PARTLY_FILLED, (first, second)),
        Placement("v", OrderState.PARTLY_FILLED, (first,)),
        Placement("v", OrderState.FILLED, (third, second, first)),
        Placement("v", OrderState.ACCEPTED),
    ):
        recorded = await orders.record(engine, order.id, word)
    assert recorded.state is OrderState.FILLED
    assert recorded.fills == (first, second, third)
    assert [to for _, to in await events(engine, order.id)] == [
        "planned", "sending", "accepted", "partly_filled", "partly_filled", "filled",
    ]  # fmt: skip


async def test_an_unknown_order_is_settled_by_the_venues_word(engine: AsyncEngine, analysis: StoredAnalysis) -> None:
    order = await sent(engine, analysis)
    unknown = await orders.record(engine, order.id, Placement(None, OrderState.UNKNOWN, reason="TimedOut"))
    assert (unknown.state, unknown.reason) == (OrderState.UNKNOWN, "TimedOut")
    assert [found.id for found in await orders.unproven(engine, "upbit", "KRW-BTC")] == [order.id]
    settled = await orders.record(engine, order.id, Placement("v", OrderState.FILLED, (fill("t1", "1.5"),)))
    assert settled.state is OrderState.FILLED
    assert await orders.unproven(engine, "upbit", "KRW-BTC") == []


@pytest.mark.parametrize(
    ("known", "word", "said"),
    [
        (None, Placement("v", OrderState.ACCEPTED), "never sent"),
        (Placement("v", OrderState.ACCEPTED), Placement("w", OrderState.ACCEPTED), "is v at the venue, not w"),
        (Placement(None, OrderState.REJECTED, reason="r"), Placement("v", OrderState.ACCEPTED), "compare the two"),
        (Placement("v", OrderState.CANCELLED), Placement("v", OrderState.FILLED, (fill("t", "1.5"),)), "compare"),
        (Placement("v", OrderState.ACCEPTED), Placement("v", OrderState.FILLED), "ck_orders_filled_is_whole"),
        (
            Placement("v", OrderState.ACCEPTED),
            Placement("v", OrderState.FILLED, (fill("t", "1.6"),)),
            "ck_orders_filled_quantity",
        ),
        (Placement("v", OrderState.ACCEPTED), Placement("v", OrderState.PARTLY_FILLED), "partly_filled_has_fills"),
    ],
)
async def test_a_word_that_contradicts_the_journal_changes_nothing(
    engine: AsyncEngine, analysis: StoredAnalysis, known: Placement | None, word: Placement, said: str
) -> None:
    if known is None:
        before = await planned(engine, analysis)
    else:
        before = await orders.record(engine, (await sent(engine, analysis)).id, known)
    with pytest.raises(Contradiction, match=said):
        await orders.record(engine, before.id, word)
    assert await orders.get(engine, before.id) == before


async def test_one_trade_is_never_booked_to_two_orders(engine: AsyncEngine, analysis: StoredAnalysis) -> None:
    first = await sent(engine, analysis)
    await orders.record(engine, first.id, Placement("v", OrderState.PARTLY_FILLED, (fill("t1", "1"),)))
    second = await sent(engine, analysis, intent("upbit-b1-0-b"))
    with pytest.raises(Contradiction, match="belongs to another order"):
        await orders.record(engine, second.id, Placement("w", OrderState.PARTLY_FILLED, (fill("t1", "1"),)))


async def test_one_order_of_the_venue_is_never_adopted_twice(engine: AsyncEngine, analysis: StoredAnalysis) -> None:
    first = await sent(engine, analysis)
    await orders.record(engine, first.id, Placement("v", OrderState.ACCEPTED))
    second = await sent(engine, analysis, intent("upbit-b1-0-b"))
    with pytest.raises(Contradiction, match="uq_orders_venue_order_id"):
        await orders.record(engine, second.id, Placement("v", OrderState.ACCEPTED))


async def test_an_order_that_is_not_there_cannot_be_recorded(engine: AsyncEngine) -> None:
    with pytest.raises(NotFound):
        await orders.record(engine, uuid4(), Placement("v", OrderState.ACCEPTED))


# states and searches


async def test_a_state_is_set_only_from_the_expected_one(engine: AsyncEngine, analysis: StoredAnalysis) -> None:
    order = await sent(engine, analysis)
    results = await asyncio.gather(
        *(
            orders.set_state(
                engine, order.id, OrderState.UNKNOWN, expected=OrderState.SENDING, reason="TimedOut", trace_id="t"
            )
            for _ in range(10)
        )
    )
    assert sum(results) == 1
    assert (await orders.get(engine, order.id)).reason == "TimedOut"


async def test_open_orders_are_found_by_what_is_known_of_them(engine: AsyncEngine, analysis: StoredAnalysis) -> None:
    order = await planned(engine, analysis)
    assert [o.id for o in await orders.planned(engine, "upbit", "KRW-BTC")] == [order.id]
    assert [o.id for o in await orders.left_planned(engine, "upbit", -1)] == [order.id]
    assert await orders.left_planned(engine, "upbit", 60) == []
    await orders.claim(engine, order.id)
    assert [o.id for o in await orders.unproven(engine, "upbit")] == [order.id]
    assert await orders.unproven(engine, "kis") == []
    await orders.record(engine, order.id, Placement("v", OrderState.ACCEPTED))
    assert [o.id for o in await orders.resting(engine, "upbit", "KRW-BTC")] == [order.id]
    await orders.record(engine, order.id, Placement("v", OrderState.PARTLY_FILLED, (fill("t1", "0.5"),)))
    [resting] = await orders.resting(engine, "upbit")
    assert resting.remaining == Decimal(1)
    ended = Placement("v", OrderState.CANCELLED, (fill("t1", "0.5"),), "partly_filled: 0.5 of 1.5")
    assert (await orders.record(engine, order.id, ended)).filled_quantity == Decimal("0.5")
    assert await orders.resting(engine, "upbit") == []


async def test_looks_that_find_no_order_are_counted_across_processes(
    engine: AsyncEngine, analysis: StoredAnalysis
) -> None:
    order = await sent(engine, analysis)
    await orders.set_state(engine, order.id, OrderState.UNKNOWN, expected=OrderState.SENDING)
    first = await orders.missed(engine, order)
    await asyncio.sleep(0.2)
    second = await orders.missed(engine, order)
    assert (first.looks, second.looks) == (1, 2)
    assert 0 <= first.seconds < second.seconds - 0.15


# orders of others


FOUND = OpenOrder(
    "v9", None, "KRW-BTC", Side.BUY, Decimal(2), Decimal("0.5"), Decimal(99), "KRW", SLOT
)  # fmt: skip


async def test_an_order_nobody_here_sent_is_adopted_once(engine: AsyncEngine) -> None:
    results = await asyncio.gather(*(orders.adopt(engine, "upbit", FOUND) for _ in range(8)))
    [adopted] = [order for order in results if order is not None]
    assert (adopted.state, adopted.venue_order_id, adopted.origin) == (OrderState.ACCEPTED, "v9", Origin(adopted=True))
    assert adopted.intent.client_order_id == "adopted-upbit-v9"
    assert [to for _, to in await events(engine, adopted.id)] == ["planned", "sending", "accepted"]


async def test_an_order_of_ours_is_never_adopted(engine: AsyncEngine, analysis: StoredAnalysis) -> None:
    order = await sent(engine, analysis)
    with pytest.raises(SymbolBlocked, match="may be one that is unproven"):
        await orders.adopt(engine, "upbit", FOUND)
    await orders.record(engine, order.id, Placement("v9", OrderState.ACCEPTED))
    assert await orders.adopt(engine, "upbit", FOUND) is None
    by_identifier = replace(FOUND, venue_order_id="v10", client_order_id=order.intent.client_order_id)
    assert await orders.adopt(engine, "upbit", by_identifier) is None


# reports


async def test_counts_are_per_market_and_of_the_runs_asked_for(engine: AsyncEngine, analysis: StoredAnalysis) -> None:
    order = await sent(engine, analysis)
    word = Placement("v", OrderState.FILLED, (fill("t1", "1"), fill("t2", "0.5")))
    await orders.record(engine, order.id, word)
    await planned(engine, analysis, intent("upbit-b1-0-b"))
    await runs.fail_symbol(engine, analysis.run_id, "other", "TimedOut")
    await runs.skip_run(engine, market="kis", slot=SLOT, task_id="t", reason="closed")
    later = await stored(engine, hours=1)
    of_first = {"symbols": 2, "analyses": 1, "orders": 2, "fills": 2, "failed": 1}
    of_later = {"symbols": 2, "analyses": 1, "orders": 0, "fills": 0, "failed": 0}
    nothing = {"symbols": 0, "analyses": 0, "orders": 0, "fills": 0, "failed": 0}
    assert await run_counts(engine, [analysis.run_id]) == {"upbit": of_first}
    assert await run_counts(engine, [later.run_id]) == {"upbit": of_later}
    both = {name: of_first[name] + of_later[name] for name in of_first}
    assert await run_counts(engine) == {"kis": nothing, "upbit": both}
    assert await run_counts(engine, []) == {}
    assert await run_counts(engine, since=datetime.now(UTC) + timedelta(hours=1)) == {}
    assert await run_counts(engine, since=datetime.now(UTC) - timedelta(hours=1)) == {"kis": nothing, "upbit": both}


async def test_the_board_shows_the_newest_first(engine: AsyncEngine, analysis: StoredAnalysis) -> None:
    await runs.finish_symbol(engine, analysis.run_id, "KRW-BTC", "bought")
    await stored(engine, "KRW-ETH", hours=1)
    first = await planned(engine, analysis)
    second = await planned(engine, analysis, intent("upbit-b1-0-b"))
    await orders.claim(engine, first.id)
    shown = await recent_runs(engine)
    assert [(run.pending, run.done, run.failed) for run in shown] == [(2, 0, 0), (1, 1, 0)]
    decisions = await recent_decisions(engine)
    assert [(row.symbol, row.outcome, row.decision) for row in decisions] == [
        ("KRW-ETH", None, Decision.BUY),
        ("KRW-BTC", "bought", Decision.BUY),
    ]
    board = await recent_orders(engine)
    assert [(row.id, row.state, row.side) for row in board] == [
        (first.id, OrderState.SENDING, Side.BUY),
        (second.id, OrderState.PLANNED, Side.BUY),
    ]
    assert len(await recent_orders(engine, limit=1)) == 1
