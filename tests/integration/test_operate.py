"""What an operator asks and orders, answered from real rows in both languages."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest
from house import BUY, settings
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner

from cli import app
from operate import (
    CannotAnswer,
    disarm_market,
    explain,
    pause,
    resume,
    set_trading_state,
    show_daily,
    show_locks,
    show_models,
    show_orders,
    show_pnl,
    show_positions,
    show_status,
    unlock,
)
from operate.locks import BREAKER
from sandbox.local import LocalRedis
from settings import Settings, get_settings
from storage import analyses, armings, exits, orders, runs, trading_states
from storage.engine import open_engine
from storage.journal import Origin
from storage.redis import open_redis
from tasks import losses
from trading.exits import flatten
from trading.state import State, TradingState
from trading.types import Fill, OrderIntent, OrderState, Placement, Position, Side, TimeInForce
from workers.llm.blocks import Blocks

BTC, ETH = "KRW-BTC", "KRW-ETH"
BY = "telegram:42 (kim)"


@dataclass
class Desk:
    """The rows of one test and the settings that name their servers."""

    engine: AsyncEngine
    redis: Redis
    settings: Settings

    def with_settings(self, **values: object) -> Settings:
        given = self.settings.model_dump(exclude_defaults=True) | values
        return Settings(_env_file=None, **given)  # type: ignore[call-arg, arg-type]

    async def trade(self, symbol: str, side: Side, quantity: int, price: int, at: datetime, fee: int = 0) -> None:
        intent = OrderIntent(
            f"test-{uuid.uuid4().hex[:12]}",
            "upbit",
            symbol,
            side,
            Decimal(quantity),
            Decimal(price),
            "KRW",
            TimeInForce.IOC,
        )
        order = await orders.plan(self.engine, intent, origin=Origin(exit_id=await self.ended_exit(symbol)))
        await orders.claim(self.engine, order.id)
        fill = Fill(f"t-{intent.client_order_id}", intent.quantity, intent.price, Decimal(fee), at)
        placed = Placement(f"v-{intent.client_order_id}", OrderState.FILLED, (fill,))
        await orders.record(self.engine, order.id, placed)

    async def ended_exit(self, symbol: str) -> uuid.UUID:
        exit = flatten(Position(Decimal(1), Decimal(0)), Decimal(1), "an earlier test")
        begun = await exits.begin(self.engine, market="upbit", symbol=symbol, exit=exit, average_price=Decimal(0))
        await exits.end(self.engine, begun.id, "sold_all")
        return begun.id


@pytest.fixture
async def desk(emptied_database_url: str, redis_server: LocalRedis, tmp_path: Path) -> AsyncIterator[Desk]:
    engine, redis = open_engine(emptied_database_url), open_redis(redis_server.url)
    await redis.flushdb()
    its = settings(
        tmp_path,
        {"all": {"min_interval": "10m", "max_trades_per_day": 2}},
        database_url=emptied_database_url,
        redis_url=redis_server.url,
        upbit_symbols=[BTC, ETH],
        kis_symbols=[],
        yfinance_symbols=[],
        notify_language="en",
    )
    yield Desk(engine, redis, its)
    await redis.aclose()
    await engine.dispose()


async def test_profit_is_after_fees_with_percent_and_says_what_is_unrealised(desk: Desk) -> None:
    now = datetime.now(UTC)
    await desk.trade(BTC, Side.BUY, 2, 100_000, now - timedelta(days=20), fee=100)
    await desk.trade(BTC, Side.SELL, 1, 110_000, now - timedelta(minutes=1), fee=50)
    # sold and never bought here: its profit is in no sum
    await desk.trade(ETH, Side.SELL, 1, 50_000, now - timedelta(minutes=1))
    run = await runs.open_run(desk.engine, market="upbit", slot=now, task_id="t", symbols=[BTC])
    await analyses.store(desk.engine, run_id=run.id, market="upbit", symbol=BTC, analysis=BUY, indicators={})

    said = await show_pnl(desk.settings, 7)
    # the cost of one unit is 100,050 with its share of the buying fee; 110,000 less 50 less that
    assert "realised: +₩9,900 (+9.90%) (2 fills)" in said
    assert "fees: ₩50, taxes: ₩0" in said
    assert "unrealised: -₩50 (-0.05%) (1 symbols held, worth ₩100,000)" in said
    assert f"not counted, cost unknown: {ETH}" in said
    assert "upbit (paper), KRW" in said
    korean = await show_pnl(desk.with_settings(notify_language="ko"), 30)
    assert "실현 손익: +9,900원 (+9.90%) (체결 3건)" in korean
    assert "평가 손익: -50원" in korean
    for days in (0, -1, 100_000):
        with pytest.raises(CannotAnswer, match="days: must be from 1 to"):
            await show_pnl(desk.settings, days)


async def test_a_period_without_trades_says_so(desk: Desk) -> None:
    assert "nothing was traded and nothing is held" in await show_pnl(desk.settings, 1)
    assert await show_locks(desk.settings) == "nothing keeps from trading"


async def test_the_day_so_far_is_told_as_the_daily_report_is(desk: Desk) -> None:
    now = datetime.now(UTC)
    await desk.trade(BTC, Side.BUY, 2, 100_000, now - timedelta(seconds=1), fee=100)
    said = await show_daily(desk.with_settings(notify_language="ko"))
    assert "200,000원" in said
    assert "매수" in said
    assert "Crypto (upbit)" in await show_daily(desk.settings)


async def test_what_is_shown_is_korean_unless_english_is_asked_for(desk: Desk) -> None:
    now = datetime.now(UTC)
    await desk.trade(BTC, Side.BUY, 2, 100_000, now)
    run = await runs.open_run(desk.engine, market="upbit", slot=now, task_id="t", symbols=[BTC])
    stored = await analyses.store(
        desk.engine, run_id=run.id, market="upbit", symbol=BTC, analysis=BUY, indicators={"rsi": 31.0}
    )
    halted = TradingState(State.HALTED, "점검", None, "upbit")
    await trading_states.write(desk.engine, halted, by="cli:root")
    korean, english = desk.with_settings(notify_language="ko"), desk.settings
    for show, in_korean, in_english in (
        (show_status, "upbit 거래 전체 중지: 점검", "trading of upbit is halted: 점검"),
        (show_status, "거래 모드: 모의 투자", "mode paper"),
        (show_status, "upbit: 워커 신호 없음, 대기 0건", "upbit: heartbeat never, 0 waiting"),
        (show_positions, "아직 계좌가 없습니다", "no accounts yet"),
        (partial(show_orders, limit=5), "매수 2/2, 가격 100,000 KRW: 체결", "buy 2/2 at 100,000 KRW: filled"),
        (partial(show_models, clear=False), "모든 모델을 쓸 수 있습니다", "every model may be asked"),
        (partial(explain, analysis_id=str(stored.id)), "매수, 신뢰도 80, 현재가 100,000", "buy with confidence 80 at"),
        (partial(explain, analysis_id=str(stored.id)), "지표: rsi 31", "indicators: rsi 31"),
    ):
        assert in_korean in await show(korean)
        assert in_english in await show(english)
    assert "upbit 실거래를 해제했습니다" in await disarm_market(korean, "upbit")


async def locks(desk: Desk, settings: Settings | None = None) -> dict[str, str]:
    """The locks by name."""
    lines = (await show_locks(settings or desk.settings)).splitlines()
    pairs = [line.split(". ", 1)[1].partition(": ") for line in lines]
    assert [line.split(".", 1)[0] for line in lines] == [str(number) for number in range(1, len(lines) + 1)]
    return {name: told for name, _, told in pairs}


async def test_everything_that_keeps_from_trading_has_a_name(desk: Desk) -> None:
    now = datetime.now(UTC)
    engine = desk.engine
    halted = TradingState(State.HALTED, "hands off", now + timedelta(hours=2), "upbit", ETH)
    await trading_states.write(engine, halted, by="cli:root")
    broken = TradingState(State.REDUCING, "circuit breaker: daily loss 12%", now + timedelta(hours=3), "upbit")
    await trading_states.write(engine, broken, by=losses.BY)
    intent = OrderIntent("lost", "upbit", ETH, Side.BUY, Decimal(1), Decimal(1), "KRW", TimeInForce.GTC)
    lost = await orders.plan(engine, intent, origin=Origin(exit_id=await desk.ended_exit(ETH)))
    await orders.claim(engine, lost.id)
    exit = flatten(Position(Decimal(1), Decimal(0)), Decimal(1), BY)
    await exits.begin(engine, market="upbit", symbol=ETH, exit=exit, average_price=Decimal(0))
    for _ in range(2):
        await desk.trade(BTC, Side.BUY, 1, 100_000, now)
    await Blocks(desk.redis).close("gemini-2.5-pro", "the-secret-key", 600, "429: quota")

    found = await locks(desk)
    order = f"order-{lost.id.hex[:8]}"
    blocked = next(name for name in found if name.startswith("model-gemini-2.5-pro-"))
    assert set(found) == {
        "state-upbit-KRW-ETH",
        "breaker-upbit",
        order,
        "exit-upbit-KRW-ETH",
        "interval-upbit-KRW-BTC",
        "daily-upbit-KRW-BTC",
        blocked,
    }
    assert "hands off (cli:root, " in found["state-upbit-KRW-ETH"]
    assert "2 trades today, 2 at most" in found["daily-upbit-KRW-BTC"]
    assert "the-secret-key" not in str(found)
    liftable = {name for name, told in found.items() if told.endswith("[can be lifted]")}
    assert liftable == {"state-upbit-KRW-ETH", "breaker-upbit", blocked}

    for name in (order, "exit-upbit-KRW-ETH", "daily-upbit-KRW-BTC", "state-kis"):
        with pytest.raises(CannotAnswer, match=name):
            await unlock(desk.settings, name, BY)
    with pytest.raises(CannotAnswer, match="settled only by evidence"):
        await unlock(desk.settings, order, BY)

    for name in ("STATE-upbit-krw-eth", "breaker-upbit", blocked):
        assert "is lifted" in await unlock(desk.settings, name, BY)
    assert not liftable & set(await locks(desk))
    assert await trading_states.resumed_at(engine, "upbit") is not None
    assert await lifted_by(engine) == {BY}


async def lifted_by(engine: AsyncEngine) -> set[str]:
    async with engine.connect() as connection:
        rows = await connection.execute(text("SELECT set_by FROM trading_states WHERE state = 'active'"))
        return {row.set_by for row in rows}


async def test_a_live_market_that_is_not_armed_is_a_lock_until_it_is(desk: Desk) -> None:
    live = desk.with_settings(trading_mode="live", upbit_access_key="a", upbit_secret_key="s")
    assert "no order is sent" in (await locks(desk, live))["arming-upbit"]
    with pytest.raises(CannotAnswer, match="autotrader arm upbit"):
        await unlock(live, "arming-upbit", BY)
    await armings.arm(desk.engine, "upbit", datetime.now(UTC) + timedelta(hours=1), "test")
    assert "arming-upbit" not in await show_locks(live)


def test_the_rows_of_the_circuit_breaker_are_told_apart() -> None:
    assert BREAKER == losses.BY


async def test_a_pause_buys_nothing_says_who_and_never_loosens_a_halt(desk: Desk) -> None:
    assert "buying in upbit is paused until" in await pause(desk.settings, "upbit", 2, "news", BY)
    [row] = await trading_states.written(desk.engine, datetime.now(UTC))
    assert (row.state.state, row.state.reason, row.by) == (State.REDUCING, "news", BY)
    assert "trading of upbit goes on" in await resume(desk.settings, "upbit", BY)
    assert "no state is in force for upbit" in await resume(desk.settings, "upbit", BY)

    halted = TradingState(State.HALTED, "hands off", None, "upbit")
    await trading_states.write(desk.engine, halted, by="cli:root")
    assert "is under a stricter state, which stays: halted" in await pause(desk.settings, "upbit", 2, "news", BY)
    assert await trading_states.in_force(desk.engine, datetime.now(UTC)) == [halted]
    # a pause of everything is another scope: taking it back says what still holds
    assert "buying in everything is paused" in await pause(desk.settings, "", 0, "", BY)
    assert "upbit is halted until it is taken back: hands off" in await resume(desk.settings, "", BY)
    with pytest.raises(CannotAnswer, match="hours: must be from 0"):
        await pause(desk.settings, "upbit", -1, "", BY)


async def test_a_shorter_halt_says_what_holds_after_it_and_ends_nothing_else(desk: Desk) -> None:
    now = datetime.now(UTC)
    broken = TradingState(State.REDUCING, "daily loss", now + timedelta(hours=9), "upbit")
    await trading_states.tighten(desk.engine, broken, by=losses.BY, now=now)
    said = await set_trading_state(desk.settings, "halted", "upbit", "", "maintenance", 1)
    assert "upbit is halted until" in said
    assert "in force after that: trading of upbit is reducing until" in said
    korean = desk.with_settings(notify_language="ko")
    assert "그 뒤에도 남는 제한: upbit 거래" in await set_trading_state(korean, "reducing", "upbit", "", "점검", 1)
    lines = [line for line in (await show_status(desk.settings)).splitlines() if line.startswith("trading of")]
    assert [line.split(": ", 1)[1] for line in lines] == ["daily loss"]
    assert await trading_states.in_force(desk.engine, now + timedelta(hours=2)) == [broken]


async def test_the_command_resumes_only_what_is_in_force(desk: Desk) -> None:
    async def typed(market: str) -> str:
        return await set_trading_state(desk.settings, "active", market, "", "resumed by the operator", 0)

    await trading_states.write(desk.engine, TradingState(State.HALTED, "hands off", None, "kis"), by="cli:root")
    for market in ("upbit", ""):
        nothing, other = (await typed(market)).splitlines()
        assert nothing == f"no state is in force for {market or 'everything'}"
        assert other.startswith("kis is halted until it is taken back: hands off")
    # the circuit breaker counts on from where it did
    assert await trading_states.resumed_at(desk.engine, "upbit") is None
    assert await typed("kis") == "trading of kis is active: resumed by the operator"
    assert await trading_states.resumed_at(desk.engine, "kis") is not None
    assert await trading_states.in_force(desk.engine, datetime.now(UTC)) == []


async def test_of_two_who_pause_at_once_one_does_and_none_loosens_a_halt(desk: Desk) -> None:
    async def states() -> list[tuple[str, str]]:
        async with desk.engine.connect() as connection:
            rows = await connection.execute(text("SELECT market, state FROM trading_states ORDER BY seq"))
            return [(row.market, row.state) for row in rows]

    said = await asyncio.gather(*(pause(desk.settings, "kis", 0, "news", BY) for _ in range(4)))
    assert sorted("is paused" in one for one in said) == [False, False, False, True]
    assert await states() == [("kis", "reducing")]
    said = await asyncio.gather(*(resume(desk.settings, "kis", BY) for _ in range(4)))
    assert sorted("goes on" in one for one in said) == [False, False, False, True]
    assert await states() == [("kis", "reducing"), ("kis", "active")]
    for n in range(5):
        market = ("upbit", "yfinance")[n % 2]
        await asyncio.gather(
            pause(desk.settings, market, n, "news", BY),
            set_trading_state(desk.settings, "halted", market, "", "hands off", 0, BY),
        )
        now = datetime.now(UTC)
        [own] = [one for one in await trading_states.in_force(desk.engine, now) if one.market == market]
        assert own.state is State.HALTED
        await resume(desk.settings, market, BY)


def test_the_command_line_has_a_command_for_each(
    database_url: str, redis_server: LocalRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("REDIS_URL", redis_server.url)
    monkeypatch.setenv("NOTIFY_LANGUAGE", "en")
    monkeypatch.setenv("IGNORE_MARKET_HOURS", "true")
    get_settings.cache_clear()
    try:
        assert "profit of 30 days" in said("pnl", "--days", "30")
        assert "Daily report" in said("daily")
        assert "buying in upbit is paused until" in said("pause", "upbit", "--for", "2")
        assert "1. state-upbit: upbit is reducing" in said("locks")
        assert "state-upbit is lifted" in said("unlock", "state-upbit")
        assert said("locks") == "nothing keeps from trading\n"
        assert "nothing was sold" in said("flatten", "kis", typed="upbit\n", code=1)
        assert said("locks") == "nothing keeps from trading\n"
        assert "kis: our own fills hold nothing" in said("flatten", "kis", typed="kis\n")
        assert "state-kis" in said("locks")
    finally:
        get_settings.cache_clear()


def said(*argv: str, typed: str = "", code: int = 0) -> str:
    done = CliRunner().invoke(app, argv, input=typed)
    assert done.exit_code == code, (done.output, done.exception)
    return done.output


async def test_a_symbol_is_halted_by_its_own_name_however_it_is_typed_and_another_is_refused(desk: Desk) -> None:
    traded = desk.settings.model_copy(update={"upbit_symbols": (BTC,), "notify_language": "en"})
    for typed in ("krw-btc", "btc", BTC):
        await set_trading_state(traded, "halted", "upbit", typed, "news", 1)
    assert {row.symbol for row in await trading_states.in_force(desk.engine, datetime.now(UTC))} == {BTC}
    with pytest.raises(CannotAnswer, match="upbit has no symbol 'KRW-BTV' that is traded or was analysed; there are"):
        await set_trading_state(traded, "halted", "upbit", "KRW-BTV", "news", 1)
    # one that is traded no more can still be let go
    untraded = traded.model_copy(update={"upbit_symbols": ()})
    await set_trading_state(untraded, "active", "upbit", "btc", "over", 0)
    assert await trading_states.in_force(desk.engine, datetime.now(UTC)) == []
