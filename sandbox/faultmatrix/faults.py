"""Every fault of the matrix, in its order."""

from __future__ import annotations

from sandbox.faultmatrix import part_faults as part
from sandbox.faultmatrix import work_faults as work
from sandbox.faultmatrix.fault import Fault

_ALL = (
    work.failing_job,
    work.slow_job,
    work.error_burst,
    part.slow_api,
    part.metrics_not_collected,
    part.killed_worker,
    part.stopped_beat,
    work.stalled_decisions,
    part.venue_down,
    work.queue_backlog,
    part.collector_down,
    part.collector_hanging,
    part.postgresql_down,
    part.redis_down,
    part.disk_spool,
    part.notifier_dead,
    work.expired_task,
    work.deadline_exceeded,
    work.task_redelivered,
    work.stuck_loop,
)

FAULTS: dict[str, Fault] = {fault.name: fault for fault in _ALL}
