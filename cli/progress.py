"""Follow tasks until they have ended: bars on a terminal, plain lines anywhere else. Both go to stderr, so that stdout
keeps to the answer. The tasks themselves are only looked at: whoever stops following stops nothing."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from cli.words import FollowWords, follow_words
from settings import get_settings

if TYPE_CHECKING:
    from tasks.standing import Standing

T = TypeVar("T")

LOOK_SECONDS = 0.5
PATIENCE_SECONDS = 3_600.0
# as long as a task of a killed worker may take to be given out again, and then some
SILENCE_SECONDS = 900.0
INTERRUPTED = 130


class State(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that is followed. `says` is what it is at, or what it ended with."""

    label: str
    state: State
    percent: int = 0
    says: str = ""

    @property
    def ended(self) -> bool:
        return self.state in (State.DONE, State.FAILED)


class Ending(StrEnum):
    """Why the following ended."""

    COMPLETE = "complete"
    TIMEOUT = "timeout"
    SILENCE = "silence"


@dataclass(frozen=True, slots=True)
class Seen:
    """How all stood when the following ended."""

    rows: Sequence[Row]
    ending: Ending

    @property
    def failed(self) -> list[Row]:
        return [row for row in self.rows if row.state is State.FAILED]

    @property
    def left(self) -> list[Row]:
        """Those that had not ended."""
        return [row for row in self.rows if not row.ended]


Look = Callable[[], Awaitable[Sequence[Row]]]


async def watch(
    look: Look, *, title: str, patience: float = PATIENCE_SECONDS, silence: float = SILENCE_SECONDS
) -> Seen:
    """Show what `look` finds until all of it has ended, for at most `patience` seconds.

    Ends also where nothing changed for `silence` seconds: then nobody is at work on what is left. That Redis or the
    database is away is shown, and waited for.
    """
    from redis.exceptions import RedisError
    from sqlalchemy.exc import SQLAlchemyError

    words = follow_words(get_settings().notify_language)
    began = heard = time.monotonic()
    rows: Sequence[Row] = ()
    with _display(title, words) as display:
        while True:
            try:
                found = await look()
            except (RedisError, SQLAlchemyError, OSError) as error:
                display.trouble(words.away.format(error=type(error).__name__))
            else:
                now = time.monotonic()
                heard = now if found != rows else heard
                rows = found
                display.show(rows)
                if all(row.ended for row in rows):
                    return Seen(rows, Ending.COMPLETE)
            now = time.monotonic()
            if now - began >= patience:
                return Seen(rows, Ending.TIMEOUT)
            if now - heard >= silence:
                return Seen(rows, Ending.SILENCE)
            await asyncio.sleep(min(LOOK_SECONDS, patience))


async def follow(
    tasks: Mapping[str, str],
    *,
    title: str,
    patience: float = PATIENCE_SECONDS,
    silence: float = SILENCE_SECONDS,
) -> dict[str, Standing]:
    """Follow tasks of ours, task ids by what they are to be called, until each has ended, however it did.

    Returns how each stands; what has not `ended` then is still waited for by nobody (see `watch`).
    """
    from tasks import standing

    words = follow_words(get_settings().notify_language)
    told: dict[str, Standing] = {label: standing.Standing() for label in tasks}

    async def look() -> list[Row]:
        found = await standing.of(tasks.values())
        told.update({label: found[task_id] for label, task_id in tasks.items()})
        return [row_of(label, stands, words) for label, stands in told.items()]

    await watch(look, title=title, patience=patience, silence=silence)
    return told


@contextmanager
def hearing(title: str, label: str) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Show one task by what Celery says each time that it changes; yields what that is to be given to."""
    from tasks import standing

    words = follow_words(get_settings().notify_language)
    with _display(title, words) as display:
        yield lambda kept: display.show([row_of(label, standing.read(kept), words)])


def row_of(label: str, stands: Standing, words: FollowWords) -> Row:
    """A task as a row. What was revoked, or expired in its queue, has failed."""
    if stands.state == "SUCCESS":
        result = stands.result
        outcome = result.get("outcome", "") if isinstance(result, Mapping) else ""
        return Row(label, State.DONE, 100, str(outcome))
    if stands.ended:
        error = stands.error
        return Row(label, State.FAILED, 100, f"{type(error).__name__}: {error}" if error else stands.state)
    if stands.running:
        return Row(label, State.RUNNING, stands.percent, words.step(stands.step))
    return Row(label, State.WAITING)


def interruptible(following: Coroutine[Any, Any, T]) -> T:
    """Run it; Ctrl-C says that the tasks go on, and exits with 130."""
    try:
        return asyncio.run(following)
    except KeyboardInterrupt:
        typer.echo(follow_words(get_settings().notify_language).goes_on, err=True)
        sys.exit(INTERRUPTED)


def _display(title: str, words: FollowWords) -> Any:
    if sys.stderr.isatty():
        from cli.bars import Bars

        return Bars(title, words)
    from cli.lines import Lines

    return Lines(title, words)
