"""Each kind of message is really recorded by the code whose business it is, not only by a test of its text."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import cast
from uuid import UUID

import pytest
from house import BUY, INSTRUMENT, NOW, QUOTE, STRATEGY, House, settings

from notifications.alert import Claim, Contents, read_payload
from notifications.ledger import Ledger
from notifications.message import Chat, Priority
from operate.arming import arm_market, disarm_market
from operate.states import change_trading_state
from storage import analyses, orders, runs
from storage.exits import begin
from storage.journal import JournalOrder, Origin
from tasks import pipeline
from tasks import runs as ending
from tasks.analysis import see_through
from tasks.desks import notifier_of
from tasks.guard import guard_market
from tasks.orders import BOOK_KEY, resolve_market
from tasks.trade import Analysed, trade
from trading.exits import Exit, ExitKind
from trading.state import State, TradingState
from trading.types import (
    Decision,
    Fill,
    Holdings,
    OpenOrder,
    OrderIntent,
    OrderState,
    Placement,
    Position,
    Side,
    TimeInForce,
)
from workers.errors import Ambiguous, TimedOut
from workers.ports import Absence
from workers.runtime import Runtime

BTC = "KRW-BTC"
PART = Fill("t1", Decimal("0.25"), Decimal(100_000), Decimal(12), NOW)


async def told(house: House) -> dict[str, Contents]:
    """What waits in the ledger by its kind."""
    ledger, found = Ledger(house.redis), {}
    while isinstance(claim := await ledger.claim(list(Chat)), Claim):
        contents = read_payload(claim.payload)
        found[contents.kind] = contents
    return found


async def stored(house: House, symbols: tuple[str, ...] = (BTC,)) -> Analysed:
    run = await runs.open_run(house.engine, market="upbit", slot=NOW, task_id="t", symbols=symbols)
    row = await analyses.store(house.engine, run_id=run.id, market="upbit", symbol=BTC, analysis=BUY, indicators={})
    return Analysed(run.id, row.id, INSTRUMENT, BUY, QUOTE)


async def buy(house: House) -> str:
    runtime = cast(Runtime, house)
    return await trade(runtime, notifier_of(runtime), await stored(house), NOW)


async def resolve(house: House, now: datetime | None = None) -> None:
    await house.redis.delete(BOOK_KEY.format(market="upbit"))
    await resolve_market(cast(Runtime, house), "upbit", now or datetime.now(UTC))


async def sent(house: House) -> JournalOrder:
    """An order that was sent and is not proven."""
    wanted = Exit(ExitKind.STOP_LOSS, Decimal(1), QUOTE.price, QUOTE.price, Decimal(0), "test")
    of = await begin(house.engine, market="upbit", symbol=BTC, exit=wanted, average_price=QUOTE.price)
    intent = OrderIntent("c1", "upbit", BTC, Side.BUY, Decimal(1), Decimal(100_000), "KRW", TimeInForce.GTC)
    order = await orders.plan(house.engine, intent, origin=Origin(exit_id=of.id))
    await orders.claim(house.engine, order.id)
    return await orders.get(house.engine, order.id)


async def resting(house: House) -> JournalOrder:
    order = await sent(house)
    house.venue.book.append(
        OpenOrder("v1", "c1", BTC, Side.BUY, Decimal(1), Decimal(0), order.intent.price, "KRW", NOW)
    )
    return await orders.record(house.engine, order.id, Placement("v1", OrderState.ACCEPTED))


def hold(house: House, price: int) -> None:
    position = Position(Decimal(2), Decimal(100_000))
    house.venue.held = position
    house.venue.everything = Holdings("KRW", house.venue.cash, {BTC: position})
    house.venue.price = Decimal(price)


async def test_an_analysis_is_told_with_its_grade(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    analysed = await stored(house)

    async def resumed(*_: object) -> Analysed:
        return replace(analysed, analysis=replace(BUY, decision=Decision.HOLD))

    monkeypatch.setattr(pipeline, "resume", resumed)
    await pipeline.analyse_and_trade(cast(Runtime, house), "upbit", BTC, analysed.run_id)
    assert "신뢰도: 80% (높음 🔥)" in (await told(house))["analysis_complete"].message.text


@pytest.mark.parametrize("fault", [ConnectionError("the venue hung up"), asyncio.CancelledError()])
async def test_an_analysis_is_told_also_where_its_order_failed(
    house: House, monkeypatch: pytest.MonkeyPatch, fault: BaseException
) -> None:
    analysed = await stored(house)

    async def fails(*_: object) -> str:
        raise fault

    monkeypatch.setattr(pipeline, "trade", fails)
    with pytest.raises(type(fault)):
        await pipeline.analyse_and_trade(cast(Runtime, house), "upbit", BTC, analysed.run_id)
    assert "analysis_complete" in await told(house)


async def test_an_order_that_rests_is_told_as_accepted(house: House) -> None:
    house.venue.replies = [Placement("v1", OrderState.ACCEPTED)]
    assert await buy(house) == "order_accepted"
    assert list(await told(house)) == ["order_accepted"]


async def test_an_order_that_trades_is_told_as_filled(house: House) -> None:
    assert await buy(house) == "order_filled"
    assert list(await told(house)) == ["order_accepted", "order_filled"]


async def test_a_sale_is_told_as_a_buy_is(house: House) -> None:
    hold(house, 94_000)
    await guard_market(cast(Runtime, house), "upbit", datetime.now(UTC))
    assert "매도 주문 체결" in (await told(house))["order_filled"].message.text


async def test_what_a_resting_order_trades_is_told_as_partly_filled(house: House) -> None:
    await resting(house)
    house.venue.book = [replace(house.venue.book[0], filled=PART.quantity)]
    house.venue.truth["c1"] = Placement("v1", OrderState.PARTLY_FILLED, (PART,))
    await resolve(house)
    assert "대기 수량: 0.75" in (await told(house))["order_partly_filled"].message.text


async def test_an_order_that_is_taken_out_of_the_book_is_told_as_cancelled(house: House, tmp_path: Path) -> None:
    house.settings = settings(tmp_path, {"all": {"max_order_age": "1h"}})
    await resting(house)
    await resolve(house, datetime.now(UTC) + timedelta(minutes=61))
    assert "매수 주문 취소: 1건" in (await told(house))["order_cancelled"].message.text


async def test_a_rejection_is_told_with_the_venues_reason(house: House) -> None:
    house.venue.replies = [Placement(None, OrderState.REJECTED, reason="under_min_total")]
    assert await buy(house) == "order_rejected"
    assert "이유: under_min_total" in (await told(house))["order_failed"].message.text


async def test_an_order_that_turns_out_not_to_exist_is_told(house: House) -> None:
    await sent(house)
    house.venue.absence = Absence(1, 0.0)
    await resolve(house)
    assert "매수 주문 미생성" in (await told(house))["order_failed"].message.text


async def test_too_little_cash_is_told_with_balance_and_need(house: House) -> None:
    house.venue.cash = Decimal(1_000)
    assert await buy(house) == "insufficient_cash"
    text = (await told(house))["insufficient_cash"].message.text
    assert "잔액: 1,000원 / 필요: " in text


async def test_an_order_that_stays_unproven_is_an_alarm(house: House) -> None:
    order = await sent(house)
    house.venue.absence = Absence(99, 0.0)
    await resolve(house, order.created_at + timedelta(seconds=61))
    assert (await told(house))["order_unproven"].message.priority is Priority.CRITICAL


async def test_two_orders_that_could_be_it_are_an_alarm_and_a_halt(house: House) -> None:
    await sent(house)
    house.venue.truth["c1"] = Ambiguous("upbit: two could be it")
    with pytest.raises(Ambiguous):
        await resolve(house)
    assert {"order_ambiguous", "trading_state"} <= set(await told(house))


async def test_an_order_by_hand_is_told_as_adopted(house: House) -> None:
    await resting(house)
    house.venue.book.append(OpenOrder("hand", None, BTC, Side.BUY, Decimal(1), Decimal(0), Decimal(1), "KRW", NOW))
    await resolve(house)
    assert "order_adopted" in await told(house)


async def test_a_stop_is_told_when_it_begins_and_when_it_has_sold(house: House) -> None:
    hold(house, 94_000)
    await guard_market(cast(Runtime, house), "upbit", datetime.now(UTC))
    assert {"exit_begun", "exit_ended"} <= set(await told(house))


async def test_a_stop_that_may_not_sell_is_an_alarm(house: House, tmp_path: Path) -> None:
    live = {"trading_mode": "live", "upbit_access_key": "a", "upbit_secret_key": "s"}
    house.settings = settings(tmp_path, STRATEGY, **live)
    hold(house, 90_000)
    await guard_market(cast(Runtime, house), "upbit", datetime.now(UTC))
    assert (await told(house))["exit_not_armed"].message.priority is Priority.CRITICAL


@pytest.mark.parametrize(
    ("state", "title"),
    [(State.REDUCING, "🟡"), (State.HALTED, "⛔"), (State.ACTIVE, "🟢")],
)
async def test_a_pause_a_halt_and_a_resumption_are_told(house: House, state: State, title: str) -> None:
    row = TradingState(state, "lunch", None, "upbit")
    await change_trading_state(house.engine, notifier_of(cast(Runtime, house)), row, "test")
    assert (await told(house))["trading_state"].message.text.startswith(title)


async def test_arming_and_disarming_are_told(house: House, emptied_database_url: str, tmp_path: Path) -> None:
    live = {"trading_mode": "live", "upbit_access_key": "a", "upbit_secret_key": "s"}
    connections = house.redis.connection_pool.connection_kwargs
    url = f"redis://:{connections['password']}@{connections['host']}:{connections['port']}/{connections['db']}"
    its = settings(tmp_path, STRATEGY, **live, database_url=emptied_database_url, redis_url=url)
    await arm_market(its, "upbit", "1h")
    assert (await told(house))["arming"].message.text.startswith("🔓")
    await disarm_market(its, "upbit")
    assert (await told(house))["arming"].message.text.startswith("🔒")


async def ended(house: House, *symbols: str) -> UUID:
    """A run of these symbols, of which the first was analysed and the last failed."""
    analysed = await stored(house, symbols)
    for symbol in symbols[:-1]:
        await runs.finish_symbol(house.engine, analysed.run_id, symbol, "hold")
    await ending.fail(cast(Runtime, house), "upbit", analysed.run_id, symbols[-1], TimedOut("upbit: no answer"))
    return analysed.run_id


@pytest.fixture
def unvalued(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is done besides at the end of a run; it needs a venue with an account."""
    done: list[str] = []

    def step(name: str) -> Callable[..., Awaitable[None]]:
        async def take(*_: object) -> None:
            done.append(name)

        return take

    monkeypatch.setattr(ending, "take_snapshot", step("snapshot"))
    monkeypatch.setattr(ending, "check_losses", step("losses"))
    return done


