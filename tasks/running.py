"""A worker or the beat, run without Celery's command line.

The command line imports what each of its commands may need, an interactive shell and Flower with it: 24 MiB in every
process that is started so. `celery -A tasks worker` still works, and is that much larger.
"""

from __future__ import annotations

from celery.utils.nodenames import host_format

from tasks.app import app


def run_worker(market: str, concurrency: int = 0) -> int:
    """Serve the queues of a market until SIGTERM; returns the exit code. 0 is the setting's concurrency."""
    worker = app.Worker(
        hostname=host_format(f"{market}@%h"),
        pool_cls="threads",
        queues=[market],
        concurrency=concurrency or app.conf.worker_concurrency,
        # what the workers would tell each other is nothing that these tasks use, and asking takes a second of the start
        without_gossip=True,
        without_mingle=True,
    )
    worker.start()
    return int(worker.exitcode or 0)


def run_beat() -> None:
    """Fire the schedule, or stand by, until SIGTERM."""
    # it sends tasks by their names: what they need to run is the workers'
    app.conf.include = ()
    app.Beat().run()


def load_tasks() -> None:
    """Have this process know all tasks, and what runs them, before it forks one that needs them."""
    app.loader.import_default_modules()
    app.finalize()
