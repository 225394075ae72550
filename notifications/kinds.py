"""The kinds of messages: which of them may be switched off, and which may wait for the end of the quiet hours.

Pure, and without imports of ours: the settings check their values here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, get_args

Kind = Literal[
    "analysis_complete",
    "run_summary",
    "order_accepted",
    "order_filled",
    "order_partly_filled",
    "order_cancelled",
    "order_failed",
    "insufficient_cash",
    "order_unproven",
    "order_ambiguous",
    "order_adopted",
    "exit_begun",
    "exit_ended",
    "exit_not_armed",
    "circuit_breaker",
    "trading_state",
    "arming",
    "daily_report",
    "weekly_report",
    "error",
    "bot_started",
    "bot_stopped",
    "system",
    "chat_moved",
    "quiet_summary",
]
KINDS: tuple[Kind, ...] = get_args(Kind)

# Good to know, and as good in the morning.
INFORMATIVE: frozenset[Kind] = frozenset({"analysis_complete", "run_summary", "bot_started"})
# What is critical, what limits a loss, and what changes who may trade: nobody switches it off by a setting.
ALWAYS_TOLD: frozenset[Kind] = frozenset(
    {
        "order_unproven",
        "order_ambiguous",
        "order_adopted",
        "exit_begun",
        "exit_ended",
        "exit_not_armed",
        "circuit_breaker",
        "trading_state",
        "arming",
        "error",
        "system",
        "chat_moved",
        "quiet_summary",
    }
)


class Topic(StrEnum):
    """What a message is about, for the title of many in one."""

    ERRORS = "errors"
    TRADES = "trades"
    NOTICES = "notices"


_ABOUT_TRADES = ("order", "exit_", "insufficient_cash")


def topic_of(kinds: Iterable[str]) -> Topic:
    """What messages of these kinds are about, all of them."""
    found = {
        Topic.ERRORS if kind == "error" else Topic.TRADES if kind.startswith(_ABOUT_TRADES) else Topic.NOTICES
        for kind in kinds
    }
    return found.pop() if len(found) == 1 else Topic.NOTICES


class Told(StrEnum):
    """How a kind of message is told: with a sound where it is urgent, without one, or not at all."""

    ON = "on"
    SILENT = "silent"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Verbosity:
    """What `NOTIFY_KINDS` says of each kind; what it does not name is on."""

    told: Mapping[str, Told]

    def of(self, kind: str) -> Told:
        """How a kind is told; an unknown one, such as an older version recorded, is on."""
        return self.told.get(kind, Told.ON)


def read_verbosity(text: str) -> Verbosity:
    """`kind=value` parts, separated by commas. Raises `ValueError` with what is wrong and what there is."""
    told: dict[str, Told] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        kind, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise ValueError(f"{part!r} is not kind=value, for example analysis_complete=silent")
        if kind not in KINDS:
            raise ValueError(f"there is no kind {kind!r}; use one of {', '.join(KINDS)}")
        if value not in list(Told):
            raise ValueError(f"{kind} cannot be {value!r}; use one of {', '.join(Told)}")
        if value == Told.OFF and kind in ALWAYS_TOLD:
            raise ValueError(f"{kind} cannot be off, it is about risk; use on or silent")
        told[kind] = Told(value)
    return Verbosity(told)
