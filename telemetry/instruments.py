"""The catalogue: every instrument of the system, declared once.

The meter is OpenTelemetry's proxy, so an instrument may be used before `telemetry.setup` has run; what is
recorded then goes nowhere, except that a counter keeps its sum. Attributes are closed sets: no task id, exception text
or URL is ever one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from threading import Lock
from typing import Literal

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from telemetry.simulation import is_simulated

Kind = Literal["counter", "histogram", "gauge"]

MILLISECONDS = (5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 180_000)
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800)

_METER = metrics.get_meter("autotrader")


@dataclass(frozen=True, slots=True)
class Instrument:
    """One entry of the catalogue. `unit` is UCUM ("1" for a plain count)."""

    name: str
    kind: Kind
    unit: str
    description: str
    attributes: tuple[str, ...]


CATALOGUE: dict[str, Instrument] = {}


def _declare(kind: Kind, name: str, unit: str, description: str, attributes: Sequence[str]) -> None:
    if name in CATALOGUE:
        raise ValueError(f"instrument {name} is declared twice")
    CATALOGUE[name] = Instrument(name, kind, unit, description, tuple(attributes))


class Histogram:
    """How values are distributed over `bounds`; nothing of a simulated world is."""

    def __init__(
        self, name: str, description: str, attributes: Sequence[str], unit: str, bounds: Sequence[float]
    ) -> None:
        _declare("histogram", name, unit, description, attributes)
        self._real = _METER.create_histogram(name, unit, description, explicit_bucket_boundaries_advisory=bounds)

    def record(self, value: float, attributes: Mapping[str, str] | None = None) -> None:
        """One more value for this attribute set, from any thread."""
        if not is_simulated():
            self._real.record(value, attributes)


def _histogram(name: str, description: str, *attributes: str, unit: str, bounds: Sequence[float]) -> Histogram:
    return Histogram(name, description, attributes, unit, bounds)


class Observed:
    """A value per attribute set that is looked up at every export."""

    def __init__(self) -> None:
        self._values: dict[tuple[tuple[str, str], ...], float | Callable[[], float]] = {}

    def observe(self, read: Callable[[], float], attributes: Mapping[str, str] | None = None) -> None:
        """Ask `read`, from any thread, at every export."""
        self._values[_key(attributes)] = read

    def forget(self, attributes: Mapping[str, str] | None = None) -> None:
        """Report nothing more for this attribute set; without one, for none."""
        if attributes is None:
            self._values.clear()
        else:
            self._values.pop(_key(attributes), None)

    def _observations(self, _: CallbackOptions) -> Iterable[Observation]:
        return [
            Observation(value() if callable(value) else value, dict(key)) for key, value in list(self._values.items())
        ]


class Gauge(Observed):
    """A value per attribute set, reported at every export until it is set anew."""

    def __init__(self, name: str, description: str, attributes: Sequence[str], unit: str) -> None:
        super().__init__()
        _declare("gauge", name, unit, description, attributes)
        _METER.create_observable_gauge(name, [self._observations], unit, description)

    def set(self, value: float, attributes: Mapping[str, str] | None = None) -> None:
        """Remember `value` for this attribute set, unless it is of a simulated world."""
        if is_simulated():
            return
        self._values[_key(attributes)] = value


class ObservedCounter(Observed):
    """A sum that something else keeps."""

    def __init__(self, name: str, description: str, attributes: Sequence[str], unit: str) -> None:
        super().__init__()
        _declare("counter", name, unit, description, attributes)
        _METER.create_observable_counter(name, [self._observations], unit, description)


class Counter(ObservedCounter):
    """A sum kept here until it is exported: the SDK's own counter takes ten times as long for an addition."""

    def __init__(self, name: str, description: str, attributes: Sequence[str], unit: str) -> None:
        super().__init__(name, description, attributes, unit)
        self._sums: dict[tuple[tuple[str, str], ...], float] = {}
        self._lock = Lock()

    def add(self, amount: float, attributes: Mapping[str, str] | None = None) -> None:
        """Add `amount` for this attribute set, from any thread; what would make the sum smaller, or is of a simulated
        world, is not added."""
        if amount >= 0 and not is_simulated():
            key = _key(attributes)
            with self._lock:
                self._values[key] = self._sums[key] = self._sums.get(key, 0) + amount


