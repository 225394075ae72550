"""Charts as shapes for inline SVG.

Across they are in percent or in a stretched box, so that a chart fills whatever width the page has; down they are in
points, so that its text keeps its size on a phone. Colours are classes of the style sheet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from charts.axis import Scale, figure, padded, round_values, spread
from storage.shown import WorthPoint
from trading.periods import KST
from trading.types import Candle, PriceRange, Side

# units of the stretched box per candle
SLOT, BODY = 10.0, 3.4
# how far what is not a candle may stretch the scale, in heights of the candles
STRETCH = 0.6
BOX = 1000.0
LABEL = 17.0
FIGURE = 6.7
# an account that is a minute old has a curve of some minutes
SHORTEST = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Label:
    """Text at `y` points on the axis or `x` percent below it; `kind` is its class."""

    text: str
    x: float = 0.0
    y: float = 0.0
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Band:
    kind: str
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Line:
    kind: str
    y: float


@dataclass(frozen=True, slots=True)
class Mark:
    """One of our fills, at `x` percent and `y` points."""

    kind: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Traded:
    at: datetime
    side: Side
    price: Decimal


@dataclass(frozen=True, slots=True)
class Priced:
    """What a price chart shows besides candles. `ranges` by their names."""

    currency: str
    price: Decimal
    at: datetime
    ranges: dict[str, PriceRange]
    fills: Sequence[Traded] = ()


@dataclass(slots=True)
class PriceShapes:
    """`box` is the width of the stretched box; `moment` is where the analysis was, in percent."""

    height: float
    box: float
    rising: str = ""
    falling: str = ""
    rising_volume: str = ""
    falling_volume: str = ""
    bands: list[Band] = field(default_factory=list)
    grid: list[float] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    dates: list[Label] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    moment: float | None = None

    @property
    def gutter(self) -> float:
        return _gutter(self.labels)


def price_chart(shown: Priced, candles: Sequence[Candle], height: float, *, most: int, details: bool) -> PriceShapes:
    """The last `most` candles with the ranges; with `details` also axis, dates, volumes and fills. Without candles the
    ranges alone."""
    candles = [candle for candle in candles if _drawable(candle)][-most:]
    below = (46.0 + 20.0) if details else 0.0
    low, high = _bounds(shown, candles)
    scale = Scale(low, high, height - below - 4, 8)
    shapes = PriceShapes(height, max(len(candles), 1) * SLOT)
    _bands(shapes, shown, scale)
    _candles(shapes, candles, scale)
    shapes.lines.append(Line("last", round(scale.at(float(shown.price)), 1)))
    if details:
        _axis(shapes, shown, scale)
        _volumes(shapes, candles, height - 20.0, 40.0)
        _dates(shapes, candles, height - 6.0)
        _fills(shapes, shown.fills, candles, scale)
    position = _slot(candles, shown.at)
    if position is not None and position < len(candles) - 1:
        shapes.moment = _percent(position, len(candles))
    return shapes


def _drawable(candle: Candle) -> bool:
    return all(value.is_finite() and value > 0 for value in (candle.open, candle.high, candle.low, candle.close))


def _bounds(shown: Priced, candles: Sequence[Candle]) -> tuple[float, float]:
    price = float(shown.price)
    low = min([price, *(float(candle.low) for candle in candles)])
    high = max([price, *(float(candle.high) for candle in candles)])
    room = (high - low) * STRETCH if candles else price * 0.15
    others = [float(end) for found in shown.ranges.values() for end in (found.min, found.max)]
    return padded([low, high, *(value for value in others if low - room <= value <= high + room)])


def _bands(shapes: PriceShapes, shown: Priced, scale: Scale) -> None:
    for name, found in shown.ranges.items():
        if float(found.max) < scale.low or float(found.min) > scale.high:
            continue
        upper, lower = max(scale.at(float(found.max)), scale.top), min(scale.at(float(found.min)), scale.bottom)
        shapes.bands.append(Band(name, round(upper, 1), round(max(lower - upper, 1.5), 1)))


def _candles(shapes: PriceShapes, candles: Sequence[Candle], scale: Scale) -> None:
    """Wicks and bodies as one path for those that rose and one for those that fell."""
    paths: dict[bool, list[str]] = {True: [], False: []}
    for number, candle in enumerate(candles):
        x = (number + 0.5) * SLOT
        high, low = scale.at(float(candle.high)), scale.at(float(candle.low))
        upper = scale.at(float(max(candle.open, candle.close)))
        depth = max(scale.at(float(min(candle.open, candle.close))) - upper, 0.8)
        paths[candle.close >= candle.open].append(
            f"M{x:g} {high:.1f}V{low:.1f}M{x - BODY:g} {upper:.1f}h{2 * BODY:g}v{depth:.1f}h{-2 * BODY:g}z"
        )
    shapes.rising, shapes.falling = "".join(paths[True]), "".join(paths[False])


def _volumes(shapes: PriceShapes, candles: Sequence[Candle], bottom: float, height: float) -> None:
    largest = max((float(candle.volume) for candle in candles), default=0.0)
    if not largest > 0:
        return
    paths: dict[bool, list[str]] = {True: [], False: []}
    for number, candle in enumerate(candles):
        left, tall = (number + 0.5) * SLOT - BODY, float(candle.volume) / largest * height
        paths[candle.close >= candle.open].append(f"M{left:g} {bottom:g}v{-tall:.1f}h{2 * BODY:g}V{bottom:g}z")
    shapes.rising_volume, shapes.falling_volume = "".join(paths[True]), "".join(paths[False])


def _axis(shapes: PriceShapes, shown: Priced, scale: Scale) -> None:
    last = scale.at(float(shown.price))
    for value in round_values(scale.low, scale.high, 5):
        y = scale.at(value)
        shapes.grid.append(round(y, 1))
        if abs(y - last) > LABEL:
            shapes.labels.append(Label(figure(value, shown.currency), y=round(y, 1)))
    shapes.labels.append(Label(figure(float(shown.price), shown.currency), y=round(last, 1), kind="last"))


def _dates(shapes: PriceShapes, candles: Sequence[Candle], y: float) -> None:
    for number in _about(len(candles), 4):
        local = candles[number].time.astimezone(KST)
        shapes.dates.append(Label(f"{local:%m-%d}", x=_percent(number, len(candles)), y=y))


def _fills(shapes: PriceShapes, fills: Iterable[Traded], candles: Sequence[Candle], scale: Scale) -> None:
    for fill in fills:
        position = _slot(candles, fill.at)
        if position is not None and scale.inside(float(fill.price)):
            y = round(scale.at(float(fill.price)), 1)
            shapes.marks.append(Mark(str(fill.side), _percent(position, len(candles)), y))


def _slot(candles: Sequence[Candle], at: datetime) -> int | None:
    """The number of the candle that was running at a time."""
    return next((number for number in range(len(candles) - 1, -1, -1) if candles[number].time <= at), None)


def _percent(number: int, count: int) -> float:
    return round((number + 0.5) / count * 100, 2)


def _about(count: int, wanted: int) -> list[int]:
    """About so many of the numbers below `count`, evenly apart and away from the edges."""
    step = max(count // wanted, 1)
    return list(range(step // 2, count, step))


@dataclass(slots=True)
class CurveShapes:
    """`line` and `area` are in a box of `BOX` across; `end` is the last point, in percent and points."""

    height: float
    line: str
    area: str
    end: tuple[float, float]
    grid: list[float]
    labels: list[Label]
    dates: list[Label]
    opening: float

    @property
    def gutter(self) -> float:
        return _gutter(self.labels)


def curve(points: Sequence[WorthPoint], since: datetime, until: datetime, height: float) -> CurveShapes | None:
    """The worth of an account from `since`, or its first point, to `until`; None without a point."""
    if not points:
        return None
    values = [float(point.total) for point in points]
    since = min(max(since, points[0].at), until - SHORTEST)
    worth = Scale(*padded(values, 0.18), bottom=height - 22, top=8)
    times = Scale(since.timestamp(), until.timestamp(), 0.0, BOX)
    placed = [
        (max(times.at(point.at.timestamp()), 0.0), worth.at(value)) for point, value in zip(points, values, strict=True)
    ]
    # an account is worth what it was until it is looked at again
    placed.append((BOX, placed[-1][1]))
    line = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in placed)
    area = f"{line}V{worth.bottom:.1f}H{placed[0][0]:.1f}z"
    ticks = round_values(worth.low, worth.high, 4)
    places = spread([worth.at(value) for value in ticks], LABEL, worth.top, worth.bottom)
    labels = [Label(figure(value, points[0].currency), y=round(y, 1)) for value, y in zip(ticks, places, strict=True)]
    return CurveShapes(
        height=height,
        line=line,
        area=area,
        end=(100.0, round(placed[-1][1], 1)),
        grid=[round(worth.at(value), 1) for value in ticks],
        labels=labels,
        dates=[Label(text, x=round(x, 2), y=height - 6) for text, x in _moments(since, until)],
        opening=round(placed[0][1], 1),
    )


def _moments(since: datetime, until: datetime) -> list[tuple[str, float]]:
    """Four times in between, as the length of the whole asks for: hours, or days."""
    length = until - since
    form = "%H:%M" if length <= timedelta(days=2) else "%m-%d"
    shares = (0.125, 0.375, 0.625, 0.875)
    return [((since + length * share).astimezone(KST).strftime(form), share * 100) for share in shares]


def _gutter(labels: Iterable[Label]) -> float:
    """How wide the axis has to be for its figures, in points."""
    return round(max((len(label.text) for label in labels), default=0) * FIGURE + 14)
