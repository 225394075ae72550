"""The four price ranges of an analysis, from quote, ATR, Bollinger bands and moving averages.

Around the price lie the appropriate ranges, one ATR wide: what may be paid now, what may be asked now.
Beyond them the hoped-for dip starts at the first support below and the target at the first resistance
above; where there is none within one ATR, one ATR away. Nobody buys above the upper band or sells below
the lower one: there the appropriate range stays behind the price, and the order is out of range.
"""

from __future__ import annotations

from decimal import Decimal

from trading.indicators import Indicators
from trading.ticks import check_quote, round_down, round_up
from trading.types import PriceRange, PriceRanges, Quote

# how far the price may run between analysis and order, in ATR
SLACK = Decimal("0.25")
# width of the hoped-for dip and of the target, in ATR
FAR_WIDTH = Decimal("0.5")
# an ATR above this share of the price is a crash or a listing day: ranges that wide would mean nothing
MAXIMUM_ATR = Decimal("0.15")


def price_ranges(quote: Quote, indicators: Indicators) -> PriceRanges:
    """The ranges at `quote`, on its tick grid: buy prices rounded down, sell prices up, all positive.

    buy_hope.max <= appropriate_buy.min and appropriate_sell.max <= sell_target.min, always. Where a venue's
    tick changes with the price, a rung far from the quote is rounded again when it becomes an order.
    Raises `BadQuote`.
    """
    check_quote(quote)
    tick = quote.tick_size
    atr = min(max(_decimal(indicators.atr), tick), max(quote.price * MAXIMUM_ATR, tick))
    levels = [
        _decimal(level)
        for level in (
            indicators.bollinger_lower,
            indicators.bollinger_upper,
            indicators.sma_20,
            indicators.sma_60,
            indicators.sma_120,
        )
        if level is not None
    ]
    buy_max = min(quote.ask + SLACK * atr, _decimal(indicators.bollinger_upper))
    buy_min = buy_max - atr
    hope_max = max((level for level in levels if buy_min - atr <= level <= buy_min), default=buy_min - atr)
    sell_min = max(quote.bid - SLACK * atr, _decimal(indicators.bollinger_lower))
    sell_max = sell_min + atr
    target_min = min((level for level in levels if sell_max <= level <= sell_max + atr), default=sell_max + atr)
    return PriceRanges(
        appropriate_buy=_buy(buy_min, buy_max, tick),
        appropriate_sell=_sell(sell_min, sell_max, tick),
        buy_hope=_buy(hope_max - FAR_WIDTH * atr, hope_max, tick),
        sell_target=_sell(target_min, target_min + FAR_WIDTH * atr, tick),
    )


def _buy(low: Decimal, high: Decimal, tick: Decimal) -> PriceRange:
    return PriceRange(max(round_down(low, tick), tick), max(round_down(high, tick), tick))


def _sell(low: Decimal, high: Decimal, tick: Decimal) -> PriceRange:
    return PriceRange(max(round_up(low, tick), tick), max(round_up(high, tick), tick))


def _decimal(value: float) -> Decimal:
    return Decimal(repr(value))
