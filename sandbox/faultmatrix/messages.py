"""What the messages of Alertmanager at the Telegram stand-in say: which alert, and whether it is over."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Notice:
    """One alert in one message; `at` is its receipt in Unix seconds."""

    alert: str
    resolved: bool
    at: float
    text: str = ""


# the first line of the template in deploy/alertmanager: a message is about one alert
_TITLE = re.compile(r"^(?P<state>🚨 긴급|⚠️ 경고|✅ 해소) · (?P<alert>\w+)$")


def notices(messages: Iterable[Mapping[str, Any]]) -> list[Notice]:
    """What each message of Alertmanager says; one that is none of its messages raises `ValueError`."""
    found = []
    for message in messages:
        title = message["original_text"].partition("\n")[0].strip()
        told = _TITLE.match(title)
        if told is None:
            raise ValueError(f"not as deploy/alertmanager writes it: {title!r}")
        found.append(Notice(told["alert"], told["state"].startswith("✅"), message["at"], message["original_text"]))
    return found
