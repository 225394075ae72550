"""Every figure of a report is that of the rows: recomputed here in SQL alone, and read off the message."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

import pytest
from house import House
from sqlalchemy import text

from notifications.alert import Claim, read_payload
from notifications.ledger import PREFIX, Ledger
from notifications.message import Chat, Message, utf16_length
from notifications.pictures import load
from notifications.report_texts import report as told_in
from notifications.texts import Style
from notifications.told import told_between
from notifications.trades import TradeNotifier
from notifications.words import EN
from storage import orders, pnl_reports
from storage.daily import report_of
from storage.exits import begin, end
from storage.journal import Origin
from tasks import reports
from trading.exits import Exit, ExitKind
from trading.periods import kst_day
from trading.pnl import tax_rate
from trading.reports import Period, Report, bounds, last_ended
from trading.types import Fill, OrderIntent, OrderState, Placement, Side

HOUR = timedelta(hours=1)

_RUNS = """
    INSERT INTO runs (market, slot, status, reason, opened_at, finished_at)
    SELECT :market, slot, CASE WHEN closed THEN 'skipped' ELSE 'finished' END, CASE WHEN closed THEN 'weekend' END,
        slot + interval '2 seconds', slot + interval '9 seconds'
    FROM (
        SELECT slot, slot < CAST(:opens AS timestamptz) AS closed
        FROM generate_series(
            CAST(:since AS timestamptz), CAST(:until AS timestamptz) - interval '1 second', CAST(:every AS interval)
        ) AS slot
        WHERE slot NOT BETWEEN CAST(:out_since AS timestamptz) AND CAST(:out_until AS timestamptz)
    ) AS slots
"""
_ANALYSIS = """
    WITH run AS (SELECT id FROM runs WHERE market = :market AND slot <= :at ORDER BY slot DESC LIMIT 1),
    symbol AS (
        INSERT INTO run_symbols (run_id, symbol, state, outcome, finished_at)
        SELECT id, :symbol, 'done', 'hold', :at FROM run RETURNING run_id
    )
    INSERT INTO analyses (run_id, market, symbol, decision, confidence, reasons, price, model, at, rejected_by,
        appropriate_buy_min, appropriate_buy_max, appropriate_sell_min, appropriate_sell_max, buy_hope_min,
        buy_hope_max, sell_target_min, sell_target_max)
    SELECT run_id, :market, :symbol, :decision, 70, ARRAY['because'], :price, 'rules-1', :at, :rejected_by,
        1, 2, 3, 4, 1, 1, 5, 5 FROM symbol
"""
_FAILED = """
    INSERT INTO run_symbols (run_id, symbol, state, error, finished_at)
    SELECT id, :symbol, 'failed', :error, :at FROM runs
    WHERE market = :market AND slot <= :at ORDER BY slot DESC LIMIT 1
"""
_SNAPSHOT = """
    INSERT INTO portfolio_snapshots (run_id, market, currency, cash, positions_value, at)
    SELECT id, :market, :currency, :cash, :positions, :at FROM runs
    WHERE market = :market AND slot <= :at ORDER BY slot DESC LIMIT 1
"""
_CALL = """
    INSERT INTO llm_calls (run_id, market, symbol, model, key, outcome, seconds, input_tokens, output_tokens, cost,
        prompt_version, prompt, reply, error, at)
    SELECT id, market, 'KRW-BTC', :model, 'k', 'ok', 1, 1000, 100, :cost, 1, 'p', 'r', '', :at
    FROM runs WHERE market = 'upbit' LIMIT 1
"""
_DEAD = """
    INSERT INTO dead_letters (id, died_at, fingerprint, kind, payload, attempts, occurrences, first_at, last_at, reason)
    VALUES (:id, :at, 'f', 'error', '{}', 8, 1, :at, :at, 'refused')
