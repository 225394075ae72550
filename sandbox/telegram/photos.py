"""Photos that were sent: checked as the real server checks them, kept, and known again by their file id."""

from __future__ import annotations

import hashlib
import struct
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from aiohttp.web import FileField

from sandbox.telegram.errors import ApiError, bad
from sandbox.telegram.fields import Fields

MOST_BYTES = 10 * 1024 * 1024
MOST_WIDTH_AND_HEIGHT = 10_000
MOST_RATIO = 20
KEPT = 200
# the longest side of each size that the real server makes
SIDES = {"s": 90, "m": 320, "x": 800, "y": 1280}

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
# the segments of a JPEG that hold its size: SOF0 to SOF15 but for DHT, JPG and DAC
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True, slots=True)
class Photo:
    """A picture; width and height in pixels. `id` is the same for the same bytes."""

    id: str
    content: bytes
    content_type: str
    width: int
    height: int

    def sizes(self) -> list[dict[str, Any]]:
        """It as an Array of PhotoSize, the smallest first, none larger than the picture."""
        longest = max(self.width, self.height)
        sides = {name: side for name, side in SIDES.items() if side < longest}
        last = next((name for name, side in SIDES.items() if side >= longest), "w")
        return [self._size(name, side / longest) for name, side in sides.items()] + [
            self._size(last, min(1.0, 2560 / longest))
        ]

    def _size(self, name: str, scale: float) -> dict[str, Any]:
        return {
            "file_id": f"AgAC{self.id}{name}",
            "file_unique_id": f"AQAD{self.id[:12]}{name}",
            "file_size": max(1, int(len(self.content) * scale * scale)),
            "width": max(1, round(self.width * scale)),
            "height": max(1, round(self.height * scale)),
        }


class Photos:
    """The last photos by id."""

    def __init__(self) -> None:
        self._photos: OrderedDict[str, Photo] = OrderedDict()

    def get(self, photo_id: str) -> Photo | None:
        return self._photos.get(photo_id)

    def of(self, fields: Fields) -> Photo:
        """The photo of a `sendPhoto`: the file in it, or one that was sent before. Raises `ApiError`."""
        value = fields.get("photo")
        if isinstance(value, str) and value.startswith("attach://"):
            value = fields.get(value.removeprefix("attach://"))
        if isinstance(value, FileField):
            value.file.seek(0)
            return self._keep(value.file.read())
        if not value:
            raise bad("there is no photo in the request")
        known = self._photos.get(str(value).removeprefix("AgAC")[:-1])
        if known is None or not str(value).startswith("AgAC"):
            raise bad("wrong remote file identifier specified: Wrong string length")
        return known

    def _keep(self, content: bytes) -> Photo:
        if not content:
            raise bad("file must be non-empty")
        if len(content) > MOST_BYTES:
            raise ApiError(413, "Request Entity Too Large")
        kind, size = _recognised(content)
        width, height = size
        short, long = sorted(size)
        if short < 1 or width + height > MOST_WIDTH_AND_HEIGHT or long > MOST_RATIO * short:
            raise bad("PHOTO_INVALID_DIMENSIONS")
        photo = Photo(hashlib.sha256(content).hexdigest()[:32], content, kind, width, height)
        self._photos[photo.id] = photo
        self._photos.move_to_end(photo.id)
        while len(self._photos) > KEPT:
            self._photos.popitem(last=False)
        return photo


def _recognised(content: bytes) -> tuple[str, tuple[int, int]]:
    """The content type and the size of a PNG or JPEG. Raises `ApiError`."""
    if content.startswith(_PNG) and content[12:16] == b"IHDR" and len(content) > 33:
        width, height = struct.unpack(">II", content[16:24])
        return "image/png", (width, height)
    size = _jpeg_size(content) if content.startswith(_JPEG) else None
    if size is None:
        raise bad("IMAGE_PROCESS_FAILED")
    return "image/jpeg", size


def _jpeg_size(content: bytes) -> tuple[int, int] | None:
    position = 2
    while position + 9 < len(content) and content[position] == 0xFF:
        marker, length = content[position + 1], int.from_bytes(content[position + 2 : position + 4], "big")
        if marker in _FRAMES:
            height, width = struct.unpack(">HH", content[position + 5 : position + 9])
            return width, height
        position += 2 + length
    return None
