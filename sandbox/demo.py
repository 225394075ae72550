"""`autotrader demo`: everything on this machine, on a board or once; stdout carries nothing but the JSON."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import cast

from rich.console import Console

from sandbox.board import show
from sandbox.candles import CandleFault, load_recorded
from sandbox.client import SandboxError
from sandbox.feeds import FeedError, Request
from sandbox.local import LocalServerError
from sandbox.processes import ProcessFailed
from sandbox.report import SweepUnfinished, report_of_one_sweep, summary_lines
from sandbox.stack import Options, Stack, StackError

FEEDS = ("auto", "live", "simulated")

# a folder for the log files of all processes, which are removed with the demo otherwise
LOGS = "DEMO_LOGS"


class Stopped(KeyboardInterrupt):
    """The demo was told to end by the signal in `number`; like Ctrl-C nothing on the way may catch it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def run_demo(
    *,
    once: bool = False,
    as_json: bool = False,
    candles: Path | None = None,
    fail: Sequence[str] = (),
    seed: int | None = None,
    feed: str = "auto",
) -> int:
    """Run the demo in the main thread and return its exit code: 0, 1 with a line on stderr, or 128 + signal.

    Without `once` it runs until Ctrl-C, which is its good end. Nothing is left running or on disk.
    """
    started = time.monotonic()
    try:
        with _signals_as_exceptions():
            return _run(started, _options(once, as_json, candles, fail, seed, feed), as_json)
    except KeyboardInterrupt as end:
        _tell("stopped")
        number = end.number if isinstance(end, Stopped) else signal.SIGINT
        return 0 if number == signal.SIGINT and not once else 128 + number
    except (
        StackError,
        SandboxError,
        FeedError,
        CandleFault,
        LocalServerError,
        ProcessFailed,
        SweepUnfinished,
    ) as error:
        _tell(f"demo: {error}")
        return 1


def _options(
    once: bool, as_json: bool, candles: Path | None, fail: Sequence[str], seed: int | None, feed: str
) -> Options:
    """The checked options. Raises `StackError` or `CandleFault`."""
    if as_json and not once:
        raise StackError("--json needs --once")
    if feed not in FEEDS:
        raise StackError(f"--feed {feed}: use one of {', '.join(FEEDS)}")
    if candles is not None:
        load_recorded(candles)
    logs = os.environ.get(LOGS)
    return Options(
        candles=candles,
        seed=seed,
        feed=cast(Request, feed),
        fail=tuple(fail),
        once=once,
        logs=Path(logs) if logs else None,
    )


def _run(started: float, options: Options, as_json: bool) -> int:
    with Stack(options, _tell) as stack:
        if not options.once:
            show(stack, started, Console(stderr=True))
        report = report_of_one_sweep(stack, started)
    if as_json:
        sys.stdout.write(json.dumps(report) + "\n")
        sys.stdout.flush()
    else:
        for line in summary_lines(report):
            _tell(line)
    return 0


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


@contextmanager
def _signals_as_exceptions() -> Iterator[None]:
    """Have SIGTERM and a closed terminal unwind the program as Ctrl-C does, so that everything is stopped."""

    def stop(number: int, _: FrameType | None) -> None:
        raise Stopped(number)

    numbers = (signal.SIGTERM, signal.SIGHUP)
    # under nohup a closed terminal is ignored, and stays so
    heeded = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
