"""A Celery app whose task fails when it is told to. It reports as the workers do, and needs no database."""

from __future__ import annotations

import os
import time
from functools import partial
from typing import Any

from celery import Celery, signals

from notifications.reporter import ErrorReporter
from settings import get_settings

app = Celery("failing", broker=os.environ["REDIS_URL"])
app.conf.update(task_ignore_result=True, worker_hijack_root_logger=False, broker_connection_retry_on_startup=True)


class Failed(Exception):
    """The failure that is measured."""


@app.task(name="benchmarks.fail")  # type: ignore[untyped-decorator]
def fail(market: str, symbol: str) -> None:
    """Fail now, and say when that was."""
    raise Failed(f"{market} {symbol} raised at {time.time():.6f}")


def _report(
    reporter: ErrorReporter, sender: Any, task_id: str, exception: BaseException, args: tuple[str, str], **_: Any
) -> None:
    market, symbol = args
    reporter.report(exception, task=sender.name, task_id=task_id, market=market, symbol=symbol, worker="benchmark")


def _connect(**_: Any) -> None:
    signals.task_failure.connect(partial(_report, ErrorReporter(get_settings())), weak=False)


signals.worker_init.connect(_connect, weak=False)
