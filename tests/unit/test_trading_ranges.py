"""The four ranges keep their order, for any quote and any indicators."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading.errors import BadQuote
from trading.indicators import Indicators
from trading.ranges import MAXIMUM_ATR, SLACK, price_ranges
from trading.ticks import round_down, round_up
from trading.types import PriceRange, Quote

AT = datetime(2026, 11, 23, 1, tzinfo=UTC)
TICKS = [Decimal(text) for text in ("0.00000001", "0.0001", "0.01", "0.5", "1", "5", "100", "1000")]


def indicators(
    *, atr: float, sma_20: float, deviation: float, sma_60: float, sma_120: float | None = None
) -> Indicators:
    return Indicators(
        close=sma_20,
        rsi=50,
        macd=0,
        macd_signal=0,
        macd_histogram=0,
        macd_histogram_previous=0,
        bollinger_upper=sma_20 + 2 * deviation,
        bollinger_middle=sma_20,
        bollinger_lower=sma_20 - 2 * deviation,
        bollinger_width=4 * deviation / sma_20,
        stochastic_k=50,
        stochastic_d=50,
        sma_5=sma_20,
        sma_20=sma_20,
        sma_60=sma_60,
        sma_120=sma_120,
        sma_200=None,
        atr=atr,
        adx=20,
        volume_ratio=1,
    )


def quote(price: str | Decimal, *, spread: Decimal = Decimal(0), tick: Decimal = Decimal(1)) -> Quote:
    price = Decimal(price)
    return Quote("X", price, price, price + spread, tick, AT)


@st.composite
def markets(draw: st.DrawFn) -> tuple[Quote, Indicators]:
    tick = draw(st.sampled_from(TICKS))
    # on the grid or off it, from one tick up
    price = tick * draw(st.integers(1, 10**6)) + draw(st.sampled_from([Decimal(0), tick / 3]))
    spread = tick * draw(st.integers(0, 50))
    near = st.floats(0.2, 5).map(lambda factor: float(price) * factor)
    return quote(price, spread=spread, tick=tick), indicators(
        atr=draw(st.floats(0, 3)) * float(price),
        sma_20=draw(near),
        deviation=draw(st.floats(0, 2)) * float(price),
        sma_60=draw(near),
        sma_120=draw(st.none() | near),
    )


@settings(deadline=None)
@given(markets())
def test_the_ranges_keep_their_order_whatever_the_market(market: tuple[Quote, Indicators]) -> None:
    seen, values = market
    ranges = price_ranges(seen, values)
    every: list[PriceRange] = [ranges.buy_hope, ranges.appropriate_buy, ranges.appropriate_sell, ranges.sell_target]
    for one in every:
        assert 0 < one.min <= one.max
        for price in (one.min, one.max):
            assert price == round_down(price, seen.tick_size), "off the tick grid"
    assert ranges.buy_hope.max <= ranges.appropriate_buy.min
    assert ranges.appropriate_sell.max <= ranges.sell_target.min
    # nobody is told to pay far above the ask, or to ask far below the bid
    slack = SLACK * max(seen.price * MAXIMUM_ATR, seen.tick_size)
    assert ranges.appropriate_buy.max <= max(seen.ask + slack, seen.tick_size)
    assert ranges.appropriate_sell.min >= min(seen.bid - slack, seen.tick_size)


def test_inside_the_bands_the_quote_can_be_bought_and_sold() -> None:
    ranges = price_ranges(quote("10000"), indicators(atr=200, sma_20=10000, deviation=300, sma_60=9500))
    assert ranges.appropriate_buy == PriceRange(Decimal(9850), Decimal(10050))
    assert ranges.appropriate_sell == PriceRange(Decimal(9950), Decimal(10150))


def test_the_dip_and_the_target_start_at_the_first_level_on_their_way() -> None:
    ranges = price_ranges(quote("10000"), indicators(atr=200, sma_20=10000, deviation=300, sma_60=9800, sma_120=9700))
    assert ranges.buy_hope == PriceRange(Decimal(9700), Decimal(9800))
    # no level within one ATR above 10,150: one ATR away
    assert ranges.sell_target == PriceRange(Decimal(10350), Decimal(10450))


def test_above_the_upper_band_the_price_is_not_chased() -> None:
    ranges = price_ranges(quote("11000"), indicators(atr=200, sma_20=10000, deviation=300, sma_60=9500))
    assert ranges.appropriate_buy.max == 10600


def test_below_the_lower_band_nothing_is_sold_in_a_panic() -> None:
    ranges = price_ranges(quote("9000"), indicators(atr=200, sma_20=10000, deviation=300, sma_60=9500))
    assert ranges.appropriate_sell.min == 9400


def test_buy_prices_are_rounded_down_and_sell_prices_up() -> None:
    ranges = price_ranges(
        quote("10000", tick=Decimal(100)), indicators(atr=210, sma_20=10000, deviation=300, sma_60=9500)
    )
    assert ranges.appropriate_buy == PriceRange(Decimal(9800), Decimal(10000))
    assert ranges.appropriate_sell == PriceRange(Decimal(10000), Decimal(10200))


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        (Quote("X", Decimal(0), Decimal(1), Decimal(1), Decimal(1), AT), "price is 0"),
        (Quote("X", Decimal(1), Decimal("NaN"), Decimal(1), Decimal(1), AT), "bid is NaN"),
        (Quote("X", Decimal(1), Decimal(1), Decimal(1), Decimal(0), AT), "tick_size is 0"),
        (Quote("X", Decimal(2), Decimal(3), Decimal(2), Decimal(1), AT), "bid 3 is above ask 2"),
    ],
)
def test_a_quote_nobody_can_trade_on_is_refused(bad: Quote, fault: str) -> None:
    with pytest.raises(BadQuote, match=fault):
        price_ranges(bad, indicators(atr=1, sma_20=10, deviation=1, sma_60=10))


@settings(deadline=None)
@given(st.decimals("0.00000001", 10**9, places=8), st.sampled_from(TICKS))
def test_rounding_moves_a_price_by_less_than_a_tick(price: Decimal, tick: Decimal) -> None:
    assert price - tick < round_down(price, tick) <= price <= round_up(price, tick) < price + tick