def _key(attributes: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((attributes or {}).items()))


def _counter(name: str, description: str, *attributes: str, unit: str = "1") -> Counter:
    return Counter(name, description, attributes, unit)


def _gauge(name: str, description: str, *attributes: str, unit: str = "1") -> Gauge:
    return Gauge(name, description, attributes, unit)


def _observed_counter(name: str, description: str, *attributes: str, unit: str = "1") -> ObservedCounter:
    return ObservedCounter(name, description, attributes, unit)


def start_at_zero(counter: Counter, **values: Iterable[str]) -> None:
    """Export 0 for every combination of known attribute values, so that `increase()` sees the first event."""
    for combination in product(*values.values()):
        counter.add(0, dict(zip(values, combination, strict=True)))


# analyses
analysis_executions = _counter(
    "analysis.executions", "Analyses carried out",
    "status", "asset_type", "asset_name", "market", "model", "decision", "confidence_range",
)  # fmt: skip
analysis_duration = _histogram(
    "analysis.duration", "Time of one analysis, data collection included",
    "status", "asset_type", "market", "model", unit="ms", bounds=MILLISECONDS,
)  # fmt: skip
ai_decisions = _counter("ai_decision_total", "Decisions of the analyst", "symbol", "decision")
ai_rejections = _counter("ai_validation_rejected_total", "Analyses the validator made a HOLD", "rule")

# language models, one per attempt
llm_calls = _counter("autotrader.llm.calls", "Questions to a language model by what came of them", "model", "outcome")
llm_duration = _histogram(
    "autotrader.llm.duration", "Time of one question to a language model", "model", "outcome", unit="s", bounds=SECONDS
)
llm_tokens = _counter("autotrader.llm.tokens", "Tokens sent to and received from language models", "model", "type")
llm_cost = _counter("autotrader.llm.cost", "What language models cost, by their list prices", "model", unit="USD")
llm_budget_left = _gauge("autotrader.llm.budget_left", "What is left of today's budget for models", unit="USD")

fundamentals_told = _counter(
    "autotrader.fundamentals", "Questions for a symbol's fundamentals by how many were told", "market", "outcome"
)

# calls to venues, one per HTTP request
api_calls = _counter("api.calls", "HTTP requests to a venue", "service", "operation", "status")
api_call_duration = _histogram(
    "api.call.duration", "Time of one HTTP request to a venue",
    "service", "operation", "status", unit="ms", bounds=MILLISECONDS,
)  # fmt: skip

# rate limits of venues
limiter_wait = _histogram(
    "autotrader.limiter.wait", "Time a request to a venue waited for its slot, which is no part of its duration",
    "service", "group", unit="ms", bounds=MILLISECONDS,
)  # fmt: skip
limiter_refused = _counter(
    "autotrader.limiter.refused", "Requests not sent, because no slot was free in time", "service", "group", "reason"
)
venue_throttled = _counter(
    "autotrader.venue.throttled", "Requests a venue refused for rate: 429, 418, or a code of its own",
    "service", "group", "reason",
)  # fmt: skip

data_age = _gauge(
    "autotrader.data.age", "Age of the newest quote of a market when it was last used", "market", unit="s"
)
credential_expiry = _gauge(
    "autotrader.credentials.expiry", "Unix time at which a key or token of a venue ends", "service", "credential",
    unit="s",
)  # fmt: skip
clock_offset = _gauge("autotrader.clock.offset", "This machine's clock less the venue's", "service", unit="s")

# scheduled jobs
job_success = _counter("scheduler_job_success_total", "Scheduled jobs that ended well", "job_name")
job_failure = _counter("scheduler_job_failure_total", "Scheduled jobs that failed", "job_name")
job_duration = _histogram(
    "scheduler_job_duration_seconds", "Time of one scheduled job", "job_name", unit="s", bounds=SECONDS
)
sweeps = _counter("autotrader.sweeps", "Sweeps by how they ended", "market", "outcome")
outcomes = _counter("autotrader.outcomes", "Analysed symbols by what came of them", "market", "outcome")