"""


class Past:
    """Rows of a time that is over, as the system would have left them."""

    def __init__(self, house: House) -> None:
        self.house, self.count = house, 0

    async def sql(self, statement: str, **values: Any) -> None:
        async with self.house.engine.begin() as connection:
            # what is over is written down at once, in no order: the journals' triggers would not have it
            await connection.execute(text("SET LOCAL session_replication_role = replica"))
            await connection.execute(text(statement), values)

    async def one(self, statement: str, **values: Any) -> Any:
        async with self.house.engine.connect() as connection:
            return (await connection.execute(text(statement), values)).one()

    async def analysed(
        self, market: str, symbol: str, decision: str, price: str, at: datetime, rejected_by: str | None = None
    ) -> None:
        values = {"market": market, "symbol": symbol, "decision": decision, "at": at, "rejected_by": rejected_by}
        await self.sql(_ANALYSIS, price=Decimal(price), **values)

    async def traded(
        self, market: str, symbol: str, side: Side, quantity: str, *parts: tuple[str, str, str, datetime]
    ) -> None:
        """An order of `quantity`; each part is (quantity, price, fee, at). What the parts leave over is cancelled."""
        self.count += 1
        engine, units, name = self.house.engine, Decimal(quantity), f"order-{self.count}"
        currency = "USD" if market == "yfinance" else "KRW"
        price = Decimal(parts[0][1])
        wanted = Exit(ExitKind.STOP_LOSS, units, price, price, Decimal(0), "test")
        exit = await begin(engine, market=market, symbol=symbol, exit=wanted, average_price=price)
        order = await orders.plan(
            engine, OrderIntent(name, market, symbol, side, units, price, currency), origin=Origin(exit_id=exit.id)
        )
        assert await orders.claim(engine, order.id)
        fills = tuple(
            Fill(f"{name}-{number}", Decimal(amount), Decimal(each), Decimal(fee), at)
            for number, (amount, each, fee, at) in enumerate(parts)
        )
        whole = sum((fill.quantity for fill in fills), Decimal(0)) == units
        state = OrderState.FILLED if whole else OrderState.CANCELLED
        await orders.record(engine, order.id, Placement(f"v-{name}", state, fills, None if whole else "the rest"))
        await end(engine, exit.id, "sold_all")


@pytest.fixture
async def past(house: House) -> Past:
    return Past(house)


async def a_day(past: Past, start: datetime) -> None:
    """Two markets that trade and a third that only fails, the machine off for three hours, and rows just outside."""
    end = start + 24 * HOUR
    off = {"out_since": start + 5 * HOUR, "out_until": start + 7 * HOUR + timedelta(minutes=59)}
    for market, every, opens in (
        ("upbit", 60, start - 99 * HOUR),
        ("kis", 30, start + 3 * HOUR),
        ("yfinance", 30, end),
    ):
        since = start - 48 * HOUR
        values = {"market": market, "every": timedelta(minutes=every), "since": since, "until": end + 2 * HOUR}
        await past.sql(_RUNS, opens=opens, **values, **off)
    upbit = [("buy", None), ("sell", None), ("hold", None), ("hold", "price_sanity"), ("hold", None), ("buy", None)]
    for number, (decision, rejected_by) in enumerate(upbit):
        price = str(100_000 + number * 1_000)
        await past.analysed("upbit", "KRW-BTC", decision, price, start + (8 + number) * HOUR, rejected_by)
    await past.analysed("upbit", "KRW-ETH", "hold", "5000", start + 8 * HOUR)
    for number, decision in enumerate(("sell", "hold", "hold")):
        await past.analysed("kis", "005930", decision, "71500", start + (8 + number) * HOUR)
    # not of this day
    await past.analysed("upbit", "KRW-BTC", "buy", "1", start - timedelta(seconds=1))
    await past.analysed("upbit", "KRW-BTC", "buy", "999999", end)
    for symbol, error, at in (
        ("KRW-XRP", "Throttled: 429 from the venue", start + 9 * HOUR),
        ("KRW-SOL", "Throttled: 429 again: wait", start + 10 * HOUR),
        ("KRW-DOGE", "TimeoutError: ", start + 11 * HOUR),
        ("KRW-XRP", "Throttled: too late", end + HOUR),
    ):
        await past.sql(_FAILED, market="upbit", symbol=symbol, error=error, at=at)
    await past.sql(_FAILED, market="yfinance", symbol="AAPL", error="Stale: no price", at=start + 9 * HOUR)
    before, buy, sell = start - 30 * HOUR, Side.BUY, Side.SELL
    await past.traded("upbit", "KRW-BTC", buy, "2", ("2", "90000", "90", before))
    await past.traded("upbit", "KRW-ETH", buy, "10", ("10", "4800", "24", before))
    await past.traded("kis", "005930", buy, "10", ("6", "70000", "63", before), ("4", "70100", "42", before))
    # in parts, and not all of it
    parts = ("0.5", "99900", "24.975", start + 8 * HOUR), ("0.75", "100000", "37.5", start + 9 * HOUR)
    await past.traded("upbit", "KRW-BTC", buy, "2", *parts)
    parts = ("1", "110000", "55", start + 12 * HOUR), ("0.25", "109500", "13.6875", start + 12 * HOUR)
    await past.traded("upbit", "KRW-BTC", sell, "1.25", *parts)
    await past.traded(
        "kis", "005930", sell, "4", ("3", "71000", "31.95", start + 8 * HOUR), ("1", "71200", "10.68", start)
    )
    await past.traded("kis", "005930", sell, "1", ("1", "99999", "1", end))
    worth = (("upbit", "KRW", 9_000_000, 300_000, -2), ("upbit", "KRW", 9_100_000, 260_000, 13))
    worth += (("kis", "KRW", 5_000_000, 700_000, -1), ("kis", "KRW", 5_284_000, 429_000, 9), ("kis", "KRW", 9, 9, 25))
    for market, currency, cash, positions, hours in worth:
        values = {"market": market, "currency": currency, "cash": cash, "positions": positions}
        await past.sql(_SNAPSHOT, at=start + hours * HOUR, **values)
    for model, cost, hours in (("gemini-2.5-pro", "0.0125", 8), ("gemini-2.5-flash", "0.001", 9), ("x", "7", -1)):
        await past.sql(_CALL, model=model, cost=Decimal(cost), at=start + hours * HOUR)
    for name, hours in (("a", 2), ("b", 20), ("c", 24)):
        await past.sql(_DEAD, id=name, at=start + hours * HOUR)
    await past.house.redis.set(f"{PREFIX}told:{int(start.timestamp()) // 86_400}", 17)


async def run(house: House, monkeypatch: pytest.MonkeyPatch, period: Period) -> tuple[dict[str, Any], Message]:
    """The stored body and the message of the task."""
    monkeypatch.setattr(reports, "current_runtime", lambda: house)
    assert (await reports.profit.run(period))["outcome"] == "made"
    stored = await pnl_reports.latest(house.engine, period)
    assert stored is not None
    claim = await Ledger(house.redis).claim(list(Chat))
    assert isinstance(claim, Claim)
    return stored.body, read_payload(claim.payload).message


_TRADED = """
    WITH traded AS (
        SELECT orders.symbol, orders.side, fills.* FROM fills JOIN orders ON orders.id = fills.order_id
        WHERE orders.market = :market AND fills.at < :end
    ), average AS (
        SELECT symbol, sum(quantity * price + fee) / sum(quantity) AS cost
        FROM traded WHERE side = 'buy' GROUP BY symbol
    ), today AS (
        SELECT traded.*, cost, CASE side WHEN 'sell' THEN quantity * price * CAST(:tax AS numeric) ELSE 0 END AS tax
        FROM traded JOIN average USING (symbol) WHERE at >= :start
    )
    SELECT count(*) AS fills, sum(fee) AS fees, sum(tax) AS taxes,
        coalesce(sum(quantity * price) FILTER (WHERE side = 'buy'), 0) AS bought,
        coalesce(sum(quantity * price) FILTER (WHERE side = 'sell'), 0) AS sold,
        sum(quantity * (price - cost) - fee - tax) FILTER (WHERE side = 'sell') AS realised,
        sum(quantity * cost) FILTER (WHERE side = 'sell') AS cost
    FROM today
