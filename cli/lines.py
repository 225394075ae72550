"""What is followed as plain lines, one for each thing worth reading in a log."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

import typer

from cli.progress import Row, State
from cli.words import FollowWords

# a task that tells every percent is not worth a line each
WORTH_POINTS = 25


class Lines:
    """Writes a line where something ended, came to another step, or moved on by a quarter."""

    def __init__(self, title: str, words: FollowWords) -> None:
        self._title = title
        self._words = words
        self._told: dict[str, Row] = {}
        self._troubled = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def show(self, rows: Sequence[Row]) -> None:
        self._troubled = ""
        for number, row in enumerate(sorted(rows, key=lambda row: not row.ended), 1):
            if self._is_news(row):
                self._told[row.label] = row
                self._write(row, number if row.ended else 0, len(rows))

    def trouble(self, text: str) -> None:
        if text != self._troubled:
            self._troubled = text
            typer.echo(f"{self._title}: {text}", err=True)

    def _is_news(self, row: Row) -> bool:
        told = self._told.get(row.label)
        if told is None:
            return row.state is not State.WAITING
        if (row.state, row.says) != (told.state, told.says):
            return True
        return row.percent - told.percent >= WORTH_POINTS

    def _write(self, row: Row, number: int, total: int) -> None:
        words = self._words
        match row.state:
            case State.DONE:
                text = f"{row.says or '100%'} ({number}/{total})"
            case State.FAILED:
                text = f"{words.failed}: {row.says} ({number}/{total})"
            case State.RUNNING:
                text = f"{row.percent}% {row.says}".rstrip()
            case State.WAITING:
                text = words.waiting
        typer.echo(f"{self._title}: {row.label}: {text}", err=True)
