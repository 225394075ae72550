"""Celery's signals as metrics, recorded in the worker that does the work.

The threads pool runs every task in the worker's own process, so all signals arrive here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Any

from celery import signals

from telemetry import instruments

# When a message was published, as Unix seconds; Celery carries no such time itself.
SENT_AT = "x_sent_at"

_started: dict[str, float] = {}
_lock = threading.Lock()


def stamp_publish_time(headers: dict[str, Any] | None = None, **_: Any) -> None:
    """Write the publish time into a message's headers, once: a retry keeps its own."""
    if headers is not None:
        headers[SENT_AT] = time.time()


def sent_at(request: Any) -> float | None:
    """When this message was published, or None if its sender did not say."""
    value = getattr(request, SENT_AT, None)
    return float(value) if value is not None else None


class CeleryMetrics:
    """Counts what happens to the tasks of one worker.

    `tasks` are the names of all our tasks; `jobs` maps some of them to the seed's `job_name`.
    """

    def __init__(self, worker: str, tasks: Iterable[str], jobs: dict[str, str]) -> None:
        self._worker = worker
        self._tasks = tuple(tasks)
        self._jobs = jobs
        self._active = 0

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
        for counter in (
            instruments.task_received,
            instruments.task_started,
            instruments.task_succeeded,
            instruments.task_retried,
        ):
            instruments.start_at_zero(counter, task=self._tasks)
        instruments.start_at_zero(instruments.task_revoked, task=self._tasks, reason=("expired", "revoked"))
        instruments.start_at_zero(instruments.task_rejected, reason=("rejected", "unknown_task"))
        for counter in (instruments.job_success, instruments.job_failure):
            instruments.start_at_zero(counter, job_name=set(self._jobs.values()))
        self._show_active()

    def _show_active(self) -> None:
        instruments.worker_active.set(self._active, {"worker": self._worker})
        instruments.flower_executing.set(self._active, {"worker": self._worker})

    def _received(self, request: Any = None, **_: Any) -> None:
        instruments.task_received.add(1, {"task": request.name})

    def _prerun(self, task_id: str = "", task: Any = None, **_: Any) -> None:
        now = time.time()
        with _lock:
            _started[task_id] = now
            self._active += 1
            self._show_active()
        instruments.task_started.add(1, {"task": task.name})
        published = sent_at(task.request)
        if published is not None:
            queue = (task.request.delivery_info or {}).get("routing_key") or "unknown"
            # clocks of two machines may disagree: never record a negative wait
            instruments.task_queue_wait.record(max(0.0, now - published), {"task": task.name, "queue": queue})

    def _postrun(self, task_id: str = "", task: Any = None, state: str | None = None, **_: Any) -> None:
        with _lock:
            started = _started.pop(task_id, None)
            self._active = max(0, self._active - 1)
            self._show_active()
        if started is None:
            return
        seconds = time.time() - started
        instruments.task_runtime.record(seconds, {"task": task.name, "state": state or "UNKNOWN"})
        if job := self._jobs.get(task.name):
            instruments.job_duration.record(seconds, {"job_name": job})

    def _succeeded(self, sender: Any = None, **_: Any) -> None:
        instruments.task_succeeded.add(1, {"task": sender.name})
        if job := self._jobs.get(sender.name):
            instruments.job_success.add(1, {"job_name": job})

    def _failed(self, sender: Any = None, exception: BaseException | None = None, **_: Any) -> None:
        instruments.task_failed.add(1, {"task": sender.name, "error_type": type(exception).__name__})
        if job := self._jobs.get(sender.name):
            instruments.job_failure.add(1, {"job_name": job})

    def _retried(self, sender: Any = None, **_: Any) -> None:
        instruments.task_retried.add(1, {"task": sender.name})

    def _revoked(self, sender: Any = None, expired: bool = False, **_: Any) -> None:
        instruments.task_revoked.add(1, {"task": sender.name, "reason": "expired" if expired else "revoked"})

    def _rejected(self, **_: Any) -> None:
        instruments.task_rejected.add(1, {"reason": "rejected"})

    def _unknown(self, **_: Any) -> None:
        instruments.task_rejected.add(1, {"reason": "unknown_task"})
