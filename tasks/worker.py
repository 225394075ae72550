"""What a worker opens when it starts and closes when it ends, and whom it tells how tasks went.

A process that cannot work says why in one line and exits 1; its supervisor starts it again.
"""

from __future__ import annotations

import logging
import sys
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any, get_args

from celery import Celery, concurrency, signals
from celery.concurrency.thread import TaskPool as ThreadPool
from kombu.exceptions import OperationalError

from beat.sessions import is_open
from notifications.reporter import ErrorReporter
from settings import MARKETS, Settings
from storage import accounts, armings
from storage.engine import StorageError
from storage.redis import RedisUnavailable
from tasks import analysts, fundamentals, strategies
from tasks.redeliveries import LostTooOften
from tasks.reporting import raised_by_the_task, report_failure, report_unstored_failure
from tasks.runs import Expired, fail
from telemetry import celery_metrics, celery_spans, pulse, setup, systemd
from telemetry.celery_consumer import WatchedConsumer
from telemetry.instruments import (
    ai_decisions,
    ai_rejections,
    bot_running,
    fundamentals_told,
    orders,
    refusals,
    risk_circuit_breaker,
    risk_exits,
    risk_frequency_blocked,
    start_at_zero,
    sweeps,
    trade_fee_krw,
    trade_volume_krw,
    trades,
    worker_pool_size,
)
from telemetry.starting import start_telemetry
from trading.exits import ExitKind
from trading.strategy import BadStrategy
from trading.types import Decision, OrderState, RefusalRule, Side
from trading.validator import CHECKS
from workers import runtime
from workers.llm.errors import BadModel

log = logging.getLogger(__name__)

ANALYSIS = "tasks.analysis.analyze_and_trade"
# The seeds count jobs, not tasks: their "trading job" is our analysis with what follows from it.
JOBS = {ANALYSIS: "trading_job", "tasks.analysis.sweep": "sweep_job"}

END_WRITE_SECONDS = 5.0
START_SECONDS = 10.0
BROKER_SECONDS = 10.0
# the states that a venue's word, or its refusal, brings an order into
ORDER_STATES_COUNTED = [str(state) for state in OrderState if state not in (OrderState.PLANNED, OrderState.SENDING)]


def start(app: Celery, settings: Settings, sender: Any) -> None:
    """Start telemetry and the runtime of the worker `sender`, and hook into what becomes of tasks."""
    refuse_other_pools(sender.pool_cls)
    process = runtime.process_name(set(app.amqp.queues.consume_from))
    telemetry = start_telemetry(settings, process, sender.hostname)
    celery_spans.instrument()
    ours = [name for name in app.tasks if name.startswith("tasks.")]
    celery_metrics.CeleryMetrics(sender.hostname, ours, JOBS, raised_by_the_task).connect()
    served = sorted(set(app.amqp.queues.consume_from) & set(MARKETS))
    start_counters(settings, served)
    WatchedConsumer.patience = settings.watchdog_seconds
    WatchedConsumer.excused = staticmethod(partial(broker_is_silent, app))
    worker_pool_size.set(sender.concurrency, {"worker": sender.hostname})
    reporter = ErrorReporter(settings)
    signals.task_failure.connect(_analysis_given_up, weak=False)
    signals.task_failure.connect(partial(report_failure, reporter, sender.hostname), weak=False)
    signals.task_internal_error.connect(partial(report_unstored_failure, reporter, sender.hostname), weak=False)
    signals.task_revoked.connect(partial(_analysis_expired, reporter, sender.hostname), weak=False)
    try:
        strategies.check(settings)
        opened = runtime.open_runtime(settings, process, lambda market, at: is_open(market, at).open, served)
        account_of = {market: settings.account(market) for market in served}
        opened.run(accounts.claim(opened.engine, account_of), START_SECONDS)
        say_where_orders_go(opened, served)
        analysts.prepare(opened)
    except (StorageError, RedisUnavailable, BadStrategy, BadModel) as error:
        runtime.close_runtime()
        telemetry.shutdown()
        sys.exit(f"autotrader: {error}")
    signals.worker_ready.connect(_worker_ready, weak=False)
    signals.worker_shutting_down.connect(_worker_stopping, weak=False)
    signals.worker_shutdown.connect(partial(_stop_worker, telemetry, process), weak=False)


