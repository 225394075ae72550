"""How tasks stand, asked from outside: their states where Celery keeps results, with what they told of themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from celery import states
from celery.backends.redis import RedisBackend

from tasks import progress
from tasks.app import app

PATIENCE_SECONDS = 5.0

# of these nothing more is heard
ENDED = frozenset({states.SUCCESS, states.FAILURE, states.REVOKED, states.REJECTED, states.IGNORED})


@dataclass(frozen=True, slots=True)
class Standing:
    """`state` is Celery's word, and PENDING also where Celery has none. `percent` and `step` are what the task told,
    0 and "" before it did; `error` is its type and text where it failed."""

    state: str = states.PENDING
    percent: int = 0
    step: str = ""
    result: Any = None
    error: BaseException | None = None

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def running(self) -> bool:
        return self.state in (states.STARTED, progress.STATE)


async def of(task_ids: Iterable[str]) -> dict[str, Standing]:
    """How each of them stands, asked for at once. Raises what the result backend raises, `TimeoutError` included."""
    wanted = list(task_ids)
    if not wanted:
        return {}
    async with asyncio.timeout(PATIENCE_SECONDS):
        # Celery asks with blocking calls
        kept = await asyncio.to_thread(_kept, wanted)
    return dict(zip(wanted, kept, strict=True))


def _kept(task_ids: list[str]) -> list[Standing]:
    backend = app.backend
    if not isinstance(backend, RedisBackend):
        return [read(backend.get_task_meta(task_id)) for task_id in task_ids]
    kept = backend.mget([backend.get_key_for_task(task_id) for task_id in task_ids])
    return [Standing() if meta is None else read(backend.decode_result(meta)) for meta in kept]


def read(meta: Mapping[str, Any]) -> Standing:
    """What the result backend keeps of a task, as Celery decodes it."""
    state, result = str(meta["status"]), meta.get("result")
    if isinstance(result, BaseException):
        return Standing(state, error=result)
    if state == progress.STATE and isinstance(result, Mapping):
        return Standing(state, int(result["percent"]), str(result["step"]))
    # of a task that was just begun, Celery keeps where
    return Standing(state, 100, result=result) if state == states.SUCCESS else Standing(state)
