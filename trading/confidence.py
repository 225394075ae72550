"""The three words a confidence is counted under: as a metric attribute a number would make a hundred series."""

from __future__ import annotations

from typing import Literal

HIGH = 70
MEDIUM = 40


def confidence_range(confidence: int) -> Literal["high", "medium", "low"]:
    """`high` from 70, `medium` from 40, else `low`."""
    if confidence >= HIGH:
        return "high"
    return "medium" if confidence >= MEDIUM else "low"
