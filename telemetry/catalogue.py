"""What the instruments are called once they have left: the Prometheus series of the catalogue, and who emits them.

Dashboards, alert rules and `docs/metrics.md` are checked against this. The names follow OpenTelemetry's rules for
Prometheus: a dot becomes an underscore, the unit is added where the name does not end in it, a counter ends in
`_total`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from telemetry.instruments import CATALOGUE, Instrument

UNITS = {"s": "seconds", "ms": "milliseconds", "By": "bytes", "1": ""}
HISTOGRAM_SUFFIXES = ("_bucket", "_sum", "_count")

WORKER, BEAT, NOTIFIER, API = "worker", "beat", "notifier", "api"

# By the longest beginning that fits. A worker of one market emits only what concerns that market.
PROCESSES: dict[str, tuple[str, ...]] = {
    "": (WORKER,),
    "analysis_api.": (API,),
    "autotrader.alerts.": (NOTIFIER,),
    "autotrader.telegram.": (NOTIFIER,),
    "autotrader.backup.": (NOTIFIER,),
    # whoever has an error to tell
    "autotrader.alerts.recorded": (WORKER, BEAT, NOTIFIER),
    "autotrader.bot.": (NOTIFIER,),
    "autotrader.dependency.": (WORKER, NOTIFIER, API),
    "autotrader.telemetry.": (WORKER, BEAT, NOTIFIER, API),
    "bot_running": (WORKER, BEAT, NOTIFIER, API),
    "celery.beat.": (BEAT,),
    "celery.queue.": (NOTIFIER,),
    "celery.task.publish_failed": (WORKER, BEAT, API),
    "db.client.": (WORKER, API),
    "http": (API,),
    "process.": (WORKER, BEAT, NOTIFIER, API),
}

# What our processes serve beside the catalogue.
FOREIGN: dict[str, tuple[str, ...]] = {
    # OpenTelemetry's Celery instrumentation, for the page of SigNoz
    **dict.fromkeys((f"flower_task_runtime_seconds{suffix}" for suffix in HISTOGRAM_SUFFIXES), ("task", "worker")),
    "target_info": ("service_name", "service_version", "service_instance_id", "deployment_environment"),
}


def prometheus_name(instrument: Instrument) -> str:
    """The name without what kind of series it is; that of a gauge is whole."""
    name = re.sub(r"[^a-zA-Z0-9:]+", "_", instrument.name)
    # what stands in braces says what is counted, and is no unit
    plain = re.sub(r"\{.*\}", "", instrument.unit)
    unit = UNITS.get(plain, plain)
    if instrument.kind == "counter":
        name = name.removesuffix("_total")
    return name if not unit or name.endswith(f"_{unit}") else f"{name}_{unit}"


def prometheus_names(instrument: Instrument) -> set[str]:
    """Every series of an instrument, a histogram's buckets, sum and count included."""
    name = prometheus_name(instrument)
    match instrument.kind:
        case "counter":
            return {f"{name}_total"}
        case "histogram":
            return {name + suffix for suffix in HISTOGRAM_SUFFIXES}
        case _:
            return {name}


def prometheus_labels(instrument: Instrument) -> tuple[str, ...]:
    """Its attributes as labels; Prometheus adds `job` and `instance`, and `le` to buckets."""
    return tuple(re.sub(r"[^a-zA-Z0-9]+", "_", attribute) for attribute in instrument.attributes)


def known_series() -> Mapping[str, frozenset[str]]:
    """The labels of every series that our processes serve, by its name; without Prometheus' `job` and `instance`."""
    series = {name: frozenset(labels) for name, labels in FOREIGN.items()}
    for instrument in CATALOGUE.values():
        for name in prometheus_names(instrument):
            series[name] = frozenset(prometheus_labels(instrument))
    buckets = {name: labels | {"le"} for name, labels in series.items() if name.endswith("_bucket")}
    return series | buckets


def emitted_by(instrument: Instrument) -> tuple[str, ...]:
    """The kinds of processes that emit it."""
    fitting = max((prefix for prefix in PROCESSES if instrument.name.startswith(prefix)), key=len)
    return PROCESSES[fitting]
