"""How times and figures are told."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from trading.periods import KST

__all__ = ["KST", "money", "when"]


def when(at: datetime) -> str:
    """A time in KST, to the second."""
    return f"{at.astimezone(KST):%m-%d %H:%M:%S}"


def money(value: Decimal) -> str:
    """A figure with separators and no trailing zeros."""
    text = f"{value:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def in_brackets(reason: str | None) -> str:
    """A reason after what it explains, or nothing."""
    return f" ({reason})" if reason else ""
