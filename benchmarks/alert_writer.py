"""`python -m benchmarks.alert_writer N SYMBOL`: report N equal errors one after another, when told to on stdin.

Prints "ready", then one JSON line: the seconds each report took, and its seconds of processor time.
"""

from __future__ import annotations

import json
import sys
import time

from notifications.reporter import ErrorReporter
from settings import get_settings


def main() -> int:
    """Report as many as the argument says."""
    reporter, took, worked = ErrorReporter(get_settings()), [], []
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    for number in range(int(sys.argv[1])):
        try:
            raise TimeoutError(f"no answer after {number} ms")
        except TimeoutError as error:
            started, work = time.perf_counter(), time.thread_time()
            reporter.report(error, task="tasks.analysis.analyze_and_trade", market="upbit", symbol=sys.argv[2])
            took.append(time.perf_counter() - started)
            worked.append(time.thread_time() - work)
    reporter.close()
    sys.stdout.write(json.dumps([took, worked]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
