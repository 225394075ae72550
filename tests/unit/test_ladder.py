"""The ladder: on the grid, inside the cash, above the margin, and nothing left out without a word."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.ladder import Ladder, buy_ladder, grid_down, grid_up, sell_ladder, smallest_value
from trading.strategy import SymbolStrategy
from trading.types import Instrument, Position, PriceRange, PriceRanges, Quote

NOW = datetime(2026, 11, 23, 1, tzinfo=UTC)
COIN = Instrument("upbit", "KRW-X", "X", "crypto", "KRW", Decimal("0.00000001"), Decimal(5000), Decimal("0.0005"))
SHARE = Instrument("kis", "005930", "Samsung", "equity_kr", "KRW", Decimal(1), Decimal(1), Decimal("0.00015"))
NONE = Position(Decimal(0), Decimal(0))
RICH = Decimal(10**12)
# the shape of every venue's table: the tick falls with the price
BANDS = [(100_000, 100), (50_000, 50), (10_000, 10), (5_000, 5), (100, 1), (10, "0.1"), (0, "0.01")]


def tick(price: Decimal) -> Decimal:
    return next(Decimal(size) for least, size in BANDS if price >= least)


def ranges_of(*prices: Any) -> PriceRanges:
    low, high, far_low, far_high = (Decimal(price) for price in prices)
    near, far = PriceRange(low, high), PriceRange(far_low, far_high)
    return PriceRanges(near, near, far, far)


def quote_at(price: Any) -> Quote:
    value = Decimal(price)
    return Quote("X", value, value, value, tick(value), NOW)


def strategy_of(**changes: Any) -> SymbolStrategy:
    """Orders that rest, at any distance; `take` and `max_distance` have tests of their own."""
    plain = {"level_value": Decimal(100_000), "take": False, "max_distance": Decimal(1)}
    return SymbolStrategy(**(plain | changes))


def buys(
    ranges: PriceRanges,
    *,
    price: Any = 10_100,
    position: Position = NONE,
    cash: Any = RICH,
    instrument: Instrument = COIN,
    **changes: Any,
) -> Ladder:
    return buy_ladder(ranges, position, quote_at(price), Decimal(cash), instrument, strategy_of(**changes), tick)


def sells(
    ranges: PriceRanges, position: Position, *, price: Any = 10_000, instrument: Instrument = SHARE, **changes: Any
) -> Ladder:
    return sell_ladder(ranges, position, quote_at(price), instrument, strategy_of(**changes), tick)


def held(quantity: Any, average: Any) -> Position:
    return Position(Decimal(quantity), Decimal(average))


def prices(ladder: Ladder) -> list[Decimal]:
    return [rung.price for rung in ladder.rungs]


def rules(ladder: Ladder) -> set[str]:
    return {clamp.rule for clamp in ladder.clamps}


def test_buys_are_the_four_prices_highest_first_each_on_the_grid_of_its_own_band() -> None:
    ladder = buys(ranges_of("9997", "10057", "4998.7", "9003"))
    assert prices(ladder) == [Decimal(10_050), Decimal(9_995), Decimal(9_000), Decimal(4_998)]
    assert all(rung.value + rung.fee <= 100_000 for rung in ladder.rungs)
    assert rules(ladder) == {"tick_grid"}


def test_a_buy_at_or_above_the_current_price_is_dropped_with_a_reason() -> None:
    ladder = buys(ranges_of(9_900, 10_100, 9_000, 9_500), price=10_100)
    assert Decimal(10_100) not in prices(ladder)
    [clamp] = ladder.clamps
    assert (clamp.rule, clamp.before, clamp.after) == ("current_price", Decimal(10_100), None)


def test_more_is_bought_only_below_the_average_less_one_percent() -> None:
    ranges = ranges_of(9_800, 9_900, 9_000, 9_500)
    owner = held(1, 10_000)
    assert prices(buys(ranges, position=owner)) == [9_800, 9_500, 9_000]
    assert prices(buys(ranges, position=owner, averaging_rule=False)) == [9_900, 9_800, 9_500, 9_000]
    assert prices(buys(ranges, position=owner, averaging_margin=Decimal("0.05"))) == [9_000]
    assert prices(buys(ranges, position=NONE)) == [9_900, 9_800, 9_500, 9_000]


def test_levels_keeps_the_prices_nearest_to_the_market() -> None:
    ladder = buys(ranges_of(9_800, 9_900, 9_000, 9_500), levels=1)
    assert prices(ladder) == [9_900]
    assert [clamp.before for clamp in ladder.clamps if clamp.rule == "levels"] == [9_800, 9_500, 9_000]


def test_equal_prices_make_one_order() -> None:
    assert prices(buys(ranges_of(9_800, 9_800, 9_800, 9_801))) == [9_800]


def test_shares_are_bought_by_quantity() -> None:
    ladder = buys(
        ranges_of(9_800, 9_900, 9_000, 9_500), instrument=SHARE, level_value=None, level_quantity=Decimal("3.7")
    )
    assert {rung.quantity for rung in ladder.rungs} == {Decimal(3)}


def test_without_an_amount_nothing_is_bought() -> None:
    ladder = buys(ranges_of(9_800, 9_900, 9_000, 9_500), level_value=None)
    assert not ladder.rungs
    assert rules(ladder) == {"level_amount"}


def test_an_order_below_the_minimum_is_dropped_with_a_reason() -> None:
    ladder = buys(ranges_of(9_800, 9_900, 9_000, 9_500), level_value=Decimal(4_000))
    assert not ladder.rungs
    assert rules(ladder) == {"minimum_order"}


def test_the_last_affordable_buy_is_cut_to_the_cash_and_says_so() -> None:
    ladder = buys(ranges_of(9_800, 9_900, 9_000, 9_500), cash=150_000)
    assert len(ladder.rungs) == 2
    assert ladder.cost <= 150_000
    assert [clamp.after is None for clamp in ladder.clamps if clamp.rule == "cash"] == [False, True, True]


def test_a_sell_is_split_in_equal_parts_with_the_remainder_in_the_last() -> None:
    ladder = sells(ranges_of(10_200, 10_400, 10_600, 10_800), held(11, 10_000))
    assert [(rung.price, rung.quantity) for rung in ladder.rungs] == [
        (10_200, 2),
        (10_400, 2),
        (10_600, 2),
        (10_800, 5),
    ]


def test_too_little_to_split_is_sold_at_the_lowest_price() -> None:
    ladder = sells(ranges_of(10_200, 10_400, 10_600, 10_800), held(3, 10_000))
    assert [(rung.price, rung.quantity) for rung in ladder.rungs] == [(10_200, 3)]
    assert rules(ladder) == {"split"}
    coins = sells(ranges_of(10_200, 10_400, 10_600, 10_800), held("1.5", 10_000), instrument=COIN)
    assert [(rung.price, rung.quantity) for rung in coins.rungs] == [(10_200, Decimal("1.5"))]


def test_a_position_below_the_minimum_is_not_ordered() -> None:
    ladder = sells(ranges_of(10_200, 10_400, 10_600, 10_800), held("0.1", 10_000), instrument=COIN)
    assert not ladder.rungs
    assert rules(ladder) == {"split", "minimum_order"}


def test_sells_keep_one_percent_above_the_average() -> None:
    ranges = ranges_of(10_050, 10_100, 10_200, 10_300)
    assert prices(sells(ranges, held(10, 10_000))) == [10_100, 10_200, 10_300]
    assert not sells(ranges, held(10, 11_000)).rungs
    assert prices(sells(ranges, held(10, 11_000), sell_margin=Decimal("-0.08"))) == [10_200, 10_300]


def test_targets_that_are_too_far_away_are_not_past() -> None:
    ranges = ranges_of(10_500, 10_600, 10_700, 10_800)
    ladder = sells(ranges, held(10, 9_000), price=10_000, take=True, max_distance=Decimal("0.03"))
    assert not ladder.rungs
    assert {clamp.rule for clamp in ladder.clamps} == {"max_distance"}


def test_dust_does_not_keep_a_symbol_from_being_bought() -> None:
    ranges = ranges_of(9_900, 9_900, 9_900, 9_900)
    dust = Position(Decimal("0.0001"), Decimal(5_000))
    assert prices(buys(ranges, price=10_000, position=dust)) == [9_900]
    assert not buys(ranges, price=10_000, position=Position(Decimal(1), Decimal(5_000))).rungs


def test_past_every_target_all_is_sold_at_the_current_price() -> None:
    ladder = sells(ranges_of(10_200, 10_300, 10_400, 10_500), held(10, 10_000), price=10_700)
    assert {rung.price for rung in ladder.rungs} == {Decimal(10_700)}
    assert ladder.quantity == 10
    assert not sells(ranges_of(9_000, 9_100, 9_200, 9_300), held(10, 10_000), price=10_050).rungs


def test_a_sell_price_off_the_grid_is_rounded_up() -> None:
    ladder = sells(ranges_of("10201", "10400", "10600", "19999.5"), held(40, 10_000))
    assert prices(ladder) == [10_210, 10_400, 10_600, 20_000]
    assert rules(ladder) == {"tick_grid"}


def test_a_quotient_that_is_rounded_up_buys_one_step_less() -> None:
    free = replace(SHARE, fee_rate=Decimal(0))
    almost = Decimal("99.9999999999999999999999999999999")
    ladder = buys(ranges_of(10, 10, 10, 10), price=11, instrument=free, level_value=almost)
    assert [rung.quantity for rung in ladder.rungs] == [9]


def test_nothing_held_is_nothing_sold() -> None:
    assert not sells(ranges_of(10_200, 10_400, 10_600, 10_800), NONE).rungs


@pytest.mark.parametrize("bad", ["NaN", "Infinity", "0", "-5"])
def test_a_price_that_is_none_is_dropped(bad: str) -> None:
    ladder = buys(ranges_of(bad, 9_900, 9_000, 9_500))
    assert prices(ladder) == [9_900, 9_500, 9_000]


money = st.decimals(min_value=1, max_value=200_000, places=2)
fours = st.tuples(money, money, money, money)
quantities = st.decimals(min_value=0, max_value=1000, places=8)
instruments = st.sampled_from([COIN, SHARE])
levels = st.integers(1, 4)


@given(money)
def test_rounding_leads_onto_the_grid_and_never_across_the_price(price: Decimal) -> None:
    down, up = grid_down(price, tick), grid_up(price, tick)
    assert down <= price <= up
    assert down % tick(down) == 0
    assert up % tick(up) == 0


@given(fours, money, quantities, money, st.decimals(min_value=0, max_value=10**6, places=2), instruments, levels)
def test_no_ladder_costs_more_than_the_cash_or_leaves_the_grid(
    four: tuple[Decimal, ...],
    price: Decimal,
    quantity: Decimal,
    average: Decimal,
    cash: Decimal,
    instrument: Instrument,
    count: int,
) -> None:
    position = Position(quantity, average)
    ladder = buys(ranges_of(*four), price=price, position=position, cash=cash, instrument=instrument, levels=count)
    assert ladder.cost <= cash
    assert len(ladder.rungs) <= count
    assert prices(ladder) == sorted(set(prices(ladder)), reverse=True)
    for rung in ladder.rungs:
        assert rung.price % tick(rung.price) == 0
        assert rung.quantity % instrument.quantity_step == 0
        assert rung.price < price
        # what is too little to be sold is no position
        assert quantity * price < smallest_value(price, instrument) or rung.price < average * Decimal("0.99")
        assert instrument.min_order_value <= rung.value <= 100_000 - rung.fee
    # each of the four prices became an order, was equal to one, or is accounted for
    dropped = sum(clamp.after is None for clamp in ladder.clamps)
    assert len(ladder.rungs) + dropped <= 4
    assert ladder.rungs or dropped


@given(fours, money, quantities, money, instruments, levels)
def test_sells_are_the_whole_position_on_the_grid_and_above_the_margin(
    four: tuple[Decimal, ...], price: Decimal, quantity: Decimal, average: Decimal, instrument: Instrument, count: int
) -> None:
    ladder = sells(ranges_of(*four), Position(quantity, average), price=price, instrument=instrument, levels=count)
    if ladder.rungs:
        assert ladder.quantity == quantity - quantity % instrument.quantity_step
    assert len(ladder.rungs) <= count
    assert prices(ladder) == sorted(set(prices(ladder)))
    for rung in ladder.rungs:
        assert rung.price % tick(rung.price) == 0
        assert rung.quantity % instrument.quantity_step == 0
        assert rung.price >= average * Decimal("1.01")
        assert rung.price >= price
        assert rung.value >= instrument.min_order_value


def test_the_first_buy_takes_the_ask_where_the_analysis_calls_it_appropriate() -> None:
    ranges = ranges_of(9_900, 10_100, 9_700, 9_800)
    assert prices(buys(ranges, price=10_100, take=True))[:2] == [Decimal(10_100), Decimal(9_900)]
    assert prices(buys(ranges, price=10_150, take=True))[:2] == [Decimal(10_100), Decimal(9_900)]
    # more of what is held is not taken at the ask either unless it is cheap enough
    assert prices(buys(ranges, price=10_100, take=True, position=held(1, 10_100))) == [
        Decimal(9_900),
        Decimal(9_800),
        Decimal(9_700),
    ]


def test_the_first_sell_takes_the_bid_where_the_analysis_and_the_margin_allow_it() -> None:
    ranges = ranges_of(10_000, 10_200, 10_300, 10_400)
    assert prices(sells(ranges, held(8, 9_000), price=10_050, take=True))[0] == Decimal(10_050)
    assert prices(sells(ranges, held(8, 10_000), price=10_050, take=True))[0] == Decimal(10_200)
    assert prices(sells(ranges, held(8, 9_000), price=9_990, take=True))[0] == Decimal(10_000)


@given(st.decimals("5000", "20000", places=0), st.decimals("0.01", "0.5", places=2))
def test_nothing_is_ordered_further_from_the_price_than_allowed(price: Decimal, distance: Decimal) -> None:
    ranges = ranges_of(7_000, 9_990, 5_000, 6_000)
    ladder = buys(ranges, price=price, take=True, max_distance=distance)
    assert all(abs(rung.price - price) <= distance * price for rung in ladder.rungs)
    assert {clamp.rule for clamp in ladder.clamps} <= {"max_distance", "current_price", "tick_grid", "levels"}