"""
_DECIDED = """
    SELECT count(*) FILTER (WHERE decision = 'buy') AS buy, count(*) FILTER (WHERE decision = 'sell') AS sell,
        count(*) FILTER (WHERE decision = 'hold') AS hold, count(rejected_by) AS overruled
    FROM analyses WHERE market = :market AND at >= :start AND at < :end
"""
_WORTH = """
    SELECT (array_agg(total ORDER BY at DESC) FILTER (WHERE at < :end))[1] AS total,
        (array_agg(cash ORDER BY at DESC) FILTER (WHERE at < :end))[1] AS cash,
        (array_agg(total ORDER BY at DESC) FILTER (WHERE at <= :start))[1] AS start
    FROM portfolio_snapshots WHERE market = :market
"""
_SWEPT = """
    SELECT count(*) FILTER (WHERE finished_at IS NOT NULL) AS carried_out,
        count(*) FILTER (WHERE status = 'skipped') AS closed,
        (SELECT count(*) FROM generate_series(CAST(:start AS timestamptz),
            CAST(:end AS timestamptz) - interval '1 second', CAST(:every AS interval))) AS expected
    FROM runs WHERE market = :market AND slot >= :start AND slot < :end
"""
_HELD = """
    WITH held AS (
        SELECT symbol, sum(CASE side WHEN 'buy' THEN fills.quantity ELSE -fills.quantity END) AS units,
            sum(fills.quantity * fills.price + fee) FILTER (WHERE side = 'buy')
                / sum(fills.quantity) FILTER (WHERE side = 'buy') AS average
        FROM fills JOIN orders ON orders.id = order_id WHERE orders.market = :market AND fills.at < :end GROUP BY symbol
    )
    SELECT units, average, (
        SELECT price FROM analyses
        WHERE market = :market AND symbol = held.symbol AND at < :end ORDER BY at DESC LIMIT 1
    ) AS price
    FROM held WHERE symbol = :symbol
