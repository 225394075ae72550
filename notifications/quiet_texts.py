"""What came in the quiet hours, in one message."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from notifications.message import Chat, Message, Priority, cut
from notifications.texts import titled
from notifications.words import Words
from trading.periods import KST

LINES_SHOWN = 30
LINE_LIMIT = 100


@dataclass(frozen=True, slots=True)
class Kept:
    """A message that waited: what it was about in one line, and how often it happened. `at` is the last time."""

    kind: str
    line: str
    occurrences: int
    at: datetime


def quiet_summary(words: Words, hours: str, kept: Sequence[Kept], at: datetime) -> Message:
    """How many of each kind came, exactly, and the last of them with a line each, in the order they came."""
    quiet, total = words.quiet, sum(one.occurrences for one in kept)
    counts: Counter[str] = Counter()
    for one in kept:
        counts[one.kind] += one.occurrences
    text = titled(f"🌙 {quiet.title.format(hours=hours or '-', n=f'{total:,}')}", at)
    for kind, count in counts.most_common():
        text.line(quiet.kinds.get(kind, cut(kind, LINE_LIMIT)), quiet.count.format(n=f"{count:,}"))
    text.add("\n")
    ordered = sorted(kept, key=lambda one: one.at)
    for one in ordered[-LINES_SHOWN:]:
        times = f" ×{one.occurrences:,}" if one.occurrences > 1 else ""
        text.add(f"{one.at.astimezone(KST):%H:%M} {cut(one.line, LINE_LIMIT)}{times}\n")
    if rest := sum(one.occurrences for one in ordered[:-LINES_SHOWN]):
        text.add("\n").add(quiet.more.format(n=f"{rest:,}"), "bold")
    return text.message(Priority.NORMAL, Chat.TRADE)
