from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from celery.exceptions import Reject

from telemetry import instruments
from telemetry.celery_metrics import CeleryMetrics
from telemetry.deliveries import comes_back, queue_wait


class Counter:
    def __init__(self) -> None:
        self.added: list[dict[str, str]] = []

    def add(self, _: int, attributes: dict[str, str]) -> None:
        self.added.append(attributes)


@pytest.fixture
def failed(monkeypatch: pytest.MonkeyPatch) -> Counter:
    counter = Counter()
    monkeypatch.setattr(instruments, "task_failed", counter)
    return counter


def task(**request: Any) -> Any:
    given = {"delivery_info": {"routing_key": "upbit"}, "eta": None, "id": "one", **request}
    conf = SimpleNamespace(broker_url="redis://127.0.0.1/0", broker_transport_options={"visibility_timeout": 120})
    app = SimpleNamespace(conf=conf)
    return SimpleNamespace(name="tasks.some", request=SimpleNamespace(**given), app=app)


@pytest.fixture
def metrics() -> CeleryMetrics:
    return CeleryMetrics("upbit@here", ["tasks.some"], {})


def test_an_end_that_no_signal_tells_of_is_a_failure(metrics: CeleryMetrics, failed: Counter) -> None:
    metrics._prerun(task_id="one", task=task())
    # what Celery does when it cannot store that the task has begun, or its result
    metrics._postrun(task_id="one", task=task(), state=None)
    assert failed.added == [{"task": "tasks.some", "error_type": "InternalError"}]


@pytest.mark.parametrize("state", ["SUCCESS", "FAILURE"])
def test_an_end_that_a_signal_tells_of_is_counted_once(metrics: CeleryMetrics, failed: Counter, state: str) -> None:
    metrics._prerun(task_id="one", task=task())
    if state == "SUCCESS":
        metrics._succeeded(sender=task())
    else:
        metrics._failed(sender=task(), task_id="one", exception=ValueError())
    metrics._postrun(task_id="one", task=task(), state=state)
    assert len(failed.added) == (1 if state == "FAILURE" else 0)


def test_a_rejected_message_is_no_failure(metrics: CeleryMetrics, failed: Counter) -> None:
    metrics._prerun(task_id="one", task=task())
    metrics._postrun(task_id="one", task=task(), state="REJECTED")
    metrics._failed(sender=task(), task_id="one", exception=Reject())
    assert failed.added == []


@pytest.mark.parametrize(
    ("sent", "eta", "waited"),
    [
        (1_000.0, None, 30.0),
        (1_000.0, "1970-01-01T00:17:00+00:00", 10.0),
        # the publisher's clock is ahead
        (1_050.0, None, 0.0),
        (None, None, None),
    ],
)
def test_the_wait_begins_with_the_eta_and_is_never_negative(
    sent: float | None, eta: str | None, waited: float | None
) -> None:
    assert queue_wait(task(x_sent_at=sent, eta=eta).request, now=1_030.0) == waited


@pytest.mark.parametrize(
    ("redelivered", "age", "again"), [(False, 500.0, False), (True, 500.0, True), (True, 5.0, False)]
)
def test_only_what_waited_for_the_visibility_timeout_may_come_from_a_lost_worker(
    monkeypatch: pytest.MonkeyPatch, redelivered: bool, age: float, again: bool
) -> None:
    monkeypatch.setattr("telemetry.deliveries.time.time", lambda: 1_000.0)
    delivery = {"routing_key": "upbit", "redelivered": redelivered}
    assert comes_back(task(x_sent_at=1_000.0 - age, delivery_info=delivery)) is again
