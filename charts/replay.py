"""What a replay's account was worth, against buying at the start and keeping it: two curves in percent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from charts.axis import Scale, padded, round_values
from charts.canvas import Canvas, text_width
from charts.errors import BadChart
from charts.theme import (
    AVERAGE,
    AXIS,
    CURVE,
    FAINT,
    GRID,
    INK,
    LEGEND,
    MARGIN,
    PANEL,
    SUBTITLE,
    TITLE,
    WIDTH,
    Colour,
)

TOP, HEIGHT, FALLS_HEIGHT, GAP = 158, 430, 130, 54
# More points than the picture has columns show nothing more.
POINTS_SHOWN = 1000

Curve = Sequence[tuple[date, Decimal]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayChart:
    """Both curves begin with `cash` and have a point for each day, oldest first."""

    title: str
    subtitle: str
    cash: Decimal
    account: Curve
    kept: Curve


def draw(chart: ReplayChart) -> bytes:
    """The chart as PNG: both curves, and under them how far each close was under the highest one before it. Raises
    `BadChart` without a day."""
    if not chart.account or chart.cash <= 0:
        raise BadChart("no day was replayed")
    canvas = Canvas(WIDTH, TOP + HEIGHT + GAP + FALLS_HEIGHT + 56)
    canvas.text((MARGIN, 20), chart.title, TITLE, INK, bold=True)
    canvas.text((MARGIN, 66), chart.subtitle, SUBTITLE, FAINT)
    account, kept = _changes(chart.account, chart.cash), _changes(chart.kept, chart.cash)
    falls, kept_falls = _falls(account), _falls(kept)
    _legend(canvas, account[-1][1], kept[-1][1])
    low, high = padded([0.0, *(value for _, value in (*account, *kept))], 0.08)
    deepest, _ = padded([0.0, *(value for _, value in (*falls, *kept_falls))], 0.08)
    labels = [_percent(value) for value in (*round_values(low, high, 6), *round_values(deepest, 0.0, 3))]
    right = WIDTH - max(text_width(label, AXIS) for label in labels) - 24
    first, last = account[0][0], max(account[-1][0], account[0][0] + timedelta(days=1))
    days = Scale(first.toordinal(), last.toordinal(), MARGIN, right)
    worth = Scale(low, high, TOP + HEIGHT, TOP)
    below = TOP + HEIGHT + GAP
    under = Scale(deepest, 0.0, below + FALLS_HEIGHT, below)
    for scale, about in ((worth, 6), (under, 3)):
        canvas.rectangle(MARGIN, scale.top, right, scale.bottom, PANEL)
        _grid(canvas, scale, days, right, about, _months(first, last))
    canvas.text((MARGIN, below - 18), "below the highest close before", AXIS, FAINT, "lm")
    canvas.dashes(MARGIN, right, worth.at(0.0), FAINT, 1.5)
    _curve(canvas, kept, days, worth, AVERAGE, 2.5)
    _curve(canvas, account, days, worth, CURVE, 3.5)
    _curve(canvas, kept_falls, days, under, AVERAGE, 2)
    _curve(canvas, falls, days, under, CURVE, 2.5)
    _dates(canvas, _months(first, last), days, under.bottom + 10)
    return canvas.png()


def _legend(canvas: Canvas, account: float, kept: float) -> None:
    at = float(MARGIN)
    for words, colour in (
        (f"account {_percent(account)}", CURVE),
        (f"bought and kept {_percent(kept)}", AVERAGE),
    ):
        canvas.line([(at, 122), (at + 34, 122)], colour, 4)
        canvas.text((at + 44, 122), words, LEGEND, INK, "lm")
        at += 44 + text_width(words, LEGEND) + 40


def _grid(canvas: Canvas, scale: Scale, days: Scale, right: float, about: int, moments: Sequence[date]) -> None:
    for value in round_values(scale.low, scale.high, about):
        y = scale.at(value)
        canvas.line([(MARGIN, y), (right, y)], GRID, 1)
        canvas.text((right + 10, y), _percent(value), AXIS, FAINT, "lm")
    for day in moments:
        x = days.at(day.toordinal())
        canvas.line([(x, scale.top), (x, scale.bottom)], GRID, 1)


def _curve(
    canvas: Canvas, points: Sequence[tuple[date, float]], days: Scale, scale: Scale, colour: Colour, width: float
) -> None:
    every = max(-(-len(points) // POINTS_SHOWN), 1)
    chosen = [*points[:-1:every], points[-1]]
    drawn = [(days.at(day.toordinal()), scale.at(value)) for day, value in chosen]
    if len(drawn) > 1:
        canvas.line(drawn, colour, width)
    else:
        x, y = drawn[0]
        canvas.shape([(x, y - 7), (x + 7, y), (x, y + 7), (x - 7, y)], colour, INK)


def _dates(canvas: Canvas, moments: Sequence[date], days: Scale, y: float) -> None:
    free = 0.0
    for day in moments:
        words = f"{day:%Y-%m}" if day.day == 1 else f"{day:%m-%d}"
        half = text_width(words, AXIS) / 2
        x = min(max(days.at(day.toordinal()), MARGIN + half), days.top - half)
        if x - half >= free:
            canvas.text((x, y), words, AXIS, FAINT, "ma")
            free = x + half + 16


def _months(first: date, last: date) -> list[date]:
    """First days of months, at most about eight; of a short time single days."""
    span = (last - first).days
    if span < 70:
        step = -(-span // 7) or 1
        return [first + timedelta(days=number) for number in range(step, span + 1, step)]
    step = -(-(span // 30) // 8) or 1
    found: list[date] = []
    month = first.year * 12 + first.month
    while True:
        day = date(month // 12, month % 12 + 1, 1)
        if day > last:
            return found
        found.append(day)
        month += step


def _changes(curve: Curve, cash: Decimal) -> list[tuple[date, float]]:
    return [(day, float(value / cash - 1)) for day, value in curve]


def _falls(changes: Sequence[tuple[date, float]]) -> list[tuple[date, float]]:
    highest, found = 1.0, []
    for day, change in changes:
        highest = max(highest, 1 + change)
        found.append((day, (1 + change) / highest - 1))
    return found


def _percent(rate: float) -> str:
    # no sign before what is rounded to nothing
    rounded = round(rate * 100, 1)
    return f"{rounded:+.1f} %" if rounded else "0.0 %"
