"""The part of a worker that takes messages from the broker, watched; imported by workers alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.worker import state
from celery.worker.consumer import Consumer

from telemetry.instruments import task_rejected, worker_prefetched
from telemetry.process import settle_memory
from telemetry.pulse import SLOWEST_TURN_SECONDS, Pulse

# Events of tasks go out together this often. Celery sends them at every turn of its loop, which under load is at
# every event, and each sending costs as much as the rest of a task's telemetry: measured, a quarter of the
# processor time of a worker of short tasks.
EVENTS_SECONDS = 0.5
# So many do not wait for it. Celery's own limit of 24 is that of eight tasks, and a message costs as much as 10 events.
EVENTS_TOGETHER = 256
PULSE_SECONDS = 1.0


class WatchedConsumer(Consumer):  # type: ignore[misc]
    """Celery's consumer; counts also what it throws away without a signal, because it cannot be decoded.

    While it has its connection it leaves signs of life, and ends the process when they stop for `patience` seconds more
    than a turn may take: no other part of a worker would notice that no task is taken any more.
    """

    patience = 60.0
    # whether it is the broker that does not answer
    excused: Callable[[], bool] = staticmethod(lambda: False)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._pulse = Pulse("the taking of tasks", self.patience + SLOWEST_TURN_SECONDS, excused=self.excused)
        worker_prefetched.observe(waiting_here, {"worker": self.hostname})
        # the last that is made before the first task comes
        settle_memory()

    def register_with_event_loop(self, hub: Any) -> None:
        super().register_with_event_loop(hub)
        hub.call_repeatedly(EVENTS_SECONDS, self._flush_events)
        self._pulse.beat()
        hub.call_repeatedly(PULSE_SECONDS, self._pulse.beat)

    def on_close(self) -> None:
        # called when the connection is lost; until it is back there are no turns
        self._pulse.rest()
        super().on_close()

    def on_send_event_buffered(self) -> None:
        """Leave the event to the next sending, unless there is none."""
        if self.hub:
            # there is a new dispatcher after every loss of the broker
            self.event_dispatcher.buffer_limit = EVENTS_TOGETHER
        else:
            super().on_send_event_buffered()

    def stop(self) -> None:
        # the tasks that run now may take their time to end
        self._pulse.rest()
        self._flush_events()
        super().stop()

    def on_decode_error(self, message: Any, exc: BaseException) -> None:
        task_rejected.add(1, {"reason": "unreadable"})
        super().on_decode_error(message, exc)


def waiting_here() -> int:
    """The tasks this worker has taken and not begun."""
    return max(0, len(state.reserved_requests) - len(state.active_requests))