replays = _counter("autotrader.replays", "Parts of replays by how they ended", "market", "outcome")
replayed_days = _counter("autotrader.replayed_days", "Days of a symbol that replays went through", "market")

# orders and portfolio
orders = _counter(
    "autotrader.orders", "Orders by the states they came into once they were sent", "market", "side", "state"
)
trades = _counter("trades_total", "Fills", "symbol", "side")
trade_volume_krw = _counter("trade_volume_krw_total", "Value of fills in KRW markets", "symbol", "side")
trade_fee_krw = _counter("trade_fee_krw_total", "Fees of fills in KRW markets", "symbol", "side")
portfolio_value_krw = _gauge("portfolio_value_krw", "Cash and positions of all KRW accounts at the last quotes")
portfolio_profit_rate = _gauge("portfolio_profit_rate", "Profit of the KRW accounts over what they started with")

portfolio_profit_krw = _gauge(
    "portfolio_profit_krw", "Realised profit of the KRW accounts in the last day or week reported", "period"
)
orders_unproven = _gauge("autotrader.orders.unproven", "Orders sent and not proven either way")
orders_oldest_unproven_age = _gauge(
    "autotrader.orders.oldest_unproven_age", "Time since the oldest unproven order was sent, 0 without one", unit="s"
)

# risk
risk_exits = _counter("risk_exit_total", "Positions an exit rule began to close", "symbol", "kind")
risk_circuit_breaker = _counter("risk_circuit_breaker_total", "Loss limits that were broken", "scope")
risk_frequency_blocked = _counter(
    "risk_frequency_blocked_total", "Orders held back by the minimum interval or the trades per day"
)
refusals = _counter("autotrader.refusals", "Orders that a rule decided against", "market", "rule")
armed = _gauge("autotrader.armed", "1 while live trading is allowed in the market", "market")

# errors and life
bot_errors = _counter("bot_errors_total", "Errors that reached the error reporter", "error_type")
bot_running = _gauge("bot_running", "1 while this process works", "process")

# the worker
task_received = _counter("celery.task.received", "Tasks the worker received", "task")
task_started = _counter("celery.task.started", "Tasks that began to run", "task")
task_succeeded = _counter("celery.task.succeeded", "Tasks that ended well", "task")
task_failed = _counter("celery.task.failed", "Tasks that failed", "task", "error_type")
task_retried = _counter("celery.task.retried", "Tasks that asked for another try", "task")
task_revoked = _counter("celery.task.revoked", "Tasks revoked or expired before they ran", "task", "reason")
task_rejected = _counter("celery.task.rejected", "Messages the worker rejected or did not know", "reason")
task_deadline = _counter("celery.task.deadline_exceeded", "Tasks cancelled at their deadline", "task")
task_redelivered = _counter(
    "celery.task.redelivered", "Tasks that run once more, because a worker was lost while it had them", "task"
)
task_progress_lost = _counter(
    "celery.task.progress_lost", "Steps of a running task that could not be stored for who follows it", "task"
)
task_publish_failed = _counter("celery.task.publish_failed", "Tasks that could not be sent to the broker", "task")
task_runtime = _histogram("celery.task.runtime", "Time in the task", "task", "state", unit="s", bounds=SECONDS)
task_queue_wait = _histogram(
    "celery.task.queue_wait", "Time from publish (or ETA) to start", "task", "queue", unit="s", bounds=SECONDS
)
worker_active = _gauge("celery.worker.active", "Tasks running in this worker", "worker")
worker_prefetched = _gauge("celery.worker.prefetched", "Tasks this worker has taken and not yet begun", "worker")
worker_pool_size = _gauge("celery.worker.pool_size", "Threads of the pool", "worker")
worker_heartbeat = _gauge("celery.worker.last_heartbeat", "Unix time of the last heartbeat", "worker", unit="s")
flower_executing = _gauge(
    "flower_worker_number_of_currently_executing_tasks", "Same as celery.worker.active, by Flower's name", "worker"
)
loop_lag = _histogram("autotrader.loop.lag", "How late the event loop ran a timer", "process", unit="s", bounds=SECONDS)

