"""The task class: a coroutine on the process's one event loop, with a deadline of its own.

Celery ignores its time limits in the threads pool, so the deadline is kept here: it cancels the coroutine and
fails the task.
"""

from __future__ import annotations

import uuid
from contextvars import ContextVar
from typing import Any

from celery import Task

from telemetry.celery_spans import end_failed_publish
from workers.runtime import current_runtime

_request: ContextVar[Any] = ContextVar("celery_request", default=None)


class AsyncTask(Task):  # type: ignore[misc]
    """A task whose body is `async def`. `deadline` is in seconds."""

    abstract = True
    deadline: float = 60.0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        token = _request.set(self.request_stack.top)
        try:
            return current_runtime().run(self.run(*args, **kwargs), self.deadline)
        finally:
            _request.reset(token)

    @property
    def request(self) -> Any:
        """Celery's request, also inside the coroutine: Celery keeps it per thread, and the loop is another one."""
        return _request.get() or self._get_request()

    def apply_async(self, *args: Any, **options: Any) -> Any:
        """Publish; a publish that fails leaves no open span behind."""
        task_id = options.get("task_id") or str(uuid.uuid4())
        options["task_id"] = task_id
        try:
            return super().apply_async(*args, **options)
        except BaseException:
            end_failed_publish(self, task_id)
            raise
