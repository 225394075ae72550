"""A failure is told even where Celery cannot store it, which it does before it says that the task failed."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from celery import Celery, signals
from celery.app.trace import build_tracer

from tasks import base
from tasks.base import AsyncTask
from tasks.reporting import raised_by_the_task


class _Fault(Exception):
    pass


class _Runtime:
    """Runs nothing: the task fails, or ends well."""

    def __init__(self, error: Exception | None) -> None:
        self._error = error

    def run(self, coroutine: Any, deadline: float) -> None:
        coroutine.close()
        if self._error is not None:
            try:
                raise ValueError("what it was about")
            except ValueError:
                raise self._error  # noqa: B904 - as a venue's client raises while it handles another


def told(error: Exception | None, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Any], list[Any]]:
    """Run a task through Celery's own tracer with a backend that is away: what the two signals carried."""
    app = Celery("unstored", set_as_current=False, broker="memory://", backend="cache+memory://")

    @app.task(base=AsyncTask, name="unstored.task")  # type: ignore[untyped-decorator]
    async def work() -> None:
        """Nothing."""

    def away(*_: Any, **__: Any) -> None:
        raise redis.ConnectionError("Connection refused")

    monkeypatch.setattr(base, "current_runtime", lambda: _Runtime(error))
    monkeypatch.setattr(work.backend, "mark_as_failure", away)
    monkeypatch.setattr(work.backend, "mark_as_done", away)
    failed: list[Any] = []
    internal: list[Any] = []

    def on_failure(exception: Any = None, **_: Any) -> None:
        failed.append(exception)

    def on_internal(exception: Any = None, **_: Any) -> None:
        internal.append(raised_by_the_task(exception))

    signals.task_failure.connect(on_failure, sender=work)
    signals.task_internal_error.connect(on_internal, sender=work)
    # as a worker does it; what leaves the tracer ends in the pool
    with pytest.warns(RuntimeWarning, match="outside body"), pytest.raises(redis.ConnectionError):
        build_tracer(work.name, work, app=app)("1", (), {}, {"delivery_info": {}})
    return failed, internal


def test_a_failure_that_cannot_be_stored_is_told_by_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    fault = _Fault("the venue is away")
    failed, internal = told(fault, monkeypatch)
    assert failed == [], "Celery says that it failed by itself now: the second way is not needed any more"
    assert internal == [fault]


def test_a_success_that_cannot_be_stored_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(None, monkeypatch) == ([], [None])
