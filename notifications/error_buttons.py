"""What can be done about an error, as buttons under its alert; the bot does what they ask for."""

from __future__ import annotations

from notifications.fingerprint import short
from notifications.message import Button
from notifications.texts import Failure, Links
from notifications.words import Language

# How their actions begin: `m:<short fingerprint>:<seconds>`, `a:<market>:<symbol>`.
MUTE, ANALYZE = "m", "a"
MUTE_SECONDS = 3600
ACTION_BYTES = 64
# What mutes and what repeats.
LABELS: dict[Language, tuple[str, str]] = {
    "ko": ("🔕 1시간 끄기", "🔁 다시 분석"),
    "en": ("🔕 mute 1 h", "🔁 retry the analysis"),
}
ANALYSIS = "tasks.analysis.analyze_and_trade"


def error_buttons(
    language: Language, failure: Failure, fingerprint: str, *, links: Links, commands: bool
) -> tuple[tuple[Button, ...], ...]:
    """A row of what the bot can do, where anybody may command it, and a row of where to look further."""
    mute, retry = LABELS[language]
    actions = []
    if commands and failure.level != "CRITICAL":  # what is critical cannot be muted
        actions.append(Button(mute, f"{MUTE}:{short(fingerprint)}:{MUTE_SECONDS}"))
    if commands and failure.task == ANALYSIS and failure.market and failure.symbol:
        actions.append(Button(retry, f"{ANALYZE}:{failure.market}:{failure.symbol}"))
    fitting = tuple(
        button for button in actions if len(button.action.encode()) <= ACTION_BYTES and " " not in button.action
    )
    addresses = (("SigNoz", links.trace(failure.trace_id)), ("Flower", links.task(failure.task_id)))
    opened = tuple(Button(label, url=url) for label, url in addresses if url)
    return tuple(row for row in (fitting, opened) if row)
