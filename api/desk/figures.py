"""How times and figures look on a page."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from trading.periods import KST

MINUS = "\N{MINUS SIGN}"


def when(at: datetime) -> str:
    """A time in Korea, to the minute, with its year where that is another."""
    local, now = at.astimezone(KST), datetime.now(KST)
    return f"{local:%m-%d %H:%M}" if local.year == now.year else f"{local:%Y-%m-%d %H:%M}"


def exactly(at: datetime) -> str:
    """A time in Korea, to the second."""
    return f"{at.astimezone(KST):%Y-%m-%d %H:%M:%S}"


def direction(value: Decimal | float | None) -> str:
    """The class of what rose, fell or did neither."""
    if not value:
        return "flat"
    return "up" if value > 0 else "down"


def percent(rate: Decimal | float | None) -> str:
    """A fraction with its sign, such as +1.25%; what rounds to nothing has none."""
    if rate is None:
        return ""
    return f"{rate:+.2%}".replace("-", MINUS) if round(rate, 4) else "0.00%"


def quantity(value: Decimal) -> str:
    """A quantity with separators, without trailing zeros."""
    text = f"{value:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def indicator(value: float) -> str:
    """An indicator with about four digits that count, never in exponents."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:,.2f}" if abs(value) >= 1 else f"{value:.4f}"
