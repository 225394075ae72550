"""Colours and sizes: dark, and large enough for a phone. Candles rise in red and fall in blue, as in Korea."""

from __future__ import annotations

Colour = tuple[int, int, int]

BACKGROUND: Colour = (19, 23, 34)
PANEL: Colour = (25, 30, 44)
GRID: Colour = (46, 53, 71)
INK: Colour = (232, 235, 242)
FAINT: Colour = (150, 158, 176)

RISE: Colour = (239, 83, 80)
FALL: Colour = (66, 135, 245)
BUY: Colour = (38, 201, 138)
SELL: Colour = (255, 167, 38)
STOP: Colour = (236, 64, 190)
AVERAGE: Colour = (196, 166, 255)
LAST: Colour = (232, 235, 242)
CURVE: Colour = (92, 190, 255)


def mixed(colour: Colour, share: float = 0.5) -> Colour:
    """A colour with so much of the background in it."""
    red, green, blue = (round(one * (1 - share) + other * share) for one, other in zip(colour, PANEL, strict=True))
    return red, green, blue


TITLE, SUBTITLE, LEGEND, AXIS = 36, 22, 22, 21
WIDTH, HEIGHT = 1080, 810
MARGIN = 28
"""Free space at the edges, in points."""
