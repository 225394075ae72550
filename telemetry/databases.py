"""Spans of SQL statements, and how much of the connection pool is in use.

OpenTelemetry's instrumentation, without two things that cost more than they tell, measured as a sixth of a short
task's processor time: a `connect` span for every connection taken from the pool, and four counters moved for every
transaction. How full the pool is, is asked of the pool instead, when metrics are exported.
"""

from __future__ import annotations

from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.instrumentation.utils import unwrap
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import TracerProvider
from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import QueuePool

from telemetry.instruments import database_connections


def instrument(engine: AsyncEngine, tracers: TracerProvider | None = None) -> None:
    """Trace the statements of `engine` and report its pool; `tracers` is the process's own unless given."""
    # it declares SQLAlchemy < 2.1; its spans of 2.1 are pinned by a test
    SQLAlchemyInstrumentor().instrument(
        engine=engine.sync_engine, skip_dep_check=True, tracer_provider=tracers, meter_provider=NoOpMeterProvider()
    )
    unwrap(Engine, "connect")
    pool = engine.sync_engine.pool
    if isinstance(pool, QueuePool):
        database_connections.observe(pool.checkedout, {"state": "used"})
        database_connections.observe(pool.checkedin, {"state": "idle"})


def uninstrument() -> None:
    """Undo `instrument`."""
    SQLAlchemyInstrumentor().uninstrument()
    database_connections.forget()
