"""The Celery app: queues, delivery, time limits and where the tasks are."""

from __future__ import annotations

from kombu import Queue

from beat.schedule import static_schedule
from settings import MARKETS, get_settings, orders_queue
from telemetry.publishing import TracedCelery

settings = get_settings()

MODULES = ("analysis", "orders", "guard", "reports", "sessions", "lost", "heartbeat", "replay")

app = TracedCelery("autotrader", include=[f"tasks.{name}" for name in MODULES])

_REDIS_TIMEOUTS = {
    "socket_timeout": 10,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 25,
    "retry_on_timeout": False,
}

app.conf.update(
    broker_url=settings.broker_url,
    result_backend=settings.result_backend,
    result_expires=86_400,
    # the queues of the markets; a message for none of them would be work that nobody does
    task_queues=[Queue(name) for market in MARKETS for name in (market, orders_queue(market))],
    task_default_queue=MARKETS[0],
    task_create_missing_queues=False,
    # JSON only: a pickle in the broker would be code
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    timezone="UTC",
    enable_utc=True,
    # a message is acknowledged when its task has ended, so a killed worker's tasks come back
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    worker_concurrency=settings.worker_concurrency,
    task_track_started=True,
    worker_send_task_events=True,
    task_send_sent_event=True,
    # one value for every process: a sweep of unacknowledged messages uses its own worker's
    visibility_timeout=settings.visibility_timeout_seconds,
    broker_transport_options={
        "visibility_timeout": settings.visibility_timeout_seconds,
        # kombu looks for lost messages every interval x throttle seconds: 10 x 10 by default
        "unacked_restore_throttle": 1,
        "unacked_mutex_expire": 15,
        **_REDIS_TIMEOUTS,
    },
    result_backend_transport_options={"visibility_timeout": settings.visibility_timeout_seconds},
    redis_socket_timeout=10,
    redis_socket_connect_timeout=5,
    redis_socket_keepalive=True,
    broker_connection_retry_on_startup=True,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    worker_soft_shutdown_timeout=0,
    # the beat
    beat_scheduler="beat.scheduler:Scheduler",
    beat_schedule=static_schedule(settings),
    beat_max_loop_interval=5,
    beat_cron_starting_deadline=120,
    beat_enable_remote_control=True,
    redbeat_redis_url=settings.redis_url,
    redbeat_redis_options={"socket_timeout": 10, "socket_connect_timeout": 5},
    redbeat_key_prefix="autotrader:beat:",
    redbeat_lock_timeout=30,
)

from tasks import lifecycle, serializer  # noqa: E402

serializer.redact_what_celery_tells(app, settings)
lifecycle.connect(app, settings)
