"""A drawing surface in the points of the finished picture; drawn larger and scaled down, for smooth edges."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from io import BytesIO
from typing import Literal

from PIL import Image, ImageDraw, ImageFont
from PIL.ImageFont import FreeTypeFont

from charts.theme import BACKGROUND, Colour

# How much larger it is drawn; a picture of 1080 x 800 then takes 10 MB while it is made.
LARGER = 2
DASH, PAUSE = 9, 6

Anchor = Literal["la", "lm", "ra", "rm", "ma", "mm"]
Point = tuple[float, float]


class Canvas:
    """An empty picture of `width` x `height` points."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._image = Image.new("RGB", (width * LARGER, height * LARGER), BACKGROUND)
        self._draw = ImageDraw.Draw(self._image)

    def text(self, at: Point, words: str, size: int, colour: Colour, anchor: Anchor = "la", bold: bool = False) -> None:
        """`words` at a point; what the font does not have is shown as "?"."""
        stroke = LARGER // 2 if bold else 0
        self._draw.text(_large(at), printable(words), fill=colour, font=_font(size), anchor=anchor, stroke_width=stroke)

    def line(self, points: Sequence[Point], colour: Colour, width: float = 2) -> None:
        """A line through all points."""
        self._draw.line([_large(point) for point in points], fill=colour, width=round(width * LARGER), joint="curve")

    def dashes(self, left: float, right: float, y: float, colour: Colour, width: float = 2) -> None:
        """A dashed horizontal line."""
        while left < right:
            self.line([(left, y), (min(left + DASH, right), y)], colour, width)
            left += DASH + PAUSE

    def rectangle(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """A filled one, at least one point wide and high."""
        self._draw.rectangle(_box(left, top, max(right, left + 1), max(bottom, top + 1)), fill=colour)

    def shade(self, left: float, top: float, right: float, bottom: float, colour: Colour, share: float) -> None:
        """Tint an area with so much of a colour, 0 to 1; what is drawn there shows through."""
        box = _box(left, top, max(right, left + 1), max(bottom, top + 1))
        area = self._image.crop(box)
        self._image.paste(Image.blend(area, Image.new("RGB", area.size, colour), share), box)

    def shape(self, points: Sequence[Point], colour: Colour, edge: Colour | None = None) -> None:
        """A filled polygon, with an edge of another colour if one is given."""
        large = [_large(point) for point in points]
        self._draw.polygon(large, fill=colour)
        if edge is not None:
            self._draw.line([*large, large[0]], fill=edge, width=LARGER, joint="curve")

    def tag(self, at: Point, words: str, size: int, colour: Colour, ink: Colour) -> None:
        """`words` on a small label that begins at a point, in the middle of its height."""
        x, y = at
        self.rectangle(x, y - size * 0.72, x + text_width(words, size) + 10, y + size * 0.72, colour)
        self.text((x + 5, y), words, size, ink, "lm")

    def png(self) -> bytes:
        """The finished picture."""
        target = BytesIO()
        self._image.reduce(LARGER).save(target, "PNG")
        return target.getvalue()


def text_width(words: str, size: int) -> float:
    """How wide a text is, in points."""
    return float(_font(size).getlength(printable(words))) / LARGER


def printable(words: str) -> str:
    """`words` in the characters every machine's drawing has: ASCII."""
    return "".join(character if " " <= character <= "~" else "?" for character in words)


@lru_cache(maxsize=8)
def _font(size: int) -> FreeTypeFont:
    font = ImageFont.load_default(size * LARGER)
    if not isinstance(font, FreeTypeFont):
        raise OSError("this Pillow was built without FreeType and can draw no text of a readable size")
    return font


def _large(point: Point) -> Point:
    return round(point[0] * LARGER), round(point[1] * LARGER)


def _box(left: float, top: float, right: float, bottom: float) -> tuple[int, int, int, int]:
    return round(left * LARGER), round(top * LARGER), round(right * LARGER), round(bottom * LARGER)
