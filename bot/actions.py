"""What buttons carry: at most 64 bytes, made by `notifications.error_buttons` and here, read here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from bot.commands import COMMANDS
from notifications.error_buttons import ANALYZE, MUTE

_QUESTION = re.compile(r"([cn]):([a-z]{1,16}):([A-Za-z0-9_-]{16})")
_MUTE = re.compile(rf"{MUTE}:(.{{1,55}}):(\d{{1,6}})")
_ANALYZE = re.compile(rf"{ANALYZE}:([a-z]{{1,16}}):([A-Za-z0-9.\-]{{1,20}})")


@dataclass(frozen=True, slots=True)
class Action:
    """A press, read: do a command at once, or `confirm` or `cancel` one that was asked for with a token."""

    how: Literal["do", "confirm", "cancel"]
    command: str
    arguments: str


def confirm_action(command: str, token: str) -> str:
    return f"c:{command}:{token}"


def cancel_action(command: str, token: str) -> str:
    return f"n:{command}:{token}"


def read_action(data: str) -> Action | None:
    """The action of a button, or None if this version made none such."""
    if found := _QUESTION.fullmatch(data):
        if found[2] not in COMMANDS or not COMMANDS[found[2]].asks:
            return None
        return Action("confirm" if found[1] == "c" else "cancel", found[2], found[3])
    if found := _MUTE.fullmatch(data):
        return Action("do", "mute", f"{found[1]} {found[2]}s")
    if found := _ANALYZE.fullmatch(data):
        return Action("do", "analyze", f"{found[1]} {found[2]}")
    return None
