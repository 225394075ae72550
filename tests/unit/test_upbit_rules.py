"""What Upbit would refuse is found at the order's own price, on the grid of the band it lies in."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from trading.types import Instrument, OrderIntent, Quote, Side
from workers.upbit.rules import refusal
from workers.upbit.ticks import band_start, pair_tick

TODAY = date(2026, 11, 22)
USDT = Instrument("upbit", "KRW-USDT", "테더", "crypto", "KRW", Decimal("1e-8"), Decimal(5000), Decimal("0.0005"))


def quote(price: str, tick: str) -> Quote:
    return Quote(USDT.symbol, Decimal(price), Decimal(price), Decimal(price), Decimal(tick), datetime.now(UTC))


def order(price: str, quantity: str = "1000") -> OrderIntent:
    return OrderIntent("id", "upbit", USDT.symbol, Side.BUY, Decimal(quantity), Decimal(price), "KRW")


@pytest.mark.parametrize(
    ("price", "at", "tick", "taken"),
    [
        # on the grid of its own band, whatever that of the quote is
        ("99.9", "101", "1", True),
        ("100.5", "99.9", "0.1", False),
        ("9990", "10010", "10", True),
        ("9995", "10010", "10", True),
        ("9993", "10010", "10", False),
        ("10005", "9995", "5", False),
        # a pair with a step of its own has it in the band of the quote, and only there
        ("1375.5", "1400", "0.5", True),
        ("1375.3", "1400", "0.5", False),
        ("99.95", "1400", "0.5", False),
        ("99.9", "1400", "0.5", True),
        ("5000.5", "1400", "0.5", False),
    ],
)
def test_the_grid_is_that_of_the_orders_price(price: str, at: str, tick: str, taken: bool) -> None:
    reason = refusal(order(price), USDT, quote(at, tick), TODAY)
    assert (reason is None) == taken
    assert taken or str(reason).startswith(f"off_tick: price {price}")


def test_the_minimum_is_of_the_orders_own_value() -> None:
    # worth 5000 at the quote, and less at the price it would rest at
    reason = refusal(order("900", "5"), USDT, quote("1000", "1"), TODAY)
    assert str(reason).startswith("below_minimum: value 4500 KRW, at least 5000 KRW needed")
    assert refusal(order("1100", "5"), USDT, quote("900", "1"), TODAY) is None


def test_a_named_step_holds_in_its_band() -> None:
    assert band_start(Decimal("4999"), TODAY) == band_start(Decimal("100"), TODAY) == Decimal(100)
    assert pair_tick(Decimal("4999"), Decimal("0.5"), Decimal("1400"), TODAY) == Decimal("0.5")
    assert pair_tick(Decimal("5000"), Decimal("0.5"), Decimal("1400"), TODAY) == Decimal(5)
