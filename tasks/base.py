"""The task class: a coroutine on the process's one event loop, with a deadline of its own.

Celery ignores its time limits in the threads pool, so the deadline is kept here: it cancels the coroutine and
fails the task.
"""

from __future__ import annotations

from contextvars import ContextVar
from functools import partial
from typing import Any

from celery import Task

from tasks.progress import telling
from tasks.redeliveries import its_turn
from telemetry.instruments import task_deadline
from workers.loop import DeadlineExceeded
from workers.runtime import current_runtime

_request: ContextVar[Any] = ContextVar("celery_request", default=None)


class AsyncTask(Task):  # type: ignore[misc]
    """A task whose body is `async def`. `deadline` is in seconds."""

    abstract = True
    deadline: float = 60.0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        token = _request.set(self.request_stack.top)
        try:
            runtime = current_runtime()
            with its_turn(runtime, self, self.deadline):
                return runtime.run(telling(self, partial(self.run, *args, **kwargs)), self.deadline)
        except DeadlineExceeded:
            task_deadline.add(1, {"task": self.name})
            raise
        finally:
            _request.reset(token)

    @property
    def request(self) -> Any:
        """Celery's request, also inside the coroutine: Celery keeps it per thread, and the loop is another one."""
        return _request.get() or self._get_request()
