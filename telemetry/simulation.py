"""What happens in a simulated world is no news of the real one: nothing of it is counted, traced or logged.

Inside `simulated()` the instruments record nothing, spans are made and dropped, and only errors are logged: a line
"the stop-loss was reached" of a replay would read like one of today. It holds for what is started inside, and for
nothing else in the process.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from opentelemetry import trace

_simulated: ContextVar[bool] = ContextVar("simulated", default=False)


def is_simulated() -> bool:
    """Whether this runs in a simulated world."""
    return _simulated.get()


@contextmanager
def simulated() -> Iterator[None]:
    """A simulated world; what is traced inside keeps the trace's id, but is not sampled."""
    here = trace.get_current_span().get_span_context()
    unsampled = trace.SpanContext(
        here.trace_id, here.span_id, is_remote=False, trace_flags=trace.TraceFlags.get_default()
    )
    token = _simulated.set(True)
    try:
        with trace.use_span(trace.NonRecordingSpan(unsampled if here.is_valid else here)):
            yield
    finally:
        _simulated.reset(token)


@contextmanager
def real() -> Iterator[None]:
    """Back in the real world, inside a simulated one: what is done here costs money, and counts."""
    token = _simulated.set(False)
    try:
        yield
    finally:
        _simulated.reset(token)


def not_simulated(record: logging.LogRecord) -> bool:
    """For handlers: lets pass what is of the real world, and every error."""
    return record.levelno >= logging.ERROR or not _simulated.get()
