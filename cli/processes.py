"""The processes: a worker per market, the beat, Flower, the notifier and the HTTP interface."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from cli.ending import stop_on_signals
from cli.malloc import keep_little
from settings import MARKETS, check_market, get_settings, orders_queue

FLOWER_CONFIG = Path(__file__).resolve().parents[1] / "deploy" / "flower" / "flowerconfig.py"

# so long a process has to end after its last task
STOP_SECONDS = 15.0
# What `autotrader run` loads once for all. Of the telemetry HTTP only: gRPC must not be forked. Of the markets all but
# what only the worker of Yahoo carries, which is pandas.
SHARED = (
    *(f"celery.{name}" for name in ("apps.worker", "apps.beat", "worker.components", "worker.strategy", "app.events")),
    *("tasks.running", "tasks.worker", "telemetry.celery_consumer", "beat.scheduler"),
    *(f"workers.{market}.{part}" for market in ("upbit", "kis") for part in ("market", "broker")),
    *("charts.price", "charts.equity", "asyncpg", "requests"),
    *("bot.process", "notifications.notifier", "operate", "api.process"),
    *("prometheus_client", "opentelemetry.exporter.prometheus"),
    *(f"opentelemetry.exporter.otlp.proto.http.{name}" for name in ("trace_exporter", "metric_exporter")),
    "opentelemetry.exporter.otlp.proto.http._log_exporter",
)

app = typer.Typer()


@app.command()
def worker(
    market: Annotated[str, typer.Argument(help="upbit, kis or yfinance")],
    concurrency: Annotated[int, typer.Option("-c", help="tasks at a time; 0 = WORKER_CONCURRENCY")] = 0,
) -> None:
    """Run the worker of one market."""
    check_market(market)
    _go_lean()
    from tasks.running import run_worker

    sys.exit(run_worker(market, concurrency))


@app.command()
def beat() -> None:
    """Run the beat; a second one stands by."""
    _go_lean()
    from tasks.running import run_beat

    run_beat()


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def flower(context: typer.Context) -> None:
    """Run Flower; its own options, such as --port=5556, may follow."""
    from tasks.app import app as celery

    if not FLOWER_CONFIG.is_file():
        sys.exit(f"autotrader: {FLOWER_CONFIG} is missing: run from a copy of the whole project")
    from tornado.ioloop import IOLoop, PeriodicCallback

    from telemetry import pulse

    # the loop on which Flower answers, once it runs
    PeriodicCallback(pulse.Pulse("the event loop of Flower", get_settings().watchdog_seconds).beat, 500).start()
    IOLoop.current().add_callback(pulse.started)
    celery.start(["flower", f"--conf={FLOWER_CONFIG}", *context.args])


@app.command()
def notifier() -> None:
    """Run the process that talks to Telegram: it sends alerts and answers commands."""
    _go_lean()
    from bot.process import run_bot
    from notifications.notifier import NotifierError, run_notifier
    from telemetry import logs, pulse
    from telemetry.starting import start_telemetry

    settings = get_settings()
    logs.configure(settings.log_format, settings.log_level)
    telemetry = start_telemetry(settings, "notifier", f"notifier@{os.uname().nodename}")

    async def run() -> None:
        stop = asyncio.Event()
        stop_on_signals(stop)
        served = [market for market in MARKETS if settings.symbols(market)]
        queues = [*served, *map(orders_queue, served)]
        bot = asyncio.create_task(run_bot(settings, stop=stop))
        alive = asyncio.create_task(pulse.Pulse("the event loop of notifier", settings.watchdog_seconds).of_this_loop())
        pulse.started()
        try:
            await run_notifier(settings, stop=stop, queues=queues, announce=True)
        finally:
            stop.set()
            await bot
            alive.cancel()

    try:
        asyncio.run(run())
    except NotifierError as error:
        sys.exit(f"autotrader: {error}")
    finally:
        telemetry.shutdown()


@app.command()
def api() -> None:
    """Run the HTTP interface; its documentation is at /docs."""
    _go_lean()
    from api.auth import BadToken
    from api.process import CannotStart, check_tokens, open_listener, run_api
    from storage.engine import StorageError
    from telemetry.starting import configure_logs, start_telemetry

    settings = get_settings()
    configure_logs(settings)
    try:
        tokens = check_tokens(settings)
        listener = open_listener(settings)
    except (BadToken, CannotStart) as error:
        sys.exit(f"autotrader: {error}")
    telemetry = start_telemetry(settings, "api", f"api@{os.uname().nodename}")
    try:
        run_api(settings, tokens, listener)
    except StorageError as error:
        sys.exit(f"autotrader: {error}")
    finally:
        telemetry.shutdown()


@app.command()
def run() -> None:
    """Run all of them as one service: a worker per market that has symbols, beat, notifier and API.

    They are forked from one process and share its memory, which is half of what they need apart; one that ends is
    started again, and one that keeps ending is told in the error chat. The Prometheus text of the first is at
    PROMETHEUS_PORT, the others' at the ports after it.
    """
    _go_lean()
    from cli.together import Family, KeepsEnding, load, stages
    from tasks.running import load_tasks
    from telemetry.redacting import log_uncaught
    from telemetry.starting import configure_logs, shift_prometheus_port

    settings = get_settings()
    configure_logs(settings)
    log_uncaught()
    load(SHARED, load_tasks)
    all_of_them: dict[str, Callable[[], None]] = {f"worker-{market}": partial(worker, market) for market in MARKETS}
    all_of_them |= {"beat": beat, "notifier": notifier, "api": api}

    def start(name: str, port: int) -> None:
        shift_prometheus_port(port)
        all_of_them[name]()

    def tell(name: str, why: KeepsEnding) -> None:
        # the notifier sends it, and if that is the one, then as soon as it lives
        from notifications.reporter import ErrorReporter

        reporter = ErrorReporter(settings)
        reporter.report(
            why, task=name, worker=os.uname().nodename, level="CRITICAL", fingerprint=f"keeps_ending:{name}"
        )
        reporter.close()

    served = {f"worker-{market}" for market in MARKETS if settings.symbols(market)}
    members = {
        name: partial(start, name, port)
        for port, name in enumerate(all_of_them)
        if name in served or not name.startswith("worker-")
    }
    Family(stages(members), settings.analyze_deadline_seconds + STOP_SECONDS, tell).run()


def _go_lean() -> None:
    """Have a process that runs for weeks do without what libraries import because it is there, and fall back from.

    Colours of tracebacks, YAML as a serializer of messages that are JSON only, a command line of httpx, passports of
    Telegram, Tornado's way to wait: 5 MiB in each process. Call it before anything else is imported, and while there
    is one thread.
    """
    for name in ("rich", "pygments", "yaml", "cryptography", "tornado"):
        # what Python's documentation says of None here: the import fails as if the package were not installed
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
    # TA-Lib uses none of it, and each of its threads has buffers
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    keep_little()
