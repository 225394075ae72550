"""What the accounts were worth over time: one panel per account, each with the scale of its own currency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from charts.axis import Scale, figure, padded, round_values
from charts.canvas import Canvas, text_width
from charts.errors import BadChart
from charts.theme import AXIS, BUY, CURVE, FAINT, GRID, INK, MARGIN, PANEL, STOP, SUBTITLE, TITLE, WIDTH
from trading.periods import KST

PANEL_HEIGHT, PANEL_TITLE, PANEL_TITLE_HEIGHT, GAP = 230, 26, 44, 22
TOP = 112
PANELS_SHOWN = 4
# More points than the picture has columns show nothing more.
POINTS_SHOWN = 800


@dataclass(frozen=True, slots=True)
class Account:
    """An account's worth in `currency` at aware times, oldest first. `change` is what it gained in the period that is
    told of, as a fraction; None where that cannot be told."""

    name: str
    currency: str
    points: Sequence[tuple[datetime, Decimal]]
    change: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EquityChart:
    """The accounts from `since`, or the first point there is, to `until`; from `told_since` on it is lighter."""

    title: str
    subtitle: str
    since: datetime
    told_since: datetime
    until: datetime
    accounts: Sequence[Account]


def draw(chart: EquityChart) -> bytes:
    """The chart as PNG. Raises `BadChart` where no account has a point."""
    accounts = [account for account in chart.accounts if account.points][:PANELS_SHOWN]
    if not accounts:
        raise BadChart("no account was seen")
    # a single account has the picture for itself
    height = PANEL_HEIGHT * 2 if len(accounts) == 1 else PANEL_HEIGHT
    canvas = Canvas(WIDTH, TOP + len(accounts) * (PANEL_TITLE_HEIGHT + height + GAP) + 34)
    canvas.text((MARGIN, 20), chart.title, TITLE, INK, bold=True)
    canvas.text((MARGIN, 66), chart.subtitle, SUBTITLE, FAINT)
    bounds = [padded([float(total) for _, total in account.points], 0.15) for account in accounts]
    labels = [
        figure(value, account.currency)
        for account, (low, high) in zip(accounts, bounds, strict=True)
        for value in round_values(low, high, 4)
    ]
    right = WIDTH - max(text_width(label, AXIS) for label in labels) - 24
    since = max(chart.since, min(account.points[0][0] for account in accounts))
    chart = replace(chart, since=min(since, chart.until - timedelta(hours=1)))
    times = Scale(chart.since.timestamp(), chart.until.timestamp(), MARGIN, right)
    top = float(TOP)
    for account, (low, high) in zip(accounts, bounds, strict=True):
        _title(canvas, account, top)
        top += PANEL_TITLE_HEIGHT
        worth = Scale(low, high, top + height, top)
        canvas.rectangle(MARGIN, top, right, top + height, PANEL)
        canvas.shade(max(times.at(chart.told_since.timestamp()), MARGIN), top, right, top + height, FAINT, 0.10)
        _grid(canvas, account, chart, worth, times, right)
        _curve(canvas, account, worth, times)
        top += height + GAP
    _dates(canvas, chart, times, top - GAP + 10)
    return canvas.png()


def _title(canvas: Canvas, account: Account, top: float) -> None:
    words = f"{account.name}   {figure(float(account.points[-1][1]), account.currency)} {account.currency}"
    canvas.text((MARGIN, top + 4), words, PANEL_TITLE, INK)
    if account.change is not None:
        rounded = round(account.change, 4)
        colour = BUY if rounded > 0 else STOP if rounded < 0 else FAINT
        at = MARGIN + text_width(words, PANEL_TITLE) + 24
        canvas.text((at, top + 4), f"{account.change:+.2%}", PANEL_TITLE, colour, bold=True)


def _grid(canvas: Canvas, account: Account, chart: EquityChart, worth: Scale, times: Scale, right: float) -> None:
    for value in round_values(worth.low, worth.high, 4):
        y = worth.at(value)
        canvas.line([(MARGIN, y), (right, y)], GRID, 1)
        canvas.text((right + 10, y), figure(value, account.currency), AXIS, FAINT, "lm")
    for at in _moments(chart):
        x = times.at(at.timestamp())
        canvas.line([(x, worth.top), (x, worth.bottom)], GRID, 1)


def _curve(canvas: Canvas, account: Account, worth: Scale, times: Scale) -> None:
    every = max(-(-len(account.points) // POINTS_SHOWN), 1)
    chosen = [*account.points[:-1:every], account.points[-1]]
    points = [(max(times.at(at.timestamp()), MARGIN), worth.at(float(total))) for at, total in chosen]
    first = float(account.points[0][1])
    canvas.dashes(MARGIN, times.top, worth.at(first), FAINT, 1.5)
    if len(points) > 1:
        canvas.line(points, CURVE, 3.5)
    x, y = points[-1]
    canvas.shape([(x, y - 7), (x + 7, y), (x, y + 7), (x - 7, y)], CURVE, INK)


def _dates(canvas: Canvas, chart: EquityChart, times: Scale, y: float) -> None:
    free = 0.0
    for at in _moments(chart):
        local = at.astimezone(KST)
        words = f"{local:%m-%d %H:%M}" if local.hour else f"{local:%m-%d}"
        half = text_width(words, AXIS) / 2
        x = min(max(times.at(at.timestamp()), MARGIN + half), times.top - half)
        if x - half >= free:
            canvas.text((x, y), words, AXIS, FAINT, "ma")
            free = x + half + 16


def _moments(chart: EquityChart) -> list[datetime]:
    """Midnights in Korea, about seven; of a short time also hours in between."""
    days = (chart.until - chart.since) / timedelta(days=1)
    step = timedelta(hours=6) if days <= 2.5 else timedelta(days=-(-days // 7))
    at = chart.since.astimezone(KST).replace(hour=0, minute=0, second=0, microsecond=0)
    found = []
    while at < chart.until:
        if at > chart.since:
            found.append(at)
        at += step
    return found
