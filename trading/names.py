"""The name of an instrument is whatever its venue says: what may stand of it in a message, a page or a prompt."""

from __future__ import annotations

LONGEST = 60


def one_line(name: str) -> str:
    """The name on one line, cut, without what is not seen, such as a change of the direction of writing: a text in it
    can neither begin a line of its own nor turn those around it."""
    return "".join(letter if letter.isprintable() else " " for letter in name[:LONGEST]).strip()
