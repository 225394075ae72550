"""`python -m telemetry.document` writes `docs/metrics.md` from the catalogue."""

from __future__ import annotations

from pathlib import Path

from telemetry.catalogue import FOREIGN, emitted_by, prometheus_labels, prometheus_names
from telemetry.instruments import CATALOGUE, Instrument

PATH = Path(__file__).resolve().parents[1] / "docs" / "metrics.md"

HEAD = """# Metrics

Written by `python -m telemetry.document` from `telemetry/instruments.py`; a test fails when this is stale.

Every process exports its metrics by OTLP under the OpenTelemetry name and serves the same as Prometheus text at
`PROMETHEUS_HOST:PROMETHEUS_PORT`. Temporality is cumulative, there are no exemplars. Counters whose attribute values
are known at start begin at 0, so that `increase()` sees the first event. No task id, exception text or address is ever
an attribute.

## How a task can end

| the task | counted as |
|---|---|
| returned | `celery.task.succeeded` |
| raised | `celery.task.failed` {error_type} |
| passed its deadline | `celery.task.deadline_exceeded`, and `celery.task.failed` {error_type=DeadlineExceeded} |
| asked for another try | `celery.task.retried` |
| was revoked before it ran | `celery.task.revoked` {reason=revoked} |
| expired before it ran | `celery.task.revoked` {reason=expired} |
| rejected its message, or the message was no task | `celery.task.rejected` {reason=rejected} |
| is none of ours | `celery.task.rejected` {reason=unknown_task} |
| could not be decoded | `celery.task.rejected` {reason=unreadable} |
| ended, and its end could not be stored | `celery.task.failed` {error_type=InternalError} |
| was lost with its worker and begun again | `celery.task.redelivered`, and how it then ends |
| could not be published | `celery.task.publish_failed`, and for an entry of the beat `celery.beat.entry.failed` |

## The catalogue

| OpenTelemetry | Prometheus | kind | unit | attributes | from | what |
|---|---|---|---|---|---|---|
"""

FOOT = """
## From others

Our processes also serve what OpenTelemetry's instrumentations and the Prometheus client measure: {foreign}; and
`python_*` and `process_*` of the client, which OTLP does not have.
"""


def document() -> str:
    """The whole page."""
    rows = "\n".join(_row(entry) for entry in CATALOGUE.values())
    foreign = ", ".join(f"`{name}` {{{', '.join(labels)}}}" for name, labels in FOREIGN.items())
    return f"{HEAD}{rows}\n{FOOT.format(foreign=foreign)}"


def _row(entry: Instrument) -> str:
    series = "<br>".join(f"`{name}`" for name in sorted(prometheus_names(entry)))
    attributes = ", ".join(prometheus_labels(entry)) or "–"
    cells = (f"`{entry.name}`", series, entry.kind, entry.unit, attributes, ", ".join(emitted_by(entry)))
    return f"| {' | '.join(cells)} | {entry.description} |"


if __name__ == "__main__":
    PATH.write_text(document(), encoding="utf-8")
