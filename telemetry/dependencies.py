"""Whether what a process needs can be used, asked for on its own, so that a quiet hour does not hide an outage."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping

from telemetry.instruments import dependency_up

log = logging.getLogger(__name__)

PERIOD_SECONDS = 5.0
TIMEOUT_SECONDS = 2.0

Probe = Callable[[], Awaitable[object]]
"""Uses the dependency once; whatever it raises means that it cannot be used."""


async def watch(process: str, probes: Mapping[str, Probe], stop: asyncio.Event) -> None:
    """Ask every dependency every five seconds until `stop` is set, and say in the log when one goes or comes back."""
    up = dict.fromkeys(probes, True)
    while not stop.is_set():
        for name, fault in zip(probes, await asyncio.gather(*map(_fault, probes.values())), strict=True):
            dependency_up.set(0 if fault else 1, {"process": process, "dependency": name})
            if up[name] and fault:
                log.error("%s cannot be used: %s", name, fault)
            elif fault is None and not up[name]:
                log.info("%s can be used again", name)
            up[name] = fault is None
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), PERIOD_SECONDS)


async def _fault(probe: Probe) -> str | None:
    """The name of the error, never its text: that may hold an address with a password."""
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await probe()
    except Exception as error:  # noqa: BLE001 — every client has errors of its own, and each means the same here
        return type(error).__name__
    return None
