"""The chart of an analysis: candles, the ranges to buy and sell in, the stop, and our orders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from charts.axis import Scale, figure, padded, round_values, spread
from charts.canvas import Canvas, Point, text_width
from charts.errors import BadChart
from charts.theme import (
    AVERAGE,
    AXIS,
    BACKGROUND,
    BUY,
    FAINT,
    FALL,
    GRID,
    HEIGHT,
    INK,
    LAST,
    LEGEND,
    MARGIN,
    PANEL,
    RISE,
    SELL,
    STOP,
    SUBTITLE,
    TITLE,
    WIDTH,
    Colour,
    mixed,
)
from trading.periods import KST
from trading.types import Candle, PriceRange, Side

CANDLES_SHOWN = 60
ORDERS_SHOWN = 4
# How far what is not a candle may stretch the scale, in heights of the candles: a target far away flattens none.
STRETCH = 0.6
VOLUME_HEIGHT = 90
MARK = 11


@dataclass(frozen=True, slots=True)
class Traded:
    """One of our fills."""

    at: datetime
    side: Side
    price: Decimal


@dataclass(frozen=True, slots=True)
class Resting:
    """One of our orders in the book."""

    side: Side
    price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceChart:
    """What the chart of a symbol shows. Prices in `currency`; `candles` of a day each, oldest first; `stop` is where
    the position is left at a loss, `average` what it cost, None where there is none."""

    title: str
    subtitle: str
    currency: str
    candles: Sequence[Candle]
    price: Decimal
    buy: PriceRange
    sell: PriceRange
    dip: PriceRange | None = None
    target: PriceRange | None = None
    stop: Decimal | None = None
    average: Decimal | None = None
    fills: Sequence[Traded] = ()
    orders: Sequence[Resting] = field(default=())


def draw(chart: PriceChart) -> bytes:
    """The chart as PNG. Raises `BadChart` without candles."""
    candles = list(chart.candles)[-CANDLES_SHOWN:]
    if not candles:
        raise BadChart("there are no candles")
    canvas = Canvas(WIDTH, HEIGHT)
    canvas.text((MARGIN, 20), chart.title, TITLE, INK, bold=True)
    canvas.text((MARGIN, 66), chart.subtitle, SUBTITLE, FAINT)
    low, high = _range(chart, candles)
    labels = [figure(value, chart.currency) for value in round_values(low, high, 6)]
    tagged = [figure(float(value), chart.currency) for value in _shown_lines(chart)]
    right = WIDTH - max(text_width(label, AXIS) for label in [*labels, *tagged]) - 24
    top = _legend(canvas, chart, 106) + 16
    bottom = HEIGHT - 52
    canvas.rectangle(MARGIN, top, right, bottom, PANEL)
    prices = Scale(low, high, bottom - VOLUME_HEIGHT - 14, top + 8)
    step = (right - MARGIN) / (len(candles) + 1)
    middles = [MARGIN + step * (number + 1) for number in range(len(candles))]
    _bands(canvas, chart, prices, right)
    _grid(canvas, chart, candles, middles, prices, right, bottom)
    _volumes(canvas, candles, middles, step, bottom)
    _candles(canvas, candles, middles, step, prices)
    _lines(canvas, chart, prices, right)
    _fills(canvas, chart, candles, middles, prices)
    return canvas.png()


def _range(chart: PriceChart, candles: Sequence[Candle]) -> tuple[float, float]:
    lows, highs = [float(candle.low) for candle in candles], [float(candle.high) for candle in candles]
    low, high = min([*lows, float(chart.price)]), max([*highs, float(chart.price)])
    room = (high - low) * STRETCH or high * 0.05
    ranges = [found for found in (chart.buy, chart.sell, chart.dip, chart.target) if found is not None]
    others = [float(price) for found in ranges for price in (found.min, found.max)]
    others += [float(price) for price in _shown_lines(chart)]
    near = [value for value in others if low - room <= value <= high + room]
    return padded([low, high, *near])


def _shown_lines(chart: PriceChart) -> list[Decimal]:
    orders = [order.price for order in chart.orders[:ORDERS_SHOWN]]
    return [price for price in (chart.price, chart.stop, chart.average, *orders) if price is not None]


def _legend(canvas: Canvas, chart: PriceChart, top: float) -> float:
    """What the colours mean, with the figures; returns where the legend ends."""

    def between(name: str, prices: PriceRange) -> str:
        ends = [figure(float(price), chart.currency) for price in (prices.min, prices.max)]
        return f"{name} {' - '.join(dict.fromkeys(ends))}"

    entries: list[tuple[Colour, str]] = [(BUY, between("buy", chart.buy)), (SELL, between("sell", chart.sell))]
    if chart.dip is not None:
        entries.append((mixed(BUY), between("hoped-for dip", chart.dip)))
    if chart.target is not None:
        entries.append((mixed(SELL), between("target", chart.target)))
    if chart.stop is not None:
        entries.append((STOP, f"stop {figure(float(chart.stop), chart.currency)}"))
    if chart.average is not None:
        entries.append((AVERAGE, f"our cost {figure(float(chart.average), chart.currency)}"))
    for side, colour in ((Side.BUY, BUY), (Side.SELL, SELL)):
        if count := sum(order.side is side for order in chart.orders):
            entries.append((colour, f"{side} orders {count}"))
        if count := sum(fill.side is side for fill in chart.fills):
            entries.append((colour, f"{'bought' if side is Side.BUY else 'sold'} {count}x"))
    x, y = float(MARGIN), top
    for colour, words in entries:
        width = text_width(words, LEGEND) + 50
        if x > MARGIN and x + width > WIDTH - 8:
            x, y = float(MARGIN), y + LEGEND + 12
        if words.startswith(("bought", "sold")):
            canvas.shape(triangle(x + 9, y + (3 if colour is BUY else LEGEND - 1), colour is BUY), colour)
        else:
            canvas.rectangle(x, y + 4, x + 18, y + LEGEND - 1, colour)
        canvas.text((x + 26, y), words, LEGEND, INK)
        x += width
    return y + LEGEND


def _bands(canvas: Canvas, chart: PriceChart, prices: Scale, right: float) -> None:
    for found, colour, share in (
        (chart.dip, BUY, 0.14),
        (chart.target, SELL, 0.14),
        (chart.buy, BUY, 0.30),
        (chart.sell, SELL, 0.30),
    ):
        if found is None or float(found.max) < prices.low or float(found.min) > prices.high:
            continue
        upper = max(prices.at(float(found.max)), prices.top)
        lower = min(prices.at(float(found.min)), prices.bottom)
        canvas.shade(MARGIN, upper, right, lower, colour, share)
        # a range of one price is still seen
        for edge in (upper, lower):
            canvas.dashes(MARGIN, right, edge, colour, 1)


def _grid(
    canvas: Canvas,
    chart: PriceChart,
    candles: Sequence[Candle],
    middles: Sequence[float],
    prices: Scale,
    right: float,
    bottom: float,
) -> None:
    taken = [prices.at(float(value)) for value in _shown_lines(chart)]
    for value in round_values(prices.low, prices.high, 6):
        y = prices.at(value)
        canvas.line([(MARGIN, y), (right, y)], GRID, 1)
        if all(abs(y - other) > AXIS * 1.3 for other in taken):
            canvas.text((right + 10, y), figure(value, chart.currency), AXIS, FAINT, "lm")
    every = max(len(candles) // 5, 1)
    for number in range(len(candles) - 1, -1, -every):
        x = middles[number]
        canvas.line([(x, prices.top), (x, bottom)], GRID, 1)
        words = f"{candles[number].time.astimezone(KST):%m-%d}"
        half = text_width(words, AXIS) / 2
        canvas.text((min(max(x, MARGIN + half), right - half), bottom + 10), words, AXIS, FAINT, "ma")


def _volumes(canvas: Canvas, candles: Sequence[Candle], middles: Sequence[float], step: float, bottom: float) -> None:
    largest = max(float(candle.volume) for candle in candles)
    if largest <= 0:
        return
    for candle, x in zip(candles, middles, strict=True):
        height = float(candle.volume) / largest * VOLUME_HEIGHT
        left, upper = x - step * 0.34, bottom - height
        canvas.shade(left, upper, x + step * 0.34, bottom, RISE if candle.close >= candle.open else FALL, 0.45)


def _candles(canvas: Canvas, candles: Sequence[Candle], middles: Sequence[float], step: float, prices: Scale) -> None:
    for candle, x in zip(candles, middles, strict=True):
        colour = RISE if candle.close >= candle.open else FALL
        canvas.line([(x, prices.at(float(candle.high))), (x, prices.at(float(candle.low)))], colour, 1.5)
        upper = prices.at(float(max(candle.open, candle.close)))
        lower = prices.at(float(min(candle.open, candle.close)))
        canvas.rectangle(x - step * 0.34, upper, x + step * 0.34, max(lower, upper + 1.5), colour)


def _lines(canvas: Canvas, chart: PriceChart, prices: Scale, right: float) -> None:
    """The prices that count, each with its figure at the right edge, moved apart where they are close."""
    lines: list[tuple[float, Colour]] = []
    for order in chart.orders[:ORDERS_SHOWN]:
        lines.append((float(order.price), BUY if order.side is Side.BUY else SELL))
    for known, colour in ((chart.stop, STOP), (chart.average, AVERAGE), (chart.price, LAST)):
        if known is not None:
            lines.append((float(known), colour))
    lines = [line for line in lines if prices.inside(line[0])]
    places = spread([prices.at(price) for price, _ in lines], AXIS * 1.5, prices.top + 8, prices.bottom)
    for (price, colour), place in zip(lines, places, strict=True):
        y = prices.at(price)
        canvas.dashes(MARGIN, right, y, colour, 2)
        canvas.line([(right, y), (right + 6, place)], colour, 2)
        canvas.tag((right + 6, place), figure(price, chart.currency), AXIS, colour, BACKGROUND)


def _fills(
    canvas: Canvas, chart: PriceChart, candles: Sequence[Candle], middles: Sequence[float], prices: Scale
) -> None:
    """A triangle at the day and price of each fill: from below for a buy, from above for a sale."""
    for fill in chart.fills:
        days = [number for number, candle in enumerate(candles) if candle.time <= fill.at]
        if not days or not prices.inside(float(fill.price)):
            continue
        x, y = middles[days[-1]], prices.at(float(fill.price))
        is_buy = fill.side is Side.BUY
        canvas.shape(triangle(x, y, is_buy), BUY if is_buy else SELL, BACKGROUND)


def triangle(x: float, y: float, up: bool) -> list[Point]:
    """A triangle with its tip at a point."""
    base = y + MARK * (1.7 if up else -1.7)
    return [(x, y), (x - MARK, base), (x + MARK, base)]
