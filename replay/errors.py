"""What cannot be replayed."""

from __future__ import annotations


class BadReplay(Exception):
    """A replay that is asked for cannot be: one line that names the fault and the cure."""