async def test_a_run_is_summed_up_once_after_its_last_symbol(house: House, unvalued: list[str]) -> None:
    run_id = await ended(house, BTC, "KRW-ETH", "KRW-XRP")
    text = (await told(house))["run_summary"].message.text
    lines = text.splitlines()
    assert lines[0] == "🤖 자동 거래 실행 완료: upbit"
    for line in ("분석: 1 / 3", "접수된 주문: 매수 0, 매도 0", "실패: 1 (KRW-XRP)"):
        assert line in lines
    assert "📈 매수 1" in text
    await ending.complete(cast(Runtime, house), "upbit", run_id)
    assert await told(house) == {}
    assert unvalued == ["snapshot", "losses"]


async def test_a_single_analysis_has_no_summary_of_its_own(house: House, unvalued: list[str]) -> None:
    await ended(house, BTC)
    assert "run_summary" not in await told(house)


async def test_a_portfolio_that_cannot_be_valued_hides_no_summary(
    house: House, unvalued: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> None:
        raise TimedOut("upbit: no answer")

    monkeypatch.setattr(ending, "take_snapshot", fails)
    await ended(house, BTC, "KRW-ETH")
    assert "run_summary" in await told(house)
    assert unvalued == ["losses"], "the circuit breaker looks all the same"


async def test_a_run_whose_last_worker_died_before_it_ended_is_ended_by_the_next_delivery(
    house: House, unvalued: list[str]
) -> None:
    analysed = await stored(house, (BTC, "KRW-ETH"))
    for symbol in (BTC, "KRW-ETH"):
        await runs.finish_symbol(house.engine, analysed.run_id, symbol, "hold")
    for _ in range(2):
        assert await see_through(cast(Runtime, house), "upbit", BTC, analysed.run_id) == "duplicate"
    assert list(await told(house)) == ["run_summary"]
    assert unvalued == ["snapshot", "losses"]
