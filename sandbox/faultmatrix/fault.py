"""What a fault is: how it is done and undone, and who has to tell of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from sandbox.faultmatrix.house import House

Happening = Callable[[House], Iterator[None]]
Proof = Callable[[House, float], str]


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the matrix.

    `happens` injects on entry and takes the fault away on exit. `alerts` are the rules that must reach Telegram through
    Alertmanager, with `about` in their text; `event` is what a message of the ledger must say, None where no process
    is left or needed to say it. `proof` is asked after the fault and returns what is still wrong, "" for nothing; it is
    given the Unix time of the injection. `seconds` bounds the wait for the messages.
    """

    name: str
    what: str
    happens: Callable[[House], AbstractContextManager[None]]
    alerts: tuple[str, ...]
    about: str
    event: re.Pattern[str] | None
    proof: Proof | None
    seconds: float
    quick: bool


def fault(
    name: str,
    what: str,
    *,
    alerts: tuple[str, ...] = (),
    about: str = "",
    event: str = "",
    proof: Proof | None = None,
    seconds: float = 90.0,
    quick: bool = False,
) -> Callable[[Happening], Fault]:
    """Make a fault of a generator that injects, yields and takes away; `event` is a pattern over lines."""
    if not (alerts or event):
        raise ValueError(f"nobody has to tell of {name}")
    pattern = re.compile(event, re.DOTALL) if event else None

    def make(happens: Happening) -> Fault:
        return Fault(name, what, contextmanager(happens), alerts, about, pattern, proof, seconds, quick)

    return make
