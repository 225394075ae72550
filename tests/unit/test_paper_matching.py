"""Matching is fair and never invents depth: price-time priority, own limits, one size shared by all."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.types import Quote, Side
from workers.paper.matching import RestingOrder, at_once, execution, matches

NOW = datetime(2026, 1, 2, 3, 0, tzinfo=UTC)
QUOTE = Quote("X", Decimal(100), Decimal(99), Decimal(101), Decimal(1), NOW, Decimal(5), Decimal(5))
ZERO = Decimal(0)


def resting(name: str, price: int, *, side: Side = Side.BUY, quantity: int = 4, age: int = 10) -> RestingOrder:
    return RestingOrder(name, "X", side, Decimal(quantity), ZERO, Decimal(price), ZERO, NOW - timedelta(seconds=age))


def traded(
    orders: list[RestingOrder], quote: Quote = QUOTE, taken: dict[Side, Decimal] | None = None
) -> dict[str, int]:
    return {order.client_order_id: int(quantity) for order, quantity in matches(orders, quote, taken or {})}


def test_the_best_price_comes_first_then_the_oldest() -> None:
    book = [resting("young", 102, age=1), resting("low", 101, age=99), resting("old", 102, age=5)]
    assert traded(book) == {"old": 4, "young": 1}
    asks = [resting("dear", 99, side=Side.SELL), resting("cheap", 98, side=Side.SELL, age=1)]
    assert traded(asks) == {"cheap": 4, "dear": 1}


def test_the_two_sides_have_sizes_of_their_own() -> None:
    assert traded([resting("b", 101), resting("s", 99, side=Side.SELL)]) == {"b": 4, "s": 4}


def test_a_limit_that_is_not_reached_does_not_trade() -> None:
    assert traded([resting("b", 100), resting("s", 100, side=Side.SELL)]) == {}
    assert at_once(Side.BUY, Decimal(4), Decimal(100), QUOTE, ZERO) == 0


def test_what_was_taken_since_the_quote_is_no_longer_on_offer() -> None:
    assert traded([resting("b", 101)], taken={Side.BUY: Decimal(3), Side.SELL: Decimal(5)}) == {"b": 2}
    assert traded([resting("b", 101)], taken={Side.BUY: Decimal(9)}) == {}
    assert at_once(Side.SELL, Decimal(4), Decimal(99), QUOTE, Decimal(2)) == 3


def test_a_venue_that_tells_no_size_fills_whole() -> None:
    silent = replace(QUOTE, ask_size=None)
    assert traded([resting("a", 101), resting("b", 101)], silent, {Side.BUY: Decimal(99)}) == {"a": 4, "b": 4}


@pytest.mark.parametrize(
    ("change", "trades"),
    [
        ({"created_at": NOW}, True),
        ({"created_at": NOW + timedelta(microseconds=1)}, False),
        ({"last_fill_at": NOW - timedelta(microseconds=1)}, True),
        ({"last_fill_at": NOW}, False),
    ],
)
def test_an_order_trades_only_at_a_quote_that_is_news_to_it(change: dict[str, datetime], trades: bool) -> None:
    order = replace(resting("b", 101), **change)  # type: ignore[arg-type]
    assert bool(traded([order])) is trades


def test_a_trade_has_the_orders_id_and_number() -> None:
    fill = execution("b1", 2, Decimal(3), Decimal("0.1"), Decimal("0.0005"), NOW)
    assert (fill.trade_id, fill.fee) == ("paper-b1-2", Decimal("0.00015"))


amounts = st.decimals(0, 50, places=2)
orders = st.builds(
    RestingOrder,
    client_order_id=st.uuids().map(str),
    symbol=st.just("X"),
    side=st.sampled_from(Side),
    quantity=st.decimals(1, 50, places=2),
    filled=st.decimals(0, "0.99", places=2),
    price=st.integers(90, 110).map(Decimal),
    fee_rate=st.just(ZERO),
    created_at=st.integers(0, 5).map(lambda seconds: NOW - timedelta(seconds=seconds)),
)


@given(st.lists(orders, max_size=8), amounts, amounts)
def test_no_more_trades_than_is_on_offer_and_nobody_is_passed_over(
    book: list[RestingOrder], size: Decimal, taken: Decimal
) -> None:
    quote = replace(QUOTE, ask_size=size, bid_size=size)
    done = matches(book, quote, dict.fromkeys(Side, taken))
    for side in Side:
        ours = [(order, quantity) for order, quantity in done if order.side is side]
        total = sum((quantity for _, quantity in ours), ZERO)
        reached = [
            order
            for order in book
            if order.side is side and (order.price >= quote.ask if side is Side.BUY else order.price <= quote.bid)
        ]
        wanted = sum((order.remaining for order in reached), ZERO)
        assert total == min(wanted, max(size - taken, ZERO))
        assert all(order in reached and 0 < quantity <= order.remaining for order, quantity in ours)
        # only the last in the queue may be left with a part
        assert all(quantity == order.remaining for order, quantity in ours[:-1])
