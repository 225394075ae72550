"""Why there is no picture."""

from __future__ import annotations


class BadChart(ValueError):
    """There is nothing to draw."""
