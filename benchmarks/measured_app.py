"""Our app with the tasks of `benchmarks.telemetry_overhead`, started as production starts it."""

from __future__ import annotations

from benchmarks.bodies import nothing, query, venue
from tasks.app import app
from tasks.base import AsyncTask
from workers.runtime import current_runtime

__all__ = ["app"]


@app.task(base=AsyncTask, name="bench.empty")  # type: ignore[untyped-decorator]
async def empty() -> None:
    """Do nothing."""
    await nothing()


@app.task(base=AsyncTask, name="bench.query")  # type: ignore[untyped-decorator]
async def ask() -> None:
    """Ask PostgreSQL and Redis."""
    runtime = current_runtime()
    await query(runtime.engine, runtime.redis)


@app.task(base=AsyncTask, name="bench.venue")  # type: ignore[untyped-decorator]
async def trade() -> None:
    """Wait for a venue, then ask PostgreSQL and Redis."""
    runtime = current_runtime()
    await venue(runtime.engine, runtime.redis)
