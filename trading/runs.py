"""A run: one look at all symbols of a market."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from trading.types import Decision, Side


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run came to: its analyses by decision, its orders by side as far as the venue has accepted them, the
    symbols that failed, and the seconds from its opening to its end."""

    market: str
    slot: datetime
    symbols: int
    decisions: Mapping[Decision, int]
    orders: Mapping[Side, int]
    failed: tuple[str, ...]
    seconds: float

    @property
    def analysed(self) -> int:
        """How many symbols have an analysis."""
        return sum(self.decisions.values())
