"""What happens when a process of Celery starts and ends: telemetry first, then what the tasks need.

Everybody who publishes a task has this; what only a worker needs is imported when one starts (`tasks.worker`).
"""

from __future__ import annotations

import socket
from functools import partial
from typing import Any

from celery import Celery, signals

from settings import MARKETS, Settings, orders_queue
from telemetry import publishing, pulse
from telemetry.instruments import beat_entry_failed, bot_running, start_at_zero, task_publish_failed
from telemetry.starting import configure_logs, start_telemetry


def connect(app: Celery, settings: Settings) -> None:
    """Hook into Celery's signals. Called once, when the app is made."""
    app.conf.worker_consumer = "telemetry.celery_consumer:WatchedConsumer"
    signals.setup_logging.connect(partial(_setup_logging, settings), weak=False)
    publishing.connect()
    signals.celeryd_after_setup.connect(_serve_orders, weak=False)
    signals.worker_init.connect(partial(_start_worker, app, settings), weak=False)
    signals.beat_init.connect(partial(_start_beat, app, settings), weak=False)


def _setup_logging(settings: Settings, **_: Any) -> None:
    # Celery asks after the telemetry of a worker has started, and would else set up logs of its own
    configure_logs(settings)


def _start_worker(app: Celery, settings: Settings, sender: Any, **_: Any) -> None:
    from tasks import worker

    worker.start(app, settings, sender)


def _serve_orders(sender: str, instance: Any, **_: Any) -> None:
    """Who serves a market's queue serves the one of its orders too, whichever queues were named."""
    queues = instance.app.amqp.queues
    for market in sorted(set(queues.consume_from) & set(MARKETS)):
        queues.select_add(orders_queue(market))


def _start_beat(app: Celery, settings: Settings, **_: Any) -> None:
    # Celery has no signal for the end of a beat: its telemetry ends with Python
    start_telemetry(settings, "beat", f"beat@{socket.gethostname()}")
    schedule = app.conf.beat_schedule
    start_at_zero(beat_entry_failed, entry=schedule)
    start_at_zero(task_publish_failed, task={entry["task"] for entry in schedule.values()})
    bot_running.set(1, {"process": "beat"})
    # also while it stands by, for another one to end
    pulse.started()
