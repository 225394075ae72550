"""Signs of life: each part of this process that must not hang leaves one, and what becomes of it when they stop.

The health check reads them at `/healthz` of the Prometheus port (`deploy/health.py`), from a thread that still answers
when the part it asks about hangs. A supervisor that only looks whether a process exists needs it to end: a `Pulse` that
is guarded ends it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from telemetry import systemd

log = logging.getLogger(__name__)

PATH = "/healthz"
EXIT_STUCK = 70
LOOK_SECONDS = 1.0
LOOP_SECONDS = 0.5
# Who looks so late was held up itself, with the whole process (a paused container, a debugger); the parts then have
# so long to come to themselves.
HELD_UP_SECONDS, COMES_TO_SECONDS = 5.0, 10.0
# A turn that waits for a server that does not answer may take so long, until its time-outs end it: 10 s, four times.
SLOWEST_TURN_SECONDS = 45.0

_looked_at: dict[str, tuple[Callable[[], float], float]] = {}
_started = threading.Event()


def watch(name: str, silent: Callable[[], float], allowed: float) -> None:
    """Have the health check ask `silent` for the seconds since the last sign of `name`; more than `allowed` is a
    fault."""
    _looked_at[name] = (silent, allowed)


def forget(name: str) -> None:
    """Ask no more."""
    _looked_at.pop(name, None)


def started() -> None:
    """From now on this process does its work; until then it is not well, though it may be on its way."""
    _started.set()
    systemd.ready(faults)


def faults() -> list[str]:
    """What is wrong with this process, a line each."""
    if not _started.is_set():
        return ["it is starting"]
    silences = [(name, silent(), allowed) for name, (silent, allowed) in list(_looked_at.items())]
    return [
        f"{name} has not turned for {seconds:.0f} s, {allowed:.0f} s are allowed"
        for name, seconds, allowed in silences
        if seconds > allowed
    ]


class Pulse:
    """A part that takes turns. After half of `patience` seconds without one it is unwell, after all of it the process
    ends with `EXIT_STUCK`, so that its supervisor starts a new one, which would come to where this one is if `excused`
    says that somebody else is to blame."""

    def __init__(
        self,
        name: str,
        patience: float,
        end: Callable[[str, float], None] | None = None,
        excused: Callable[[], bool] = lambda: False,
    ) -> None:
        self._name = name
        self._patience = patience
        self._excused = excused
        self._end = end or end_process
        self._at: float | None = None
        self._guarded = False

    def beat(self) -> None:
        """A turn; the first one starts the watch."""
        self._at = time.monotonic()
        if not self._guarded:
            self._guarded = True
            watch(self._name, self.silent, self._patience / 2)
            threading.Thread(target=self._guard, name=f"pulse-{self._name}", daemon=True).start()

    def rest(self) -> None:
        """No turn is to be expected before the next one."""
        self._at = None

    def silent(self) -> float:
        """Seconds since the last turn, 0 at rest."""
        at = self._at
        return 0.0 if at is None else time.monotonic() - at

    async def of_this_loop(self) -> None:
        """A turn with every turn of the running event loop, until cancelled; then it rests."""
        # the beat has none, and does without
        import asyncio

        try:
            while True:
                self.beat()
                await asyncio.sleep(LOOP_SECONDS)
        finally:
            self.rest()

    def _guard(self) -> None:
        looked, patient_until = time.monotonic(), 0.0
        while True:
            time.sleep(LOOK_SECONDS)
            now = time.monotonic()
            if now - looked > HELD_UP_SECONDS:
                patient_until = now + COMES_TO_SECONDS
            looked = now
            if now < patient_until or (silent := self.silent()) <= self._patience:
                continue
            if not self._excused():
                self._end(self._name, silent)
                return
            looked = time.monotonic()
            patient_until = looked + SLOWEST_TURN_SECONDS


def end_process(name: str, silent: float) -> None:
    """End this process at once: what hangs cannot be asked to stop."""
    log.critical("%s has not turned for %.0f s; ending the process so that it is restarted", name, silent)
    os._exit(EXIT_STUCK)


def answering(app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """A WSGI application that answers `PATH` with 200, or 503 and the faults, and leaves all else to `app`."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("PATH_INFO") != PATH:
            return app(environ, start_response)
        wrong = faults()
        status = "503 Service Unavailable" if wrong else "200 OK"
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return ["\n".join(wrong or ["ok"]).encode()]

    return answer
