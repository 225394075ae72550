"""What a message says of itself at its task: when it was sent, where it waited, and whether another worker had it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from celery import states

from telemetry.headers import SENT_AT

# the publisher's clock is not this machine's
CLOCKS_SECONDS = 1.0
_NOT_BEGUN = frozenset({None, states.PENDING, states.RECEIVED, states.RETRY})


def sent_at(request: Any) -> float | None:
    """When this message was published, or None if its sender did not say."""
    value = getattr(request, SENT_AT, None)
    return float(value) if value is not None else None


def queue_of(request: Any) -> str:
    """The queue that the message waited in."""
    return (request.delivery_info or {}).get("routing_key") or "unknown"


def queue_wait(request: Any, now: float) -> float | None:
    """Seconds from when the task could have begun, its ETA or its publishing, to `now`; None where that is unknown."""
    published = sent_at(request)
    if published is None:
        return None
    due = max(published, datetime.fromisoformat(request.eta).timestamp()) if request.eta else published
    # clocks of two machines may disagree: never a negative wait
    return max(0.0, now - due)


def comes_back(task: Any) -> bool:
    """Whether the message is here again, and may be because a worker was lost that had it.

    Redis' messages are marked in the same way when a worker hands back, as it stops or loses its connection, what it
    had taken; but those of a lost worker come back when the visibility timeout is over, and no sooner.
    """
    request = task.request
    if not (request.delivery_info or {}).get("redelivered"):
        return False
    published, timeout = sent_at(request), _visibility_timeout(task.app.conf)
    return published is None or timeout is None or time.time() - published >= timeout - CLOCKS_SECONDS


def lost_worker(task: Any, task_id: str) -> str | None:
    """The worker that began the task and never ended it, by the result backend; None where none began.

    Of a task whose result nobody keeps that is not known; its worker is "unknown". Raises what the backend raises.
    """
    if task.ignore_result:
        return "unknown"
    meta: Mapping[str, Any] = task.backend.get_task_meta(task_id)
    # STARTED, or a state of the task's own in which it tells how far it is
    if meta.get("status") in _NOT_BEGUN or meta.get("status") in states.READY_STATES:
        return None
    result = meta.get("result")
    return str(result.get("hostname", "unknown")) if isinstance(result, Mapping) else "unknown"


def _visibility_timeout(conf: Any) -> float | None:
    """Seconds until Redis gives out a message once more; None for a broker that has no such time."""
    if not str(conf.broker_url).startswith(("redis", "sentinel")):
        return None
    return float(conf.broker_transport_options.get("visibility_timeout", 3_600))
