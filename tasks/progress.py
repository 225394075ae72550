"""How far a running task is: told from inside it, kept where Celery keeps results, and shown by Flower.

Telling costs the task nothing that it would wait for: the newest step is sent by a thread, at most twice a second, and
what is overtaken in between is never sent; nor is any step of a task that ends before anybody could have read it.
Without Redis a step is lost, which is counted; the task goes on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

from celery.app.task import Context, get_actual_ignore_result
from celery.backends.redis import RedisBackend
from celery.worker import state as worker
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from telemetry.instruments import task_progress_lost

log = logging.getLogger(__name__)

T = TypeVar("T")

STATE = "PROGRESS"
EVENT = "task-progress"
FIRST_SECONDS = 0.2
BETWEEN_SECONDS = 0.5
# for the last step to be on its way before the task's end is; later it is too late, and refused
CLOSE_SECONDS = 1.0

# What has ended stays as it ended: a worker that was given up on may still be at work on what another one finished.
_STORE = """
local kept = redis.call('GET', KEYS[1])
if kept then
    local state = cjson.decode(kept)['status']
    if state == 'SUCCESS' or state == 'FAILURE' or state == 'REVOKED' then return 0 end
end
if tonumber(ARGV[2]) > 0 then
    redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
else
    redis.call('SET', KEYS[1], ARGV[1])
end
redis.call('PUBLISH', KEYS[1], ARGV[1])
return 1
"""


@dataclass(frozen=True, slots=True)
class Step:
    """`done` of `of` parts are behind the task, and it is at `step`."""

    done: int
    of: int
    step: str

    @property
    def percent(self) -> int:
        """Of 100, rounded down; 100 is left to what is complete."""
        return 100 if self.of <= 0 else max(0, min(100, 100 * self.done // self.of))

    def as_dict(self) -> dict[str, int | str]:
        return {"percent": self.percent, "done": self.done, "of": self.of, "step": self.step}


async def tell(done: int, of: int, step: str) -> None:
    """Say that the task that runs here has `done` of `of` parts behind it and is now at `step`, a word or two.

    May be called as often as one likes, also from what the task started beside itself. Does nothing outside a task.
    """
    teller = _teller.get()
    if teller is not None:
        teller.tell(Step(done, of, step))


async def telling(task: Any, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Do the work of a Celery task, which may `tell` how far it is."""
    teller = Teller(task)
    _teller.set(teller)
    try:
        return await work()
    finally:
        await teller.close()


@contextmanager
def untold() -> Iterator[None]:
    """Nothing inside says how far the task is: it is a part of something that does."""
    token = _teller.set(None)
    try:
        yield
    finally:
        _teller.reset(token)


class Teller:
    """Sends what one task tells; used on the event loop alone."""

    def __init__(self, task: Any) -> None:
        self._task = task
        self._request: Context = task.request
        self._newest: Step | None = None
        self._pump: asyncio.Task[None] | None = None
        self._sending: Future[None] | None = None
        self._last = 0.0
        self._closed = False
        self._lost_one = False

    def tell(self, step: Step) -> None:
        """Leave the step to be sent; the one before it is forgotten if it was not."""
        self._newest = step
        if not self._closed and (self._pump is None or self._pump.done()):
            self._pump = asyncio.create_task(self._send_newest())

    async def close(self) -> None:
        """Send nothing more: the task's end is next."""
        self._closed = True
        if self._pump is not None:
            self._pump.cancel()
        if self._sending is not None and not self._sending.done():
            await asyncio.wait([asyncio.wrap_future(self._sending)], timeout=CLOSE_SECONDS)

    async def _send_newest(self) -> None:
        while self._newest is not None:
            await asyncio.sleep(max(FIRST_SECONDS, self._last + BETWEEN_SECONDS - time.monotonic()))
            step, self._newest = self._newest, None
            self._last = time.monotonic()
            self._sending = _sender.submit(self._send, step)
            await asyncio.shield(asyncio.wrap_future(self._sending))

    def _send(self, step: Step) -> None:
        try:
            stored = self._store(step)
        except (RedisError, OperationalError, OSError) as error:
            self._lose(error)
            return
        request = worker.requests.get(self._request.id)
        if stored and request is not None and not self._closed:
            # Flower shows of a task the fields it knows: `result` is the one that is free until there is one
            request.send_event(EVENT, result=f"{step.percent}% {step.step}", **step.as_dict())

    def _store(self, step: Step) -> bool:
        """Whether there is somebody to show it to: it is not kept over the end of the task."""
        if get_actual_ignore_result(self._task, self._request):
            # nor would its end be kept
            return True
        # as Celery's own STARTED has it: so it is known later which worker was lost with the task
        kept = {**step.as_dict(), "hostname": self._request.hostname}
        backend = self._task.backend
        if not isinstance(backend, RedisBackend):
            self._task.update_state(self._request.id, STATE, kept)
            return True
        meta = {
            "status": STATE,
            "result": kept,
            "traceback": None,
            "children": [],
            "date_done": None,
            "task_id": self._request.id,
        }
        script = backend.client.register_script(_STORE)
        key = backend.get_key_for_task(self._request.id)
        return bool(script(keys=[key], args=[backend.encode(meta), int(backend.expires or 0)]))

    def _lose(self, error: Exception) -> None:
        task_progress_lost.add(1, {"task": self._task.name})
        if not self._lost_one:
            self._lost_one = True
            log.warning(
                "how far %s %s is could not be told: %s", self._task.name, self._request.id, type(error).__name__
            )


_teller: ContextVar[Teller | None] = ContextVar("progress_teller", default=None)
# one for all tasks: where Redis hangs, one thread hangs with it
_sender = ThreadPoolExecutor(1, thread_name_prefix="progress")
