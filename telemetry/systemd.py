"""What the supervisor of this process is told: READY=1 at work, WATCHDOG=1 while it is well, STOPPING=1 at its end.

The words are those of sd_notify(3), and so is the way: a datagram to the socket that NOTIFY_SOCKET names. Without one
nothing is told and nothing is missing. `autotrader run` hears its processes in the same way, over sockets of its own.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

# also told this often where the supervisor would wait for longer
MOST_SECONDS = 10.0

_line: socket.socket | None = None
_limit: float | None = None
_watched = threading.Lock()


def tell(*words: str) -> bool:
    """Tell the supervisor; whether there is one that was told. Never waits, never fails."""
    message = "\n".join(words).encode()
    address = os.environ.get("NOTIFY_SOCKET", "")
    try:
        if _line is not None:
            _line.send(message)
            return True
        if address[:1] not in ("/", "@"):
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.setblocking(False)
            line.sendto(message, "\0" + address[1:] if address[0] == "@" else address)
    except OSError as error:
        log.warning("the supervisor was not told %s (%s)", words[0], error.strerror or type(error).__name__)
        return False
    return True


def ready(faults: Callable[[], list[str]]) -> None:
    """The process does its work; from now on it is told to be well as long as `faults` names none."""
    told = tell("READY=1", "STATUS=at work")
    limit = watchdog_seconds()
    if told and limit is not None and _watched.acquire(blocking=False):
        watching = threading.Thread(target=_watch, args=(faults, limit), name="watchdog-supervisor", daemon=True)
        watching.start()


def stopping() -> None:
    """The process ends what it has begun, and takes nothing new."""
    tell("STOPPING=1", "STATUS=finishing what it has begun")


def watchdog_seconds() -> float | None:
    """After how many seconds without a WATCHDOG=1 the supervisor ends this process; None where it does not."""
    if _limit is not None:
        return _limit
    given, whose = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not given.isdecimal() or int(given) == 0 or (whose and whose != str(os.getpid())):
        return None
    return int(given) / 1e6


def answer_to(line: socket.socket, limit: float) -> None:
    """Have another supervisor than systemd: the process that forked this one, at the other end of `line`."""
    global _line, _limit
    line.setblocking(False)
    _line, _limit = line, limit


def _watch(faults: Callable[[], list[str]], limit: float) -> None:
    # a third: one that is late, or lost, is not the end
    pause = min(limit / 3, MOST_SECONDS)
    unwell = False
    while True:
        wrong = faults()
        if not wrong:
            tell("WATCHDOG=1", *(["STATUS=at work"] if unwell else []))
        elif not unwell:
            tell("STATUS=" + "; ".join(wrong).replace("\n", " "))
        unwell = bool(wrong)
        time.sleep(pause)
