"""A process that is asked to end, ends, whatever hangs in it."""

from __future__ import annotations

import asyncio
import faulthandler
import signal
from types import FrameType

from telemetry import systemd

# Longer than all that an end may wait for: a message of three tries, the commands under way, a good-bye, telemetry.
END_SECONDS = 75.0


def stop_on_signals(stop: asyncio.Event, seconds: float = END_SECONDS) -> None:
    """Set `stop` at SIGTERM or SIGINT; a process that is still there `seconds` later writes where each of its threads
    stands and ends with exit code 1. For the main thread, on the running loop."""
    loop = asyncio.get_running_loop()
    asked = False

    def end(_: int, __: FrameType | None) -> None:
        nonlocal asked
        if not asked:
            asked = True
            # counts outside Python, so that nothing that hangs in it keeps it from that
            faulthandler.dump_traceback_later(seconds, exit=True)
            systemd.stopping()
        if not loop.is_closed():
            loop.call_soon_threadsafe(stop.set)

    # not the loop's own handlers, which a loop that is stuck never calls
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
