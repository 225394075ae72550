"""Leaving a position: each kind at its price, stops before targets, never an exception."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.errors import BadQuote
from trading.exits import Exit, ExitKind, check_exit, next_high_water
from trading.strategy import SymbolStrategy
from trading.types import Position, Quote

NOW = datetime(2026, 11, 23, 1, tzinfo=UTC)
HELD = Position(Decimal(3), Decimal(10_000))


def run(price: Any, *, atr: Any = 200, high: Any = None, position: Position = HELD, **changes: Any) -> Exit | None:
    value = Decimal(price)
    quote = Quote("X", value, value, value, Decimal(1), NOW)
    return check_exit(
        position,
        quote,
        SymbolStrategy(**changes),
        None if atr is None else Decimal(atr),
        None if high is None else Decimal(high),
    )


def kind(found: Exit | None) -> str | None:
    return found.kind.value if found else None


@pytest.mark.parametrize(
    ("price", "expected"),
    [(9_501, None), (9_500, "stop_loss"), (5_000, "stop_loss"), (10_999, None), (11_000, "take_profit")],
)
def test_fixed_rates_trigger_at_their_price(price: int, expected: str | None) -> None:
    assert kind(run(price)) == expected


@pytest.mark.parametrize(
    ("price", "expected"),
    [(9_701, None), (9_700, "atr_stop"), (10_499, None), (10_500, "atr_target")],
)
def test_atr_multiples_take_the_place_of_the_rates(price: int, expected: str | None) -> None:
    assert kind(run(price, atr_exits=True)) == expected


@pytest.mark.parametrize("atr", [None, "0", "-1", "NaN"])
def test_without_an_atr_the_fixed_stop_holds(atr: str | None) -> None:
    assert kind(run(9_500, atr=atr, atr_exits=True)) == "stop_loss"


def test_a_trailing_stop_follows_the_highest_price() -> None:
    assert kind(run(10_400, high=10_800, trailing=True)) == "trailing"
    assert run(10_401, high=10_800, trailing=True) is None
    assert run(10_400, high=10_800) is None
    assert run(10_400, high=None, trailing=True) is None


def test_the_high_water_mark_only_rises() -> None:
    assert next_high_water(None, Decimal(5)) == 5
    assert next_high_water(Decimal(5), Decimal(4)) == 5
    assert next_high_water(Decimal(5), Decimal(6)) == 6


def test_an_exit_says_how_much_and_why() -> None:
    found = run(9_400)
    assert found is not None
    assert (found.quantity, found.price, found.trigger, found.rate) == (3, 9_400, 9_500, Decimal("-0.06"))
    assert found.reason == "stop_loss: the price 9400 has reached 9500.00, -6.00% against the average 10000"


def test_switched_off_rates_never_trigger() -> None:
    off = {"stop_loss_rate": None, "take_profit_rate": None}
    assert run(1, **off) is None
    assert run(10**9, **off) is None


def test_nothing_held_and_no_known_average_give_no_exit() -> None:
    assert run(1, position=Position(Decimal(0), Decimal(0))) is None
    assert run(1, position=Position(Decimal(1), Decimal(0))) is None


def test_a_quote_that_is_none_is_refused() -> None:
    with pytest.raises(BadQuote):
        run("NaN")


@given(st.integers(1, 10**6), st.one_of(st.none(), st.integers(0, 10**5)), st.booleans(), st.booleans())
def test_every_loss_of_five_percent_without_atr_exits_is_left(
    price: int, atr: int | None, trailing: bool, atr_exits: bool
) -> None:
    found = run(price, atr=atr, high=max(price, 10_000), trailing=trailing, atr_exits=atr_exits)
    if price <= 9_500 and not (atr_exits and atr):
        assert found is not None
        assert found.kind is ExitKind.STOP_LOSS
    if found is not None:
        stop = found.kind in (ExitKind.STOP_LOSS, ExitKind.ATR_STOP, ExitKind.TRAILING)
        assert found.price <= found.trigger if stop else found.price >= found.trigger
        assert found.quantity == HELD.quantity
