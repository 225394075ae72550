"""Positions and what they are worth."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading.portfolio import NONE, after_buy, after_sell, profit_rate, realised_profit, value
from trading.types import Position

amounts = st.decimals("0.0001", "1000000", places=4)
fees = st.decimals("0", "1000", places=2)


def test_the_fee_is_part_of_what_units_cost() -> None:
    first = after_buy(NONE, Decimal(10), Decimal(100), Decimal(5))
    assert first == Position(Decimal(10), Decimal("100.5"))
    assert after_buy(first, Decimal(10), Decimal(200), Decimal(10)) == Position(Decimal(20), Decimal("150.75"))


def test_selling_a_part_keeps_the_average_and_selling_all_clears_it() -> None:
    position = Position(Decimal(10), Decimal(100))
    assert after_sell(position, Decimal(4)) == Position(Decimal(6), Decimal(100))
    assert after_sell(position, Decimal(10)) == NONE


def test_more_than_is_held_cannot_be_sold() -> None:
    for quantity in (Decimal(11), Decimal(0), Decimal(-1)):
        with pytest.raises(ValueError, match="cannot sell"):
            after_sell(Position(Decimal(10), Decimal(100)), quantity)


@pytest.mark.parametrize(("quantity", "price", "fee"), [(0, 1, 0), (-1, 1, 0), (1, 0, 0), (1, 1, -1)])
def test_what_is_not_a_fill_is_refused(quantity: int, price: int, fee: int) -> None:
    with pytest.raises(ValueError, match="not a fill"):
        after_buy(NONE, Decimal(quantity), Decimal(price), Decimal(fee))


def test_value_is_cash_and_positions_at_their_prices() -> None:
    holdings = [(Position(Decimal(2), Decimal(50)), Decimal(60)), (NONE, Decimal(1000))]
    assert value(Decimal(30), holdings) == 150
    assert value(Decimal(30), []) == 30


def test_the_profit_rate_is_a_fraction_of_the_start() -> None:
    assert profit_rate(Decimal(105), Decimal(100)) == Decimal("0.05")
    assert profit_rate(Decimal(90), Decimal(100)) == Decimal("-0.1")
    assert profit_rate(Decimal(90), Decimal(0)) == 0


@settings(deadline=None)
@given(amounts, amounts, amounts, fees, fees)
def test_a_round_trip_earns_what_the_cash_says(
    quantity: Decimal, bought: Decimal, sold: Decimal, fee_in: Decimal, fee_out: Decimal
) -> None:
    position = after_buy(NONE, quantity, bought, fee_in)
    cash = -quantity * bought - fee_in + quantity * sold - fee_out
    assert abs(realised_profit(position, quantity, sold, fee_out) - cash) < Decimal("1e-9")
    assert after_sell(position, quantity) == NONE
