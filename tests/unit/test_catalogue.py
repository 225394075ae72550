from __future__ import annotations

import re

import pytest
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry, generate_latest

from telemetry.catalogue import known_series, prometheus_names
from telemetry.instruments import CATALOGUE, Instrument

SAMPLE = re.compile(r"^([a-zA-Z_:0-9]+)(?:\{(.*)\})? ", re.MULTILINE)


def served(instrument: Instrument) -> dict[str, set[str]]:
    """The labels of each series that OpenTelemetry's own exporter makes of an instrument."""
    registry = CollectorRegistry()
    provider = MeterProvider(
        metric_readers=[PrometheusMetricReader(disable_target_info=True, scope_info_enabled=False, registry=registry)],
        shutdown_on_exit=False,
    )
    meter = provider.get_meter("test")
    attributes = dict.fromkeys(instrument.attributes, "x")
    match instrument.kind:
        case "counter":
            meter.create_counter(instrument.name, instrument.unit).add(1, attributes)
        case "histogram":
            meter.create_histogram(instrument.name, instrument.unit).record(1, attributes)
        case _:
            meter.create_gauge(instrument.name, instrument.unit).set(1, attributes)
    text = generate_latest(registry).decode()
    provider.shutdown()
    return {name: set(re.findall(r"(\w+)=", labels)) for name, labels in SAMPLE.findall(text)}


@pytest.mark.parametrize("instrument", CATALOGUE.values(), ids=lambda entry: entry.name)
def test_names_and_labels_are_those_that_the_exporter_serves(instrument: Instrument) -> None:
    real = served(instrument)
    assert set(real) == prometheus_names(instrument)
    known = known_series()
    assert {name: set(known[name]) for name in real} == real
