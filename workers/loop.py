"""One event loop for the life of a worker process, on a thread of its own.

`asyncio.run` per task breaks every object that outlives a task (engine, HTTP session, Redis pool): they stay
bound to a loop that is gone. Here coroutines of all pool threads run on one loop, and the OpenTelemetry context
of the calling thread travels with them, because `run_coroutine_threadsafe` copies the caller's contextvars.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from telemetry import pulse
from telemetry.instruments import loop_lag, loop_stalled
from telemetry.pulse import EXIT_STUCK

log = logging.getLogger(__name__)

T = TypeVar("T")

PULSE_SECONDS = 0.5
STUCK_AFTER_SECONDS = 60.0
# What a cancelled task may use to write down how it ended.
CLEANUP_SECONDS = 10.0
# How long a thread that computes may keep Python to itself while another wants to go on. At Python's own 5 ms the
# loop, the error hook and what takes messages from the broker wait that long at each of their system calls;
# `benchmarks.alerts` prints what that makes of the hook.
SWITCH_SECONDS = 0.001


class DeadlineExceeded(Exception):
    """The task did not end within its deadline and was cancelled."""


class Interrupted(Exception):
    """Something that the task waited for was cancelled, and not by who cancels tasks; its cause says where."""


class Stopped(Exception):
    """The process stopped while the task ran."""


class LoopThread:
    """A running event loop. `name` labels its metrics; after `stuck_after` seconds without a turn, `on_stuck`."""

    def __init__(
        self,
        name: str,
        *,
        on_stuck: Callable[[float], None] | None = None,
        stuck_after: float = STUCK_AFTER_SECONDS,
    ) -> None:
        self._name = name
        self._on_stuck = on_stuck or end_process
        self._stuck_after = stuck_after
        self._loop = asyncio.new_event_loop()
        self._pulse = time.monotonic()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"loop-{name}", daemon=True)
        self._watchdog = threading.Thread(target=self._watch, name=f"watchdog-{name}", daemon=True)

    def start(self) -> None:
        """Start the loop and the thread that watches it; the threads of this process take shorter turns from now on."""
        sys.setswitchinterval(SWITCH_SECONDS)
        self._pulse = time.monotonic()
        # looked up when it is exported, by a thread of the exporter's, so that it rises while the loop hangs
        loop_stalled.observe(self._silent, {"process": self._name})
        pulse.watch(f"the event loop of {self._name}", self._silent, self._stuck_after / 2)
        self._thread.start()
        self._loop.call_soon_threadsafe(self._beat, self._loop.time())
        self._watchdog.start()

    def run(self, coroutine: Coroutine[Any, Any, T], deadline: float) -> T:
        """Run `coroutine` on the loop from another thread and wait for it.

        After `deadline` seconds it is cancelled. Raises `DeadlineExceeded`, `Stopped` if the loop stops meanwhile,
        `Interrupted`, or what the coroutine raised.
        """
        future = asyncio.run_coroutine_threadsafe(self._within(coroutine, deadline), self._loop)
        try:
            return future.result(deadline + CLEANUP_SECONDS)
        except concurrent.futures.CancelledError:
            raise Stopped("the process stopped while it ran") from None
        except TimeoutError:
            if future.done():
                return future.result()
            future.cancel()
            raise DeadlineExceeded(f"not ended {CLEANUP_SECONDS:g} s after its deadline of {deadline:g} s") from None

    async def _within(self, coroutine: Coroutine[Any, Any, T], deadline: float) -> T:
        scope = asyncio.timeout(deadline)
        try:
            async with scope:
                return await coroutine
        except (TimeoutError, asyncio.CancelledError) as error:
            # asked of the scope: a task group that failed in it leaves a cancellation uncounted in Python 3.11 and
            # 3.12, and the scope then takes its own for somebody else's
            if scope.expired():
                raise DeadlineExceeded(f"not ended within its deadline of {deadline:g} s") from None
            # nobody else cancels this task before its deadline
            if isinstance(error, asyncio.CancelledError) and not self._stopping.is_set():
                raise Interrupted("what it waited for was cancelled by somebody else") from error
            raise

    def stop(self) -> None:
        """Stop the loop once its callbacks have run; coroutines still pending are cancelled first."""
        self._stopping.set()
        loop_stalled.forget({"process": self._name})
        pulse.forget(f"the event loop of {self._name}")
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(_cancel_others(), self._loop).result(CLEANUP_SECONDS)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(CLEANUP_SECONDS)
            self._watchdog.join(CLEANUP_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()

    def _beat(self, due: float) -> None:
        now = self._loop.time()
        loop_lag.record(max(0.0, now - due), {"process": self._name})
        self._pulse = time.monotonic()
        if not self._stopping.is_set():
            self._loop.call_at(now + PULSE_SECONDS, self._beat, now + PULSE_SECONDS)

    def _watch(self) -> None:
        while not self._stopping.wait(1.0):
            silent = self._silent()
            if silent > self._stuck_after:
                self._on_stuck(silent)
                return

    def _silent(self) -> float:
        """Seconds since the loop last ran a timer of ours; up to half a second is its ordinary pace."""
        return time.monotonic() - self._pulse


def end_process(silent: float) -> None:
    """End this process at once, so that its supervisor starts a new one: a stuck loop cannot be rescued."""
    log.critical("the event loop has been stuck for %.0f s; ending the process so that it is restarted", silent)
    os._exit(EXIT_STUCK)


async def _cancel_others() -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