"""
_GAP = """
    WITH edges AS (
        SELECT opened_at FROM runs WHERE opened_at >= :start AND opened_at < :end
        UNION SELECT CAST(:start AS timestamptz) UNION SELECT CAST(:end AS timestamptz)
    )
    SELECT extract(epoch FROM max(gap))::int / 60 AS minutes FROM (
        SELECT opened_at - lag(opened_at) OVER (ORDER BY opened_at) AS gap FROM edges
    ) AS gaps
"""


def won(amount: Decimal, *, signed: bool = False) -> str:
    rounded = round(amount)
    return f"{'+' if signed and rounded > 0 else ''}{rounded:,}원"


async def test_every_figure_of_a_day_is_that_of_the_rows(
    house: House, past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, end = bounds("day", last_ended("day", datetime.now(UTC)))
    await a_day(past, start)
    body, message = await run(house, monkeypatch, "day")
    shown, between = message.text, {"start": start, "end": end}
    day = kst_day(start)
    for name, kind, every, symbols in (
        ("upbit", "crypto", 60, ("KRW-BTC", "KRW-ETH")),
        ("kis", "equity_kr", 30, ("005930",)),
    ):
        (market,) = (one for one in body["markets"] if one["market"] == name)
        section = shown[shown.index(f"({name})\n") :].split("\n\n")[0]
        of = {"market": name, **between}

        decided = await past.one(_DECIDED, **of)
        assert market["decisions"] == dict(decided._mapping)
        assert f"판단: 매수 {decided.buy} · 매도 {decided.sell} · 관망 {decided.hold}" in section
        assert ("검증에서 관망으로 바뀜 1" in section) is (decided.overruled == 1)

        traded = await past.one(_TRADED, tax=tax_rate(kind, day), **of)
        profit = market["profit"]
        assert profit["fills"] == traded.fills
        for figure in ("bought", "sold", "fees", "taxes", "realised"):
            assert abs(Decimal(profit[figure]) - getattr(traded, figure)) < Decimal("1e-9"), figure
        assert abs(Decimal(profit["rate"]) - traded.realised / traded.cost) < Decimal("1e-9")
        bought, sold, fees = won(traded.bought), won(traded.sold), won(traded.fees)
        assert f"체결: {traded.fills}건 · 매수 {bought} · 매도 {sold} · 수수료 {fees}" in section
        assert (f" · 세금 {won(traded.taxes)}" in section) is (traded.taxes > 0)
        assert f"실현 손익: {won(traded.realised, signed=True)} ({traded.realised / traded.cost:+.2%})" in section

        worth = await past.one(_WORTH, **of)
        assert f"평가 금액: {won(worth.total)} (현금 {won(worth.cash)})" in section
        change = worth.total - worth.start
        assert f"변동: {won(change, signed=True)} ({change / worth.start:+.2%})" in section

        for symbol in symbols:
            held = await past.one(_HELD, symbol=symbol, **of)
            units = f"{held.units.normalize():f} × {held.price:,.0f}원"
            rate = held.price / held.average - 1
            assert f"{symbol} {units} = {won(held.units * held.price)} ({rate:+.2%})" in section

        swept = await past.one(_SWEPT, every=timedelta(minutes=every), **of)
        assert market["sweeps"] == dict(swept._mapping)
        assert f"  {name}: {swept.expected}회 중 {swept.carried_out}회" in shown
        # off for three hours
        assert swept.expected - swept.carried_out == 3 * 60 // every

    failed = await past.one(
        "SELECT count(*) AS n, count(*) FILTER (WHERE error LIKE 'Throttled%') AS throttled FROM run_symbols "
        "WHERE state = 'failed' AND finished_at >= :start AND finished_at < :end",
        **between,
    )
    assert (failed.n, failed.throttled) == (4, 2)
    assert "오류: 분석 실패 4건 (Throttled 2, Stale 1, TimeoutError 1)" in shown
    dead = await past.one(
        "SELECT count(*) AS n FROM dead_letters WHERE died_at >= :start AND died_at < :end", **between
    )
    assert f"알림: 전송 17건 · 전송 포기 {dead.n}건" in shown
    assert dead.n == body["dead_letters"] == 2
    gap = await past.one(_GAP, **between)
    assert f"가장 긴 공백 {gap.minutes // 60}시간 {gap.minutes % 60}분" in shown
    spent = await past.one(
        "SELECT count(*) AS n, sum(cost) AS cost FROM llm_calls WHERE at >= :start AND at < :end", **between
    )
    assert f"모델 비용: ${spent.cost:f} ({spent.n}회)" in shown
    assert spent.n == 2
    assert utf16_length(shown) < 2_000
    assert shown.startswith(f"📊 일일 리포트 {day} 09:00 ~ ")


async def test_every_figure_of_a_week_is_that_of_the_rows(
    house: House, past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, end = bounds("week", last_ended("week", datetime.now(UTC)))
    values = {
        "market": "upbit",
        "every": timedelta(hours=1),
        "since": start - HOUR,
        "until": end,
        "opens": start - HOUR,
    }
    await past.sql(_RUNS, out_since=start - 9 * HOUR, out_until=start - 8 * HOUR, **values)
    # three round trips, two of them won; one of them in parts, and one that began a week before
    for symbol, bought, sold, hours in (
        ("KRW-A", "100", "120", 10),
        ("KRW-B", "100", "90", 50),
        ("KRW-C", "50", "60", 90),
    ):
        since = start - 50 * HOUR if symbol == "KRW-C" else start + hours * HOUR
        await past.traded("upbit", symbol, Side.BUY, "1000", ("1000", bought, "10", since))
        at = start + (hours + 1) * HOUR
        await past.traded("upbit", symbol, Side.SELL, "1000", ("400", sold, "2", at), ("600", sold, "3", at + HOUR))
    await past.traded("upbit", "KRW-D", Side.BUY, "1000", ("1000", "10", "1", start + HOUR))
    await past.traded("upbit", "KRW-D", Side.SELL, "500", ("500", "11", "1", start + 2 * HOUR))
    totals = (1_000_000, 1_050_000, 1_100_000, 990_000, 1_040_000, 1_060_000)
    for number, total in enumerate(totals):
        at = start + (number * 20 - 1) * HOUR
        await past.sql(_SNAPSHOT, market="upbit", currency="KRW", cash=total, positions=0, at=at)
    for model, cost in (("gemini-2.5-pro", "0.5"), ("gemini-2.5-pro", "0.25"), ("gemini-2.5-flash", "0.0075")):
        await past.sql(_CALL, model=model, cost=Decimal(cost), at=start + 8 * HOUR)
    _, message = await run(house, monkeypatch, "week")
    shown, between = message.text, {"start": start, "end": end}

    symbols = """
        WITH average AS (
            SELECT symbol, sum(f.quantity * f.price + fee) / sum(f.quantity) AS cost
            FROM fills f JOIN orders ON orders.id = order_id WHERE side = 'buy' GROUP BY symbol
        ), earned AS (
            SELECT symbol, sum(f.quantity * (f.price - cost) - fee) AS realised, sum(f.quantity * cost) AS cost,
                sum(f.quantity) = 1000 AS whole
            FROM fills f JOIN orders ON orders.id = order_id JOIN average USING (symbol)
            WHERE side = 'sell' AND f.at >= :start AND f.at < :end GROUP BY symbol
        )
    """
    for label, direction in (("최고 종목", "DESC"), ("최저 종목", "ASC")):
        one = await past.one(f"{symbols} SELECT * FROM earned ORDER BY realised {direction} LIMIT 1", **between)
        assert f"{label}: {one.symbol} {won(one.realised, signed=True)} ({one.realised / one.cost:+.2%})" in shown
    trips = await past.one(
        f"{symbols} SELECT count(*) AS n, count(*) FILTER (WHERE realised > 0) AS won, "
        "(SELECT sum(realised) FROM earned) AS realised FROM earned WHERE whole",
        **between,
    )
    assert (trips.n, trips.won) == (3, 2)
    assert f"왕복 거래: 3회, 승률 {trips.won / trips.n:.0%} (2승)" in shown
    assert f"실현 손익: {won(trips.realised, signed=True)}" in shown
    fall = await past.one(
        "SELECT max(1 - total / high) AS deepest FROM (SELECT total, max(total) OVER (ORDER BY at) AS high "
        "FROM portfolio_snapshots) AS seen"
    )
    assert fall.deepest == Decimal("0.1")
    assert f"최대 낙폭: {-fall.deepest:.2%}" in shown
    assert "변동: +60,000원 (+6.00%)" in shown
    assert "모델 비용: $0.7575 (3회)" in shown
    assert "gemini-2.5-pro $0.75 (2회)" in shown
    assert "예약 실행 168회 중 168회 (100.0%)" in shown
    assert shown.startswith("📊 주간 리포트 ")


async def test_the_report_brings_the_curve_of_the_accounts(
    house: House, past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    await a_day(past, last_ended("day", datetime.now(UTC)))
    _, message = await run(house, monkeypatch, "day")
    png = await load(house.redis, message.picture)
    assert png is not None
    assert png.startswith(b"\x89PNG")


async def test_a_report_without_a_picture_is_told_all_the_same(
    house: House, past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    await a_day(past, last_ended("day", datetime.now(UTC)))
    house.settings = house.settings.model_copy(update={"charts": False})
    _, message = await run(house, monkeypatch, "day")
    assert (message.picture, "실현 손익" in message.text) == ("", True)


async def test_a_day_that_is_not_over_is_reported_up_to_now(house: House, past: Past) -> None:
    start = last_ended("day", datetime.now(UTC))
    await a_day(past, start)
    so_far = await report_of(
        house.engine, "day", start, {"upbit": 60, "kis": 30}, until=start + 8 * HOUR + timedelta(minutes=1)
    )
    upbit = so_far.markets[0]
    assert (upbit.decisions.buy, upbit.sweeps.expected, upbit.sweeps.carried_out) == (1, 9, 6)
    assert upbit.profit is not None
    assert (upbit.profit.fills, upbit.profit.sold) == (1, 0)


async def test_the_english_report_has_the_same_figures(house: House, past: Past) -> None:
    start = last_ended("day", datetime.now(UTC))
    await a_day(past, start)
    made: Report = await report_of(house.engine, "day", start, {"upbit": 60, "kis": 30, "yfinance": 30}, alerts_sent=17)
    shown = told_in(Style(EN), made, at=datetime.now(UTC)).text
    assert "Decisions: Buy 2 · Sell 1 · Hold 4 (overruled by the validator: 1)" in shown
    assert "Errors: failed analyses: 4 (Throttled 2, Stale 1, TimeoutError 1)" in shown
    assert "Alerts: sent 17 · given up 2" in shown
    assert "longest gap 3 h 30 min" in shown
    assert "US stocks (yfinance)" in shown
    assert shown.isascii() is False
    assert not any("가" <= character <= "힣" for character in shown)


async def test_what_the_ledger_delivers_is_counted_by_day_and_an_edit_is_not(house: House) -> None:
    now = datetime.now(UTC)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    assert await told_between(house.redis, today, today + 24 * HOUR) == 0
    notifier, ledger = TradeNotifier(house.redis, "ko"), Ledger(house.redis)
    for number in range(3):
        report = Report("day", today - number * 24 * HOUR, today, (), (), None, 0, None, ())
        await notifier.report(report)
        claim = await ledger.claim(list(Chat))
        assert isinstance(claim, Claim)
        assert await ledger.ack(claim, number)
    # midnight may have come meanwhile
    assert await told_between(house.redis, today, today + 48 * HOUR) == 3
    assert await told_between(house.redis, today - 48 * HOUR, today) == 0
    assert cast(int, await house.redis.ttl(f"{PREFIX}told:{int(datetime.now(UTC).timestamp()) // 86_400}")) > 86_400 * 8
