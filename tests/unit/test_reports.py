"""A report's figures: each currency apart, each sale in its own day, and nothing invented where a cost is unknown."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from trading.breaker import Equity, Flow
from trading.pnl import Trade, book, profit_by_day, profit_by_week
from trading.reports import AccountHistory, CurrencyProfit, bounds, last_ended, profit_report
from trading.types import Fill, Side

# Thursday 2026-03-05 00:00 KST
DAY_START = datetime(2026, 3, 4, 15, tzinfo=UTC)
HOUR = timedelta(hours=1)


def trade(
    number: int,
    side: Side,
    units: str,
    price: str,
    at: datetime,
    *,
    symbol: str = "KRW-BTC",
    market: str = "upbit",
    asset_type: str = "crypto",
    currency: str = "KRW",
    fee: str = "1",
) -> Trade:
    made = Fill(f"t{number}", Decimal(units), Decimal(price), Decimal(fee), at)
    return Trade(market, symbol, asset_type, currency, side, made)


def only(trades: list[Trade], *accounts: AccountHistory) -> CurrencyProfit:
    report = profit_report("day", DAY_START + HOUR, trades, accounts)
    assert len(report.currencies) == 1
    return report.currencies[0]


def history(*points: tuple[int, int], market: str = "upbit", flows: tuple[Flow, ...] = ()) -> AccountHistory:
    seen = [Equity(DAY_START + hours * HOUR, Decimal(total)) for hours, total in points]
    return AccountHistory(market, "KRW", seen, flows)


def test_a_day_and_a_week_begin_at_midnight_in_korea() -> None:
    assert bounds("day", DAY_START) == (DAY_START, DAY_START + 24 * HOUR)
    assert bounds("day", DAY_START - timedelta(microseconds=1)) == (DAY_START - 24 * HOUR, DAY_START)
    monday = DAY_START - 3 * 24 * HOUR
    assert bounds("week", DAY_START) == (monday, monday + 7 * 24 * HOUR)
    assert last_ended("day", DAY_START + HOUR) == DAY_START - 24 * HOUR
    assert last_ended("week", DAY_START) == monday - 7 * 24 * HOUR


def test_a_sale_is_measured_against_what_was_bought_before_the_period() -> None:
    figures = only(
        [
            trade(1, Side.BUY, "2", "100", DAY_START - 48 * HOUR, fee="2"),
            trade(2, Side.SELL, "1", "90", DAY_START - HOUR),
            trade(3, Side.SELL, "0.5", "120", DAY_START, fee="3"),
            trade(4, Side.BUY, "1", "110", DAY_START + 2 * HOUR, fee="4"),
            trade(5, Side.SELL, "1", "500", DAY_START + 24 * HOUR),
        ]
    )
    # an average of 101 with its fee: half a unit sold for 60 less 50.5 less the sale's fee
    assert figures.realised == Decimal("6.5")
    assert (figures.fees, figures.taxes, figures.fills) == (7, 0, 2)
    assert figures.volume == Decimal(170)
    assert [(one.symbol, one.realised, one.sales) for one in figures.symbols] == [("KRW-BTC", Decimal("6.5"), 1)]


def test_currencies_are_not_added_up_and_the_korean_sale_is_taxed() -> None:
    report = profit_report(
        "day",
        DAY_START,
        [
            trade(1, Side.BUY, "10", "1000", DAY_START, symbol="005930", market="kis", asset_type="equity_kr", fee="0"),
            trade(2, Side.SELL, "10", "1100", DAY_START + HOUR, symbol="005930", market="kis", asset_type="equity_kr"),
            trade(
                3, Side.BUY, "1", "200", DAY_START, symbol="AAPL", market="yfinance", asset_type="equity_us",
                currency="USD",
            ),
        ],
        [],
    )  # fmt: skip
    won, dollars = report.currencies
    assert (won.currency, won.taxes, won.realised) == ("KRW", Decimal(22), Decimal(1000) - 22 - 1)
    assert (dollars.currency, dollars.realised, dollars.fees, dollars.symbols) == ("USD", 0, 1, ())


def test_what_was_not_bought_here_is_named_and_spoils_no_other_figure() -> None:
    figures = only(
        [
            trade(1, Side.BUY, "1", "100", DAY_START, fee="0"),
            trade(2, Side.SELL, "1", "110", DAY_START + HOUR, fee="0"),
            trade(3, Side.SELL, "5", "10", DAY_START + HOUR, symbol="KRW-XRP"),
        ]
    )
    assert figures.unbooked == ("upbit KRW-XRP",)
    assert figures.realised == 10
    assert figures.fees == 1


def test_a_symbol_that_was_not_sold_in_the_period_is_not_named() -> None:
    figures = only([trade(1, Side.SELL, "5", "10", DAY_START - HOUR), trade(2, Side.BUY, "1", "10", DAY_START)])
    assert figures.unbooked == ()


def test_the_equity_runs_from_the_last_snapshot_before_to_the_last_in_the_period() -> None:
    figures = only([], history((-30, 50), (-1, 100), (5, 90), (23, 120), (25, 999)))
    assert (figures.equity_start, figures.equity_end, figures.rate) == (100, 120, Decimal("0.2"))


def test_accounts_of_one_currency_are_summed() -> None:
    figures = only([], history((-1, 100), (2, 110)), history((-2, 300), market="kis"))
    assert (figures.equity_start, figures.equity_end, figures.rate) == (400, 410, Decimal("0.025"))


def test_an_account_that_is_new_counts_from_when_it_was_seen_and_one_never_seen_not_at_all() -> None:
    figures = only([], history((3, 200), (9, 210)), history(market="kis"))
    assert (figures.equity_start, figures.equity_end, figures.rate) == (200, 210, Decimal("0.05"))
    nothing = only([], history())
    assert (nothing.equity_start, nothing.equity_end, nothing.rate) == (None, None, None)
    empty = only([], history((-1, 0), (1, 0)))
    assert (empty.equity_start, empty.equity_end, empty.rate) == (0, 0, None)


def test_a_deposit_is_no_profit() -> None:
    paid_in = Flow(DAY_START + 2 * HOUR, Decimal(1000))
    figures = only([], history((-1, 100), (3, 1100), (4, 1210), flows=(paid_in,)))
    assert figures.equity_end == 1210
    assert figures.rate is not None
    assert abs(figures.rate - Decimal("0.1")) < Decimal("1e-12")


def test_a_trade_told_twice_counts_once() -> None:
    bought = trade(1, Side.BUY, "1", "100", DAY_START)
    assert only([bought, bought]).fills == 1
    assert only([bought, replace(bought, market="other")]).fills == 2


@st.composite
def histories(draw: st.DrawFn) -> list[Trade]:
    """Fills over a fortnight of two symbols, in which no more is sold than was bought."""
    held = {"A": Decimal(0), "B": Decimal(0)}
    made, at = [], DAY_START - timedelta(days=6)
    for number in range(draw(st.integers(0, 25))):
        at += timedelta(minutes=draw(st.integers(1, 1500)))
        symbol = draw(st.sampled_from(["A", "B"]))
        units = Decimal(draw(st.integers(1, 9)))
        side = Side.SELL if held[symbol] >= units and draw(st.booleans()) else Side.BUY
        held[symbol] += units if side is Side.BUY else -units
        price = str(draw(st.integers(1, 500)))
        made.append(trade(number, side, str(units), price, at, symbol=symbol))
    return draw(st.permutations(made))


@settings(max_examples=40, deadline=None)
@given(histories())
def test_a_report_agrees_with_the_books_of_its_day_and_week(trades: list[Trade]) -> None:
    sales = book(trades).realised
    for period, by_period in (("day", profit_by_day(sales)), ("week", profit_by_week(sales))):
        for days in range(-7, 15, 1 if period == "day" else 7):
            report = profit_report(period, DAY_START + timedelta(days=days), trades, [])  # type: ignore[arg-type]
            realised = sum((currency.realised for currency in report.currencies), Decimal(0))
            expected = by_period.get(("KRW", report.starts_at.date()), Decimal(0))
            assert abs(realised - expected) < Decimal("1e-12")
            for currency in report.currencies:
                by_symbol = sum((one.realised for one in currency.symbols), Decimal(0))
                assert abs(by_symbol - currency.realised) < Decimal("1e-12")
                assert currency.unbooked == ()


@settings(max_examples=40, deadline=None)
@given(histories())
def test_the_days_of_a_week_make_the_week(trades: list[Trade]) -> None:
    monday, _ = bounds("week", DAY_START)
    days = [profit_report("day", monday + timedelta(days=day), trades, []) for day in range(7)]
    week = profit_report("week", monday, trades, [])
    for name in ("realised", "fees", "taxes", "volume", "fills"):
        parts = sum((getattr(one, name) for day in days for one in day.currencies), Decimal(0))
        whole = sum((getattr(one, name) for one in week.currencies), Decimal(0))
        assert abs(parts - whole) < Decimal("1e-12"), name
