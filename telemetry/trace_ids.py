"""The trace a piece of code runs in, as the rows and messages that lead to it name it."""

from __future__ import annotations

from opentelemetry import trace


def current_trace_id() -> str:
    """The current trace as 32 hex digits; "" where nothing is traced."""
    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else ""
