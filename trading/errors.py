"""What the rules refuse to work with. Each message is one line that names the fault and its cure."""

from __future__ import annotations


class BadCandles(ValueError):
    """The candles cannot be analysed: fetch them again, or take the symbol out of the settings."""


class BadQuote(ValueError):
    """The quote cannot be traded on: wait for the next one."""


class IllegalTransition(ValueError):
    """An order cannot go from one state to the other: whatever asked for it has not read the journal."""
