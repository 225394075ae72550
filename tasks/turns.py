"""Everybody has a turn: what one of them raises is logged, keeps nobody else from theirs, and is told in the end."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

log = logging.getLogger(__name__)


@contextmanager
def turn(errors: list[Exception], whose: str) -> Iterator[None]:
    """Put what the block raises with the others' errors. What cancels a task is no error, and ends all turns."""
    try:
        yield
    except Exception as error:
        # whatever it was: the symbol after this one may be at its stop
        log.exception("%s had no turn to the end", whose)
        errors.append(error)


def raise_all(errors: Sequence[Exception], of: str) -> None:
    """Raise what was raised in the turns: the error itself, or a group of several, which is reported one by one."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ExceptionGroup(f"{of}: {len(errors)} turns failed", errors)
