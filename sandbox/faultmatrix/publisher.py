"""Publishes tasks as the beat and the sweeps do, without being one of the system's processes."""

from __future__ import annotations

import time
import uuid
from types import TracebackType
from typing import Any, Self

from celery import Celery
from kombu import Queue

from settings import MARKETS


class Publisher:
    """A Celery client of the system's broker at `redis_url`."""

    def __init__(self, redis_url: str) -> None:
        self._celery = Celery("faultmatrix", broker=redis_url, set_as_current=False)
        self._celery.conf.update(
            task_queues=[Queue(name) for market in MARKETS for name in (market, f"{market}.orders")],
            task_create_missing_queues=False,
            task_ignore_result=True,
            broker_transport_options={"socket_timeout": 5, "socket_connect_timeout": 5},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._celery.close()

    def publish(
        self, task: str, *args: Any, queue: str, expires: float | None = None, task_id: str | None = None
    ) -> str:
        """Publish one task and return its id; `expires` is in seconds. Raises what the broker does."""
        task_id = task_id or str(uuid.uuid4())
        headers = {"x_sent_at": time.time()}
        self._celery.send_task(
            task, args=args, queue=queue, expires=expires, task_id=task_id, headers=headers, retry=False
        )
        return task_id
