"""What is followed as bars on a terminal: one of all, one of each that is being worked on, and what failed."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from cli.progress import Row, State
from cli.words import FollowWords

# a screen has so much room for those that run
MOST_BARS = 8
LONGEST_TEXT = 160


class Bars:
    """A live display; `console` is that of stderr unless another is given."""

    def __init__(self, title: str, words: FollowWords, console: Console | None = None) -> None:
        self._words = words
        self._progress = Progress(
            SpinnerColumn(finished_text="·"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[says]}"),
            console=console or Console(stderr=True),
        )
        self._all = self._progress.add_task(escape(title), total=100, says=words.waiting)
        self._bars: dict[str, TaskID] = {}
        self._told: set[str] = set()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for bar in self._bars.values():
            self._progress.remove_task(bar)
        self._progress.stop()

    def show(self, rows: Sequence[Row]) -> None:
        ended, failed = [row for row in rows if row.ended], [row for row in rows if row.state is State.FAILED]
        running = [row for row in rows if row.state is State.RUNNING]
        if ended or running:
            says = self._words.count.format(ended=len(ended), total=len(rows), failed=len(failed))
        else:
            says = self._words.waiting
        # parts of those that run count too, so that a few long ones are seen to move
        percent = sum(100 if row.ended else row.percent for row in rows) / len(rows) if rows else 100
        self._progress.update(self._all, completed=percent, says=says)
        self._show_running(running[:MOST_BARS])
        for row in failed:
            if row.label not in self._told:
                self._told.add(row.label)
                told = f"{row.label}: {self._words.failed}: {row.says}"[:LONGEST_TEXT]
                self._progress.console.print(f"[red]{escape(told)}[/red]", highlight=False)

    def trouble(self, text: str) -> None:
        self._progress.update(self._all, says=f"[yellow]{escape(text)}[/yellow]")

    def _show_running(self, rows: Sequence[Row]) -> None:
        for label in self._bars.keys() - {row.label for row in rows}:
            self._progress.remove_task(self._bars.pop(label))
        for row in rows:
            if row.label not in self._bars:
                self._bars[row.label] = self._progress.add_task(f"  {escape(row.label)}", total=100, says="")
            self._progress.update(self._bars[row.label], completed=row.percent, says=escape(row.says))
