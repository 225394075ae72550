"""`python -m benchmarks.alert_writer N SYMBOL [THREADS SWITCH_SECONDS]`: report N equal errors, when told to on stdin.

With THREADS so many other threads compute meanwhile, with short breaks, and Python gives the turn to another after
SWITCH_SECONDS. Prints "ready", then one JSON line: the seconds each report took, its seconds of processor time, and
the seconds a bare PING took after each, which is what this machine asks for any call to Redis.
"""

from __future__ import annotations

import json
import sys
import threading
import time

from redis import Redis

from notifications.reporter import ErrorReporter
from settings import get_settings

COMPUTING_SECONDS, BREAK_SECONDS = 0.02, 0.01


def main() -> int:
    """Report as many as the argument says."""
    errors, symbol, *busy = sys.argv[1:]
    settings = get_settings()
    reporter, redis, ended = ErrorReporter(settings), Redis.from_url(settings.redis_url), threading.Event()
    took: list[float] = []
    worked: list[float] = []
    pings: list[float] = []
    redis.ping()
    if busy:
        sys.setswitchinterval(float(busy[1]))
        for _ in range(int(busy[0])):
            threading.Thread(target=_compute, args=(ended,), daemon=True).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    for number in range(int(errors)):
        try:
            raise TimeoutError(f"no answer after {number} ms")
        except TimeoutError as error:
            started, work = time.perf_counter(), time.thread_time()
            reporter.report(error, task="tasks.analysis.analyze_and_trade", market="upbit", symbol=symbol)
            took.append(time.perf_counter() - started)
            worked.append(time.thread_time() - work)
            started = time.perf_counter()
            redis.ping()
            pings.append(time.perf_counter() - started)
    ended.set()
    reporter.close()
    sys.stdout.write(json.dumps([took, worked, pings]) + "\n")
    return 0


def _compute(ended: threading.Event) -> None:
    """What a task does with candles, in spells: nothing in it lets another thread go on by itself."""
    while not ended.wait(BREAK_SECONDS):
        until, prices = time.perf_counter() + COMPUTING_SECONDS, [float(number) for number in range(200)]
        while time.perf_counter() < until:
            sum(price * price for price in prices)


if __name__ == "__main__":
    sys.exit(main())