loop_stalled = _gauge("autotrader.loop.stalled", "Time since the event loop last ran", "process", unit="s")
process_cpu = _observed_counter("process.cpu.time", "Processor time of this process, user and system", unit="s")
process_memory = _gauge("process.memory.usage", "Resident memory of this process", unit="By")
database_connections = _gauge(
    "db.client.connections.usage", "Connections to the database in the pool of this process", "state"
)
dependency_up = _gauge(
    "autotrader.dependency.up", "1 while this process can use it: redis or postgresql", "process", "dependency"
)
export_failures = _counter(
    "autotrader.telemetry.export_failures", "Exports of traces, metrics or logs that did not arrive", "signal"
)

# the queues, watched by the notifier
queue_length = _gauge("celery.queue.length", "Messages waiting in a queue, all priorities", "queue")
queue_unacked = _gauge("celery.queue.unacked", "Messages taken by a worker and not acknowledged", "queue")
queue_oldest_age = _gauge(
    "celery.queue.oldest_age", "Time since the oldest waiting message was published, 0 without one", "queue", unit="s"
)

# the beat
beat_last_tick = _gauge("celery.beat.last_tick", "Unix time of the last tick of the beat", unit="s")
beat_entry_last_sent = _gauge("celery.beat.entry.last_sent", "Unix time an entry was last sent", "entry", unit="s")
beat_entry_failed = _counter("celery.beat.entry.failed", "Times an entry was due and could not be sent", "entry")

# alerts
alerts_recorded = _counter("autotrader.alerts.recorded", "Occurrences written to the alert queue", "kind", "result")
alerts_sent = _counter("autotrader.alerts.sent", "Messages to Telegram by result", "kind", "result")
telegram_usable = _gauge(
    "autotrader.telegram.usable", "1 while Telegram takes messages for a chat, 0 from a refusal on", "chat"
)
alert_queue_depth = _gauge("autotrader.alerts.queue_depth", "Alerts waiting to be sent")
alert_oldest_age = _gauge(
    "autotrader.alerts.oldest_age", "Time since the oldest alert that waits was recorded, 0 without one", unit="s"
)
alerts_collapsed = _counter(
    "autotrader.alerts.collapsed", "Occurrences shown by a count or a digest, not by a message of their own", "kind"
)
alerts_dead = _gauge("autotrader.alerts.dead", "Alerts given up and kept as dead letters")
alerts_spooled = _gauge("autotrader.alerts.spooled", "Alerts written to disk on this host while Redis was away")

backup_age = _gauge(
    "autotrader.backup.age",
    "Time since the last good backup, on this device or its copy off it; without one, since the first run", "copy",
    unit="s",
)  # fmt: skip

charts = _counter("autotrader.charts", "Pictures for messages, drawn or failed", "chart", "result")

# the bot
bot_commands = _counter(
    "autotrader.bot.commands", "Commands the bot was given, by what came of them", "command", "outcome"
)

# the API
http_requests = _counter("http.server.requests", "HTTP requests answered", "method", "route", "status_code")
http_errors = _counter("http.server.errors", "HTTP requests that ended in an error", "method", "route", "error_type")
http_duration = _histogram(
    "http.server.request.duration", "Time of one HTTP request",
    "method", "route", "status_code", unit="ms", bounds=MILLISECONDS,
)  # fmt: skip
http_seconds = _histogram(
    "http_request_duration_seconds", "Time of one HTTP request, by the name of the API alert",
    "method", "endpoint", unit="s", bounds=SECONDS,
)  # fmt: skip
analysis_api_requests = _counter(
    "analysis_api.requests", "HTTP requests for analyses: to start one, to read one, to list them",
    "endpoint", "status", "has_filters",
)  # fmt: skip
analysis_api_duration = _histogram(
    "analysis_api.duration", "Time of one HTTP request for analyses",
    "endpoint", "status", "has_filters", unit="ms", bounds=MILLISECONDS,
)  # fmt: skip
