"""A task that takes its worker with it each time it runs is given up, instead of killing workers for ever.

Such a task blocks the event loop until the watchdog ends the process, or crashes it; its message is then given out
again, and so are those of all tasks that ran beside it. So what comes back runs one at a time in a process: the next
loss is then that of the one to blame, and the others come to their ends in between. Redis remembers how often a
message has begun to run once more; a first delivery costs nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis import RedisError

from telemetry.deliveries import comes_back
from workers.loop import DeadlineExceeded
from workers.runtime import Runtime

log = logging.getLogger(__name__)

# one is no proof: it may have been another task's doing, or somebody's who stopped the worker hard
MOST_LOST_WORKERS = 3
LOST_WORKERS_KEY = "autotrader:lost-workers:{task_id}"
KEEP_SECONDS = 86_400
COUNT_SECONDS = 5.0

_one_at_a_time = threading.Lock()


class LostTooOften(Exception):
    """A task was given up, because its worker was lost each time that it ran."""


@contextmanager
def its_turn(runtime: Runtime, task: Any, deadline: float) -> Iterator[None]:
    """Around the run of a task of at most `deadline` seconds, in its thread; waits where its message is here again.

    Raises `LostTooOften` if the task was to blame too often.
    """
    if not comes_back(task):
        yield
        return
    # no longer than that, or its message would be given out once more while it runs
    patience = max(0.0, runtime.settings.visibility_timeout_seconds - deadline)
    alone = _one_at_a_time.acquire(timeout=patience)
    try:
        _blame(runtime, task.request.id)
        yield
    finally:
        if alone:
            _one_at_a_time.release()


def _blame(runtime: Runtime, task_id: str) -> None:
    """Count one more lost worker. Not to know how many is no reason to give up: without Redis the task runs."""
    try:
        lost = runtime.run(_count(runtime, task_id), COUNT_SECONDS)
    except (RedisError, OSError, DeadlineExceeded) as error:
        log.warning("how many workers were lost with %s is not known: %s", task_id, type(error).__name__)
        return
    if lost >= MOST_LOST_WORKERS:
        raise LostTooOften(
            f"{lost} workers were lost while it ran, so it is not tried again: see what their logs end with"
        )
    log.warning("%s runs again, after %d lost workers of at most %d", task_id, lost, MOST_LOST_WORKERS)


async def _count(runtime: Runtime, task_id: str) -> int:
    """How many workers were lost with the task, this one included.

    A message that only waited in a lost worker counts as if it had run, but no more than once: it runs then.
    """
    key = LOST_WORKERS_KEY.format(task_id=task_id)
    async with runtime.redis.pipeline(transaction=True) as pipeline:
        pipeline.incr(key)
        pipeline.expire(key, KEEP_SECONDS)
        counted: list[Any] = await pipeline.execute()
    return int(counted[0])
