"""A heartbeat through each market's queue: proof that beat, broker, worker, loop and database all work."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import text

from settings import check_market
from storage.redis import HEARTBEAT_KEY
from tasks.app import app
from tasks.base import AsyncTask
from telemetry.instruments import worker_heartbeat
from workers.runtime import current_runtime

KEEP_SECONDS = 86_400


@app.task(base=AsyncTask, bind=True, name="tasks.heartbeat.heartbeat", deadline=15.0, ignore_result=True)  # type: ignore[untyped-decorator]
async def heartbeat(self: Any, market: str) -> None:
    """Ask the database for 1 and write the time into Redis. Raises what they raise."""
    check_market(market)
    runtime = current_runtime()
    async with runtime.engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
    now = time.time()
    await runtime.redis.set(HEARTBEAT_KEY.format(market=market), f"{now:.3f}", ex=KEEP_SECONDS)
    worker_heartbeat.set(now, {"worker": self.request.hostname})
