"""The part of a worker that takes messages from the broker, watched; imported by workers alone."""

from __future__ import annotations

from typing import Any

from celery.worker import state
from celery.worker.consumer import Consumer

from telemetry.instruments import task_rejected, worker_prefetched
from telemetry.process import settle_memory

# Events of tasks go out together this often. Celery sends them at every turn of its loop, which under load is at
# every event, and each sending costs as much as the rest of a task's telemetry: measured, a quarter of the
# processor time of a worker of short tasks.
EVENTS_SECONDS = 0.5
# So many do not wait for it. Celery's own limit of 24 is that of eight tasks, and a message costs as much as 10 events.
EVENTS_TOGETHER = 256


class WatchedConsumer(Consumer):  # type: ignore[misc]
    """Celery's consumer; counts also what it throws away without a signal, because it cannot be decoded."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        worker_prefetched.observe(waiting_here, {"worker": self.hostname})
        # the last that is made before the first task comes
        settle_memory()

    def register_with_event_loop(self, hub: Any) -> None:
        super().register_with_event_loop(hub)
        hub.call_repeatedly(EVENTS_SECONDS, self._flush_events)

    def on_send_event_buffered(self) -> None:
        """Leave the event to the next sending, unless there is none."""
        if self.hub:
            # there is a new dispatcher after every loss of the broker
            self.event_dispatcher.buffer_limit = EVENTS_TOGETHER
        else:
            super().on_send_event_buffered()

    def stop(self) -> None:
        self._flush_events()
        super().stop()

    def on_decode_error(self, message: Any, exc: BaseException) -> None:
        task_rejected.add(1, {"reason": "unreadable"})
        super().on_decode_error(message, exc)


def waiting_here() -> int:
    """The tasks this worker has taken and not begun."""
    return max(0, len(state.reserved_requests) - len(state.active_requests))
