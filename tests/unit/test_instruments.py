from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, Sum
from prometheus_client import REGISTRY, generate_latest

from telemetry import instruments
from telemetry.instruments import CATALOGUE


def test_names_units_and_attributes_are_well_formed() -> None:
    for entry in CATALOGUE.values():
        assert re.fullmatch(r"[a-z][a-z0-9_.]*", entry.name)
        assert entry.unit in {"1", "s", "ms", "By", "USD"}
        assert entry.description
        assert not {"task_id", "exception", "url", "message"} & set(entry.attributes)


def test_an_instrument_is_declared_once() -> None:
    with pytest.raises(ValueError, match="declared twice"):
        instruments._counter("api.calls", "again")


def test_the_seeds_names_come_out_as_prometheus_names() -> None:
    reader = PrometheusMetricReader()
    provider = MeterProvider(metric_readers=[reader])
    meter = provider.get_meter("test")
    for entry in CATALOGUE.values():
        if entry.kind == "counter":
            meter.create_counter(entry.name, entry.unit).add(1)
        elif entry.kind == "histogram":
            meter.create_histogram(entry.name, entry.unit).record(1)
        else:
            meter.create_gauge(entry.name, entry.unit).set(1)
    text = generate_latest(REGISTRY).decode()
    provider.shutdown()
    for name in (
        "scheduler_job_success_total",
        "scheduler_job_failure_total",
        "scheduler_job_duration_seconds_bucket",
        "ai_decision_total",
        "trades_total",
        "trade_volume_krw_total",
        "portfolio_value_krw",
        "portfolio_profit_krw",
        "portfolio_profit_rate",
        "risk_exit_total",
        "risk_circuit_breaker_total",
        "risk_frequency_blocked_total",
        "autotrader_refusals_total",
        "autotrader_orders_unproven",
        "autotrader_orders_oldest_unproven_age_seconds",
        "autotrader_armed",
        "bot_errors_total",
        "bot_running",
        "analysis_executions_total",
        "analysis_duration_milliseconds_bucket",
        "api_calls_total",
        "flower_worker_number_of_currently_executing_tasks",
    ):
        assert re.search(rf"^{name}(\{{| )", text, re.MULTILINE), f"{name} is missing"


def test_a_counter_adds_up_from_any_thread_and_never_goes_down(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    monkeypatch.setattr(instruments, "_METER", provider.get_meter("test"))
    monkeypatch.setattr(instruments, "CATALOGUE", {})
    counter = instruments._counter("counted", "for the test", "task")
    instruments.start_at_zero(counter, task=["one", "two"])
    with ThreadPoolExecutor(4) as pool:
        for _ in range(400):
            pool.submit(counter.add, 1, {"task": "one"})
    counter.add(-1, {"task": "one"})
    data = reader.get_metrics_data()
    provider.shutdown()
    assert data is not None
    [metric] = data.resource_metrics[0].scope_metrics[0].metrics
    assert isinstance(metric.data, Sum)
    assert metric.data.is_monotonic
    assert {str(point.attributes["task"]): point.value for point in metric.data.data_points if point.attributes} == {
        "one": 400,
        "two": 0,
    }
