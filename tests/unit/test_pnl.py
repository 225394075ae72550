"""Profit from fills: fees and dated taxes taken off, each fill once, days and weeks as in Korea."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.pnl import BadFills, Trade, book, profit_by_day, profit_by_week, tax_rate
from trading.types import Fill, Side

# Monday 23:30 in Korea
NOW = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)


def trade(number: int, side: Side, quantity: Any, price: Any, fee: Any = 0, **changes: Any) -> Trade:
    what = {"market": "kis", "symbol": "005930", "asset_type": "equity_kr", "currency": "KRW"} | changes
    at = what.pop("at", NOW + timedelta(minutes=number))
    return Trade(**what, side=side, fill=Fill(str(number), Decimal(quantity), Decimal(price), Decimal(fee), at))


def buy(number: int, quantity: Any, price: Any, fee: Any = 0, **changes: Any) -> Trade:
    return trade(number, Side.BUY, quantity, price, fee, **changes)


def sell(number: int, quantity: Any, price: Any, fee: Any = 0, **changes: Any) -> Trade:
    return trade(number, Side.SELL, quantity, price, fee, **changes)


def test_a_sale_earns_its_value_less_average_cost_fees_and_tax() -> None:
    made = book([buy(1, 10, 1000, 10), buy(2, 10, 1200, 10), sell(3, 5, 1300, 5)])
    [sale] = made.realised
    assert (sale.value, sale.fee, sale.tax) == (6500, 5, 13)
    assert sale.profit == 5 * (1300 - 1101) - 5 - 13
    position = made.positions["kis", "005930"]
    assert (position.quantity, position.average_price) == (15, 1101)


def test_coins_and_exempt_symbols_pay_no_transaction_tax() -> None:
    coin = {"market": "upbit", "symbol": "KRW-BTC", "asset_type": "crypto"}
    assert book([buy(1, 1, 100, **coin), sell(2, 1, 200, **coin)]).realised[0].tax == 0
    assert book([buy(1, 1, 100), sell(2, 1, 200)], exempt={"005930"}).realised[0].tax == 0


@pytest.mark.parametrize(
    ("on", "rate"),
    [
        (date(2022, 6, 1), "0.0023"),
        (date(2024, 12, 26), "0.0018"),
        (date(2024, 12, 27), "0.0015"),
        (date(2025, 12, 26), "0.0015"),
        (date(2025, 12, 29), "0.0020"),
        (date(2026, 11, 23), "0.0020"),
    ],
)
def test_the_tax_is_that_of_the_trade_date(on: date, rate: str) -> None:
    assert tax_rate("equity_kr", on) == Decimal(rate)


def test_an_unknown_tax_is_not_taken_for_none() -> None:
    with pytest.raises(ValueError, match="bond"):
        tax_rate("bond", NOW.date())
    with pytest.raises(ValueError, match="2019"):
        tax_rate("equity_kr", date(2019, 1, 1))


def test_a_fill_that_comes_twice_counts_once() -> None:
    once = [buy(1, 10, 1000), sell(2, 5, 1100)]
    assert book([*once, *once]) == book(once)


def test_of_fills_at_the_same_moment_the_buys_come_first() -> None:
    assert len(book([sell(1, 1, 200, at=NOW), buy(2, 1, 100, at=NOW)]).realised) == 1


def test_the_same_trade_id_of_two_markets_is_two_trades() -> None:
    other = {"market": "upbit", "symbol": "KRW-BTC", "asset_type": "crypto"}
    assert len(book([buy(1, 1, 100), buy(1, 1, 100, **other)]).positions) == 2


def test_selling_more_than_was_bought_means_that_fills_are_missing() -> None:
    with pytest.raises(BadFills, match=r"005930: fill 2 .* cannot sell 2 of 1"):
        book([buy(1, 1, 100), sell(2, 2, 100)])


def test_profit_is_summed_by_currency_day_and_week_of_korea() -> None:
    us = {"market": "yfinance", "symbol": "AAPL", "asset_type": "equity_us", "currency": "USD"}
    made = book(
        [
            buy(1, 10, 100, at=NOW - timedelta(days=2)),
            sell(2, 1, 200, at=NOW),
            sell(3, 1, 300, at=NOW + timedelta(hours=1)),
            sell(4, 1, 100, at=NOW - timedelta(days=1)),
            buy(5, 1, 10, at=NOW, **us),
            sell(6, 1, 15, at=NOW, **us),
        ]
    )
    assert profit_by_day(made.realised) == {
        ("KRW", date(2026, 11, 22)): Decimal("-0.2"),
        ("KRW", date(2026, 11, 23)): Decimal("99.6"),
        ("KRW", date(2026, 11, 24)): Decimal("199.4"),
        ("USD", date(2026, 11, 23)): Decimal(5),
    }
    assert profit_by_week(made.realised) == {
        ("KRW", date(2026, 11, 16)): Decimal("-0.2"),
        ("KRW", date(2026, 11, 23)): Decimal("299.0"),
        ("USD", date(2026, 11, 23)): Decimal(5),
    }


amounts = st.tuples(st.integers(1, 100), st.integers(1, 1000), st.integers(0, 10))


@given(st.lists(amounts, min_size=1, max_size=6), st.data())
def test_money_in_and_money_out_explain_every_profit(
    purchases: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    trades = [buy(number, *amount) for number, amount in enumerate(purchases)]
    held = sum(quantity for quantity, _, _ in purchases)
    sold = data.draw(st.integers(1, held))
    price, fee = data.draw(st.integers(1, 1000)), data.draw(st.integers(0, 10))
    made = book(data.draw(st.permutations([*trades, sell(99, sold, price, fee)])))
    [sale] = made.realised
    rest = made.positions.get(("kis", "005930"))
    cost_of_rest = rest.quantity * rest.average_price if rest else Decimal(0)
    spent = sum(quantity * each + charge for quantity, each, charge in purchases)
    assert abs(sale.profit - (sold * price - fee - sale.tax - (spent - cost_of_rest))) < Decimal("1e-15")
    assert (rest.quantity if rest else 0) == held - sold
