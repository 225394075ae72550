"""What is started part by part, and stands or falls as a whole."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from sandbox.processes import undisturbed


class Started(ABC):
    """A context whose `_start` enters its parts on `_exit`; what fails while starting leaves nothing running, and a
    second Ctrl-C does not hold up the stop. Enter it in the main thread."""

    def __init__(self) -> None:
        self._exit = ExitStack()

    @abstractmethod
    def _start(self) -> None:
        """Enter the parts, in order."""

    def _stop(self) -> None:
        with undisturbed():
            self._exit.close()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
