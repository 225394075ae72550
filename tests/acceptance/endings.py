"""Tasks that end in every way a task can; a worker takes them in with `-I endings`."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from celery.exceptions import Reject

from tasks.app import app
from tasks.base import AsyncTask
from tasks.progress import tell


@app.task(base=AsyncTask, name="endings.succeed")  # type: ignore[untyped-decorator]
async def succeed() -> None:
    """Return."""


@app.task(base=AsyncTask, name="endings.fail")  # type: ignore[untyped-decorator]
async def fail() -> None:
    raise ValueError("as asked")


@app.task(base=AsyncTask, bind=True, name="endings.retry", max_retries=3)  # type: ignore[untyped-decorator]
async def retry(self: Any) -> None:
    """Ask for another try once."""
    if self.request.retries == 0:
        raise self.retry(countdown=1)


@app.task(base=AsyncTask, name="endings.reject")  # type: ignore[untyped-decorator]
async def reject() -> None:
    raise Reject("as asked", requeue=False)


@app.task(base=AsyncTask, name="endings.late", deadline=0.3)  # type: ignore[untyped-decorator]
async def late() -> None:
    await asyncio.sleep(30)


@app.task(base=AsyncTask, name="endings.hold", deadline=12.0)  # type: ignore[untyped-decorator]
async def hold(mark: str, seconds: float) -> None:
    """Take its time when it is begun for the first time; `mark` is a file that says so."""
    if await asyncio.to_thread(Path(mark).exists):
        return
    await asyncio.to_thread(Path(mark).touch)
    await tell(0, 1, "holding")
    await asyncio.sleep(seconds)


@app.task(base=AsyncTask, name="endings.fail_when_told", deadline=12.0)  # type: ignore[untyped-decorator]
async def fail_when_told(mark: str, word: str) -> None:
    """Fail once there is a file `word`; `mark` is one that says it is waited for."""
    await asyncio.to_thread(Path(mark).touch)
    await asyncio.to_thread(_wait_for, Path(word))
    raise ValueError("as told")


def _wait_for(file: Path) -> None:
    while not file.exists():
        time.sleep(0.05)
