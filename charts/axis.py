"""Scales, and the figures beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to points: `low` is drawn at `bottom`, `high` at `top`."""

    low: float
    high: float
    bottom: float
    top: float

    def at(self, value: float) -> float:
        """Where a value lies; one outside lies outside."""
        if self.high == self.low:
            return (self.bottom + self.top) / 2
        return self.bottom + (value - self.low) / (self.high - self.low) * (self.top - self.bottom)

    def inside(self, value: float) -> bool:
        return self.low <= value <= self.high


def padded(values: Sequence[float], share: float = 0.06) -> tuple[float, float]:
    """The range of the values with some room at both ends; never empty."""
    low, high = min(values), max(values)
    room = (high - low) * share or abs(high) * 0.01 or 1.0
    return low - room, high + room


def round_values(low: float, high: float, about: int) -> list[float]:
    """About so many round values between two."""
    if not high > low:
        return [low]
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def figure(value: float, currency: str) -> str:
    """A price or an amount as the message shows it: whole won, dollars with cents, more digits for what is small."""
    size = abs(value)
    if size >= 1000 and currency == "KRW":
        places = 0
    elif size >= 1:
        places = 2
    elif size > 0:
        places = min(8, 3 - math.floor(math.log10(size)))
    else:
        places = 0
    text = f"{value:,.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text and currency != "USD" else text


def spread(wanted: Sequence[float], distance: float, top: float, bottom: float) -> list[float]:
    """The positions as near to the wanted ones as they may be at that distance from each other, in the same order."""
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    placed = list(wanted)
    lowest = top
    for index in order:
        placed[index] = max(wanted[index], lowest)
        lowest = placed[index] + distance
    highest = bottom
    for index in reversed(order):
        placed[index] = min(placed[index], highest)
        highest = placed[index] - distance
    return placed
