"""The report of a day and of a week: made once each, told once each, also where the task dies half-way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

import pytest
from house import House
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from notifications.alert import Claim, read_payload
from notifications.ledger import Idle, Ledger
from notifications.message import Chat
from storage import orders, pnl_reports, portfolio, runs
from storage.exits import begin
from storage.journal import Origin
from tasks import reports
from tasks.reports import made_of
from trading.exits import Exit, ExitKind
from trading.reports import MarketReport, Period, Profit, Report, last_ended
from trading.types import Fill, OrderIntent, OrderState, Placement, Side
from workers.runtime import Runtime

HOUR = timedelta(hours=1)
PERIODS: list[Period] = ["day", "week"]


class Gauge:
    """The profit gauge, read back by period."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._reader = InMemoryMetricReader()
        meter = MeterProvider([self._reader]).get_meter("test")
        monkeypatch.setattr(reports, "portfolio_profit_krw", meter.create_gauge("profit"))

    @property
    def values(self) -> dict[str, float]:
        data = self._reader.get_metrics_data()
        if data is None:
            return {}
        (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
        points: list[Any] = list(metric.data.data_points)
        return {point.attributes["period"]: point.value for point in points}


@pytest.fixture
def gauge(monkeypatch: pytest.MonkeyPatch) -> Gauge:
    return Gauge(monkeypatch)


@pytest.fixture
def task(house: House, monkeypatch: pytest.MonkeyPatch) -> Callable[[Period], Awaitable[dict[str, Any]]]:
    """The task's body in this house."""
    monkeypatch.setattr(reports, "current_runtime", lambda: house)

    async def profit(period: Period) -> dict[str, Any]:
        return cast(dict[str, Any], await reports.profit.run(period))

    return profit


Task = Callable[[Period], Awaitable[dict[str, Any]]]


class Trader:
    """Fills and snapshots, as a market's tasks would have left them."""

    def __init__(self, house: House, after: int = 0) -> None:
        self.house = house
        self.count = after

    async def trade(
        self,
        market: str,
        symbol: str,
        side: Side,
        quantity: int,
        price: int,
        at: datetime,
        *,
        fee: str = "0",
        currency: str = "KRW",
    ) -> None:
        self.count += 1
        engine, units = self.house.engine, Decimal(quantity)
        wanted = Exit(ExitKind.STOP_LOSS, units, Decimal(price), Decimal(price), Decimal(0), "test")
        of = await begin(engine, market=market, symbol=symbol, exit=wanted, average_price=Decimal(price))
        name = f"order-{self.count}"
        intent = OrderIntent(name, market, symbol, side, units, Decimal(price), currency)
        order = await orders.plan(engine, intent, origin=Origin(exit_id=of.id))
        assert await orders.claim(engine, order.id)
        fill = Fill(f"trade-{self.count}", units, Decimal(price), Decimal(fee), at)
        await orders.record(engine, order.id, Placement(f"v-{name}", OrderState.FILLED, (fill,)))

    async def worth(self, market: str, at: datetime, total: int, currency: str = "KRW") -> None:
        run = await runs.open_run(self.house.engine, market=market, slot=at, task_id="t", symbols=("X",))
        await portfolio.snapshot(
            self.house.engine,
            run_id=run.id,
            market=market,
            currency=currency,
            cash=Decimal(total),
            positions_value=Decimal(0),
            at=at,
        )


async def earned(house: House, period: Period) -> datetime:
    """In the last period that is over the account earned 20,000 KRW less 30 of fees; returns when it began."""
    start, trader = last_ended(period, datetime.now(UTC)), Trader(house)
    await trader.worth("upbit", start - HOUR, 1_000_000)
    await trader.trade("upbit", "KRW-BTC", Side.BUY, 2, 100_000, start + HOUR, fee="10")
    await trader.trade("upbit", "KRW-BTC", Side.SELL, 2, 110_000, start + 2 * HOUR, fee="20")
    await trader.worth("upbit", start + 3 * HOUR, 1_019_970)
    return start


async def told(house: House) -> list[str]:
    """The texts of all messages that wait, each once however often it was told."""
    ledger, texts = Ledger(house.redis), []
    while isinstance(claim := await ledger.claim(list(Chat)), Claim):
        texts.append(read_payload(claim.payload).message.text)
    assert isinstance(claim, Idle)
    return texts


async def report(house: House, period: Period, at: datetime) -> Report:
    return await made_of(cast(Runtime, house), period, at)


def earnings(market: MarketReport) -> Profit:
    assert market.profit is not None
    return market.profit


@pytest.mark.parametrize("period", PERIODS)
async def test_a_period_that_is_over_is_made_stored_told_and_shown_once(
    house: House, task: Task, gauge: Gauge, period: Period
) -> None:
    start = await earned(house, period)
    assert await task(period) == {"period": period, "starts_at": start.isoformat(), "outcome": "made"}
    assert (await task(period))["outcome"] == "made before"
    assert (await task(period))["outcome"] == "made before"
    stored = await pnl_reports.latest(house.engine, period)
    assert stored is not None
    assert stored.starts_at == start
    (market,) = stored.body["markets"]
    assert Decimal(market["profit"]["realised"]) == 19_970
    assert Decimal(market["worth"]["rate"]) == Decimal("0.01997")
    (text,) = await told(house)
    assert "19,970" in text
    assert gauge.values == {period: 19_970.0}


async def test_the_day_and_the_week_are_told_each_on_its_own(house: House, task: Task, gauge: Gauge) -> None:
    start = await earned(house, "week")
    await Trader(house, after=10).worth("kis", last_ended("day", datetime.now(UTC)) + HOUR, 500_000)
    assert start < last_ended("day", datetime.now(UTC)) + HOUR
    assert (await task("day"))["outcome"] == "made"
    assert (await task("week"))["outcome"] == "made"
    assert len(await told(house)) == 2
    assert set(gauge.values) == {"day", "week"}


async def test_a_crash_between_telling_and_storing_tells_it_once(
    house: House, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    await earned(house, "day")
    store = pnl_reports.store_once

    async def crash(*_: Any) -> bool:
        raise ConnectionError("the worker is gone")

    monkeypatch.setattr(pnl_reports, "store_once", crash)
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await task("day")
    assert await pnl_reports.latest(house.engine, "day") is None
    monkeypatch.setattr(pnl_reports, "store_once", store)
    assert (await task("day"))["outcome"] == "made"
    assert len(await told(house)) == 1
    assert await pnl_reports.latest(house.engine, "day") is not None


async def test_a_crash_after_the_message_went_out_sends_no_second_one(
    house: House, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    await earned(house, "day")
    store = pnl_reports.store_once

    async def crash(*_: Any) -> bool:
        raise ConnectionError("the worker is gone")

    monkeypatch.setattr(pnl_reports, "store_once", crash)
    with pytest.raises(ConnectionError):
        await task("day")
    ledger = Ledger(house.redis)
    claim = await ledger.claim(list(Chat))
    assert isinstance(claim, Claim)
    assert await ledger.ack(claim, 1)
    monkeypatch.setattr(pnl_reports, "store_once", store)
    assert (await task("day"))["outcome"] == "made"
    assert await told(house) == []


async def test_what_two_workers_make_at_once_stands_once(house: House, task: Task) -> None:
    start = await earned(house, "day")
    made = await report(house, "day", start)
    assert await pnl_reports.store_once(house.engine, "day", start, {"first": True, "markets": []})
    assert not await pnl_reports.store_once(house.engine, "day", start, {"markets": len(made.markets)})
    assert (await task("day"))["outcome"] == "made before"
    stored = await pnl_reports.latest(house.engine, "day")
    assert stored is not None
    assert stored.body == {"first": True, "markets": []}


async def test_a_period_missed_by_a_pause_is_made_up_for_and_older_ones_are_not(house: House, task: Task) -> None:
    start = await earned(house, "day")
    assert await pnl_reports.store_once(house.engine, "day", start - timedelta(days=3), {})
    assert (await task("day"))["outcome"] == "made"
    stored = await pnl_reports.latest(house.engine, "day")
    assert stored is not None
    assert stored.starts_at == start


async def test_where_nothing_was_ever_traded_or_held_nothing_is_told(house: House, task: Task, gauge: Gauge) -> None:
    assert (await task("day"))["outcome"] == "made"
    assert (await task("day"))["outcome"] == "made before"
    assert (await told(house), gauge.values) == ([], {})


async def test_a_quiet_day_of_an_account_is_told_as_one(house: House, task: Task, gauge: Gauge) -> None:
    start = last_ended("day", datetime.now(UTC))
    await Trader(house).worth("upbit", start + HOUR, 1_000_000)
    assert (await task("day"))["outcome"] == "made"
    assert len(await told(house)) == 1
    assert gauge.values == {"day": 0.0}


async def test_two_currencies_are_never_added_up(house: House, task: Task, gauge: Gauge) -> None:
    start = await earned(house, "day")
    trader = Trader(house, after=10)
    await trader.worth("yfinance", start - HOUR, 10_000, "USD")
    await trader.trade("yfinance", "AAPL", Side.BUY, 10, 200, start + HOUR, fee="1", currency="USD")
    await trader.trade("yfinance", "AAPL", Side.SELL, 10, 190, start + 2 * HOUR, fee="1", currency="USD")
    made = await report(house, "day", start)
    krw, usd = (earnings(market) for market in made.markets)
    assert [market.currency for market in made.markets] == ["KRW", "USD"]
    assert (krw.realised, krw.fees, krw.fills) == (19_970, 30, 2)
    assert (usd.fees, usd.fills, usd.bought, usd.sold) == (2, 2, 2_000, 1_900)
    # a loss of 100 and the fees, and whatever the sale was taxed
    assert usd.realised == -102 - usd.taxes
    assert [symbol.symbol for symbol in usd.symbols] == ["AAPL"]
    assert (await task("day"))["outcome"] == "made"
    # the gauge is in KRW, and knows no other currency
    assert gauge.values == {"day": 19_970.0}
    (text,) = await told(house)
    assert "+19,970원" in text
    assert "-$102.00" in text


async def test_only_the_sales_of_the_period_count_and_bear_the_cost_of_earlier_buys(house: House) -> None:
    start, trader = last_ended("day", datetime.now(UTC)), Trader(house)
    await trader.trade("upbit", "KRW-BTC", Side.BUY, 4, 100_000, start - 48 * HOUR)
    await trader.trade("upbit", "KRW-BTC", Side.SELL, 1, 150_000, start - 24 * HOUR)
    await trader.trade("upbit", "KRW-BTC", Side.SELL, 1, 120_000, start)
    await trader.trade("upbit", "KRW-BTC", Side.SELL, 1, 170_000, start + 24 * HOUR)
    (upbit,) = (await report(house, "day", start)).markets
    assert (earnings(upbit).realised, earnings(upbit).fills) == (20_000, 1)


async def test_a_sale_of_what_was_not_bought_here_is_named_and_counted_in_no_sum(house: House, task: Task) -> None:
    start, trader = await earned(house, "day"), Trader(house, after=10)
    await trader.trade("upbit", "KRW-ETH", Side.SELL, 1, 50_000, start + HOUR)
    (upbit,) = (await report(house, "day", start)).markets
    assert (earnings(upbit).realised, earnings(upbit).unbooked) == (19_970, ("KRW-ETH",))
    assert (await task("day"))["outcome"] == "made"
    (text,) = await told(house)
    assert "KRW-ETH" in text


async def test_a_report_that_an_earlier_version_stored_stands_and_is_shown(
    house: House, task: Task, gauge: Gauge
) -> None:
    start = last_ended("day", datetime.now(UTC))
    body = {"currencies": [{"currency": "KRW", "realised": "12.5"}, {"currency": "USD", "realised": "3"}]}
    assert await pnl_reports.store_once(house.engine, "day", start, body)
    assert (await task("day"))["outcome"] == "made before"
    assert gauge.values == {"day": 12.5}
