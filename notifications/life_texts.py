"""What is told of the processes themselves, and of floods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from notifications.kinds import topic_of
from notifications.message import Chat, Entity, Message, Priority, cut, utf16_length
from notifications.texts import CONTEXT_LIMIT, shown_time, titled
from notifications.words import Mode, Words

DIGEST_LINES = 25
LINE_LIMIT = 120
DIVERTED_LIMIT = 3700


@dataclass(frozen=True, slots=True)
class DigestLine:
    """One alert among many that are told at once, and how often it happened."""

    summary: str
    occurrences: int
    priority: Priority
    kind: str


def bot_started(words: Words, *, version: str, mode: Mode, markets: Sequence[str], at: datetime) -> Message:
    """The notifier runs: the bot can be heard from now on."""
    return _bot(words, f"🚀 {words.life.started}", version, mode, markets, at)


def bot_stopped(words: Words, *, version: str, mode: Mode, markets: Sequence[str], at: datetime) -> Message:
    """The notifier was asked to stop: nothing is told until it starts again."""
    return _bot(words, f"⏹️ {words.life.stopped}", version, mode, markets, at)


def worker_silent(words: Words, market: str, *, last: float, silent: float, at: datetime) -> Message:
    """The worker of a market gave no sign for `silent` seconds; `last` is the Unix time of the last one, or 0 where
    there never was one, of which no seconds are told."""
    process = f"worker {market}"
    return _silent(words, process, last, silent, at, words.life.worker_effect, words.life.worker_cure, market)


def worker_back(words: Words, market: str, *, at: datetime) -> Message:
    """A worker that was silent gives signs again."""
    return _back(words, f"worker {market}", at)


def beat_silent(words: Words, *, last: float, silent: float, at: datetime) -> Message:
    """The beat has not ticked for `silent` seconds; `last` as with a worker."""
    return _silent(words, "beat", last, silent, at, words.life.beat_effect, words.life.beat_cure, "")


def beat_back(words: Words, *, at: datetime) -> Message:
    """A beat that was silent ticks again."""
    return _back(words, "beat", at)


def backup_old(words: Words, copy: Literal["local", "away"], *, last: datetime | None, at: datetime) -> Message:
    """There is no recent backup; `last` is when the last one was made."""
    life = words.life
    text = titled(f"💾 {life.backup_old[copy]}", at)
    text.line(life.backup_last, life.never if last is None else shown_time(last))
    text.add("\n").add(life.backup_effect).add("\n").add(life.backup_cure[copy])
    return text.message(Priority.HIGH, Chat.ERROR)


def chat_moved(words: Words, *, setting: str, old: str, new: str, at: datetime) -> Message:
    """A group became a supergroup: its new id is in use, and belongs into the settings."""
    life = words.life
    text = titled(f"🚚 {life.chat_moved}", at)
    text.add(life.chat_moved_cure.format(setting=setting)).add("\n").add(f"{setting}={cut(new, CONTEXT_LIMIT)}", "code")
    text.add("\n").line(life.chat_moved_from, cut(old, CONTEXT_LIMIT), "code")
    return text.message(Priority.HIGH, Chat.ERROR)


def digest(words: Words, lines: Sequence[DigestLine], chat: Chat, at: datetime) -> Message:
    """Many alerts in one message, of a flood or after a mute: one of each type and then the most frequent with a line
    each, the others as a number. Its title says what they are about."""
    life, total = words.life, sum(line.occurrences for line in lines)
    shown, rest = _chosen(lines)
    title = life.digests[topic_of(line.kind for line in lines)]
    text = titled(f"🗂 {title.format(kinds=f'{len(lines):,}', n=f'{total:,}')}", at)
    for line in shown:
        text.add(f"×{line.occurrences:,}", "bold").add(f" {cut(line.summary, LINE_LIMIT)}\n")
    if rest:
        more = sum(line.occurrences for line in rest)
        text.add("\n").add(life.digest_more.format(kinds=f"{len(rest):,}", n=f"{more:,}"), "bold")
    return text.message(min((line.priority for line in lines), default=Priority.NORMAL), chat)


def _chosen(lines: Sequence[DigestLine]) -> tuple[list[DigestLine], list[DigestLine]]:
    """The lines that are shown, the most urgent and the most frequent first, and the rest.

    No type of error is left out for the many of another: the one that fails differently may be the cause.
    """
    ordered = sorted(lines, key=lambda line: (line.priority, -line.occurrences))
    # an error's summary begins with its type
    first = {(line.kind, line.summary.partition(" ")[0]): index for index, line in reversed(list(enumerate(ordered)))}
    firsts = set(first.values())
    preferred = sorted(range(len(ordered)), key=lambda index: (ordered[index].priority, index not in firsts, index))
    shown = set(preferred[:DIGEST_LINES])
    return (
        [line for index, line in enumerate(ordered) if index in shown],
        [line for index, line in enumerate(ordered) if index not in shown],
    )


def diverted(words: Words, message: Message, setting: str) -> Message:
    """The message for another chat than its own, with why it comes there."""
    why = words.life.diverted.format(setting=setting)
    text = f"↪️ {why}\n\n"
    moved = utf16_length(text)
    body = cut(message.text, DIVERTED_LIMIT)
    kept = utf16_length(body)
    entities = [
        replace(entity, offset=entity.offset + moved, length=min(entity.length, kept - entity.offset))
        for entity in message.entities
        if entity.offset < kept
    ]
    return replace(message, text=text + body, entities=(Entity("italic", 0, moved - 2), *entities))


def _bot(words: Words, title: str, version: str, mode: Mode, markets: Sequence[str], at: datetime) -> Message:
    life = words.life
    text = titled(title, at).line(life.version, cut(version, CONTEXT_LIMIT)).line(life.mode, words.modes[mode])
    text.line(life.markets, ", ".join(markets) or "-")
    return text.message(Priority.NORMAL, Chat.TRADE)


def _silent(
    words: Words, process: str, last: float, silent: float, at: datetime, effect: str, cure: str, market: str
) -> Message:
    life = words.life
    text = titled(f"🔴 CRITICAL: {life.silent.format(process=process)}", at)
    text.line(life.last_sign, shown_time(datetime.fromtimestamp(last, UTC)) if last else life.never)
    if last:
        text.line(life.silent_for, life.seconds.format(n=f"{silent:,.0f}"))
    text.add("\n").add(effect).add("\n").add(cure.format(market=market))
    return text.message(Priority.CRITICAL, Chat.ERROR)


def _back(words: Words, process: str, at: datetime) -> Message:
    return titled(f"✅ {words.life.back.format(process=process)}", at).message(Priority.HIGH, Chat.ERROR)
