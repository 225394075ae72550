"""Celery's signals as metrics, recorded in the worker that does the work.

The threads pool runs every task in the worker's own process, so all signals arrive here. Every way a task can end is
counted; `docs/metrics.md` and the tests have the table.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from celery import signals, states
from celery.exceptions import Reject

from telemetry import instruments
from telemetry.deliveries import queue_of, queue_wait

REJECTIONS = ("rejected", "unknown_task", "unreadable")

Cause = Callable[[BaseException | None], BaseException | None]
"""Of an error and those it was raised in the handling of, the one that left the task; None if none did."""


@dataclass(slots=True)
class Run:
    """A task that runs here; `counted` once a signal said how it ended."""

    started: float
    counted: bool = False


class CeleryMetrics:
    """Counts what happens to the tasks of one worker.

    `tasks` are the names of all our tasks; `jobs` maps some of them to the seed's `job_name`. `cause` finds what a
    task failed with where Celery failed after it.
    """

    def __init__(
        self, worker: str, tasks: Iterable[str], jobs: dict[str, str], cause: Cause = lambda error: None
    ) -> None:
        self._worker = worker
        self._tasks = tuple(tasks)
        self._jobs = jobs
        self._cause = cause
        self._running: dict[str, Run] = {}
        self._lock = threading.Lock()

    def connect(self) -> None:
        """Listen to Celery's signals for the life of the process."""
        signals.task_received.connect(self._received, weak=False)
        signals.task_prerun.connect(self._prerun, weak=False)
        signals.task_postrun.connect(self._postrun, weak=False)
        signals.task_success.connect(self._succeeded, weak=False)
        signals.task_failure.connect(self._failed, weak=False)
        signals.task_retry.connect(self._retried, weak=False)
        signals.task_revoked.connect(self._revoked, weak=False)
        signals.task_rejected.connect(self._rejected, weak=False)
        signals.task_unknown.connect(self._unknown, weak=False)
        self._start_at_zero()
        worker = {"worker": self._worker}
        for gauge in (instruments.worker_active, instruments.flower_executing):
            gauge.observe(lambda: len(self._running), worker)

    def _start_at_zero(self) -> None:
        for counter in (
            instruments.task_received,
            instruments.task_started,
            instruments.task_succeeded,
            instruments.task_retried,
            instruments.task_deadline,
            instruments.task_redelivered,
            instruments.task_progress_lost,
            instruments.task_publish_failed,
        ):
            instruments.start_at_zero(counter, task=self._tasks)
        instruments.start_at_zero(instruments.task_revoked, task=self._tasks, reason=("expired", "revoked"))
        instruments.start_at_zero(instruments.task_rejected, reason=REJECTIONS)
        for counter in (instruments.job_success, instruments.job_failure):
            instruments.start_at_zero(counter, job_name=set(self._jobs.values()))

    def _received(self, request: Any = None, **_: Any) -> None:
        instruments.task_received.add(1, {"task": request.name})

    def _prerun(self, task_id: str = "", task: Any = None, **_: Any) -> None:
        now = time.time()
        with self._lock:
            self._running[task_id] = Run(now)
        instruments.task_started.add(1, {"task": task.name})
        wait = queue_wait(task.request, now)
        if wait is not None:
            instruments.task_queue_wait.record(wait, {"task": task.name, "queue": queue_of(task.request)})

    def _postrun(self, task_id: str = "", task: Any = None, state: str | None = None, **_: Any) -> None:
        with self._lock:
            run = self._running.pop(task_id, None)
        if run is None:
            return
        seconds = time.time() - run.started
        instruments.task_runtime.record(seconds, {"task": task.name, "state": state or "UNKNOWN"})
        if job := self._jobs.get(task.name):
            instruments.job_duration.record(seconds, {"job_name": job})
        if state == states.REJECTED:
            instruments.task_rejected.add(1, {"reason": "rejected"})
        elif not run.counted and state != states.IGNORED:
            # no signal came: Celery itself failed, as it does when the result cannot be stored; its error is on its way
            # out, and if the task had failed before, that is in its chain
            error = self._cause(sys.exc_info()[1])
            self._count_failure(task.name, "InternalError" if error is None else type(error).__name__)

    def _succeeded(self, sender: Any = None, **_: Any) -> None:
        self._ended(sender.request.id)
        instruments.task_succeeded.add(1, {"task": sender.name})
        if job := self._jobs.get(sender.name):
            instruments.job_success.add(1, {"job_name": job})

    def _failed(self, sender: Any = None, task_id: str = "", exception: BaseException | None = None, **_: Any) -> None:
        # Celery says of a rejected message also that it failed
        if not isinstance(exception, Reject):
            self._ended(task_id)
            self._count_failure(sender.name, type(exception).__name__)

    def _count_failure(self, task: str, error_type: str) -> None:
        instruments.task_failed.add(1, {"task": task, "error_type": error_type})
        if job := self._jobs.get(task):
            instruments.job_failure.add(1, {"job_name": job})

    def _retried(self, sender: Any = None, request: Any = None, **_: Any) -> None:
        self._ended(request.id)
        instruments.task_retried.add(1, {"task": sender.name})

    def _ended(self, task_id: str) -> None:
        with self._lock:
            if run := self._running.get(task_id):
                run.counted = True

    def _revoked(self, sender: Any = None, expired: bool = False, **_: Any) -> None:
        instruments.task_revoked.add(1, {"task": sender.name, "reason": "expired" if expired else "revoked"})

    def _rejected(self, **_: Any) -> None:
        instruments.task_rejected.add(1, {"reason": "rejected"})

    def _unknown(self, **_: Any) -> None:
        instruments.task_rejected.add(1, {"reason": "unknown_task"})