def start_counters(settings: Settings, markets: Iterable[str]) -> None:
    """Export 0 for what this worker may come to count, so that an alert sees the first event."""
    start_at_zero(risk_frequency_blocked)
    start_at_zero(ai_rejections, rule=[check.__name__ for check in CHECKS])
    for market in markets:
        symbols = settings.symbols(market)
        start_at_zero(sweeps, market=(market,), outcome=("published", "duplicate", "closed"))
        start_at_zero(orders, market=(market,), side=[str(side) for side in Side], state=ORDER_STATES_COUNTED)
        start_at_zero(risk_circuit_breaker, scope=(market,))
        start_at_zero(refusals, market=(market,), rule=get_args(RefusalRule))
        if settings.analyst == "llm":
            start_at_zero(fundamentals_told, market=(market,), outcome=fundamentals.OUTCOMES)
        start_at_zero(ai_decisions, symbol=symbols, decision=[str(decision) for decision in Decision])
        start_at_zero(risk_exits, symbol=symbols, kind=[str(kind) for kind in ExitKind])
        for counter in (trades, trade_volume_krw, trade_fee_krw):
            start_at_zero(counter, symbol=symbols, side=[str(side) for side in Side])


def say_where_orders_go(opened: runtime.Runtime, markets: Iterable[str]) -> None:
    """Say at start, market by market, whether orders are of paper or of money, and whether the market is armed."""
    settings = opened.settings
    now = datetime.now(UTC)
    rows = opened.run(armings.in_force(opened.engine, now), START_SECONDS) if settings.trading_mode == "live" else []
    until = {row.market: row.until for row in rows}
    for market in markets:
        if not settings.live(market):
            log.info("%s: orders go to the paper account", market)
        elif market in until:
            log.warning("%s: LIVE orders with real money, armed until %s", market, until[market].isoformat())
        else:
            log.warning("%s: live, but not armed: no order is sent until `autotrader arm %s --for 8h`", market, market)


def refuse_other_pools(pool: Any) -> None:
    """End the process unless its pool is `threads`: any other breaks the one event loop of the process."""
    if concurrency.get_implementation(pool) is ThreadPool:
        return
    name = pool if isinstance(pool, str) else pool.__module__.rsplit(".", 1)[-1]
    sys.exit(
        f"autotrader: the pool {name!r} cannot run these tasks, only 'threads' can: start the worker with -P threads"
    )


def broker_is_silent(app: Celery) -> bool:
    """Whether a new connection to the broker gets no answer, so that it is no fault of this process to wait for one."""
    try:
        with app.connection_for_read() as connection:
            connection.ensure_connection(max_retries=1, timeout=BROKER_SECONDS)
    except (OperationalError, OSError):
        return True
    return False


def _worker_ready(sender: Any, **_: Any) -> None:
    process = runtime.current_runtime().process
    bot_running.set(1, {"process": process})
    pulse.started()
    log.info("%s is ready", process)


def _worker_stopping(**_: Any) -> None:
    systemd.stopping()


def _stop_worker(telemetry: setup.Telemetry, process: str, **_: Any) -> None:
    bot_running.set(0, {"process": process})
    runtime.close_runtime()
    telemetry.shutdown()


def _analysis_expired(
    reporter: ErrorReporter, worker: str, sender: Any, request: Any, expired: bool = False, **_: Any
) -> None:
    """An analysis that expired in the queue never ran: write that down, so that its run can end, and tell it."""
    if not expired or sender.name != ANALYSIS:
        return
    market, symbol, _ = request.args
    error = Expired(f"{symbol} waited in the queue {market} until it expired: start more workers or sweep less often")
    # first: where the database does not answer, the end cannot be written
    reporter.report(
        error, task=sender.name, task_id=request.id, market=market, symbol=symbol, queue=market, worker=worker
    )
    _end_symbol(*request.args, error=error)


def _analysis_given_up(sender: Any, exception: BaseException, args: tuple[Any, ...], **_: Any) -> None:
    """An analysis that was not tried again could not write its own end."""
    if isinstance(exception, LostTooOften) and sender.name == ANALYSIS:
        _end_symbol(*args, error=exception)


def _end_symbol(market: str, symbol: str, run_id: str, *, error: BaseException) -> None:
    opened = runtime.current_runtime()
    opened.run(fail(opened, market, uuid.UUID(run_id), symbol, error), END_WRITE_SECONDS)
