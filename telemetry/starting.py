"""Telemetry and logs of one process, as the settings say."""

from __future__ import annotations

import sys
from typing import Protocol

from telemetry import logs, setup
from telemetry.redacting import Redactor, log_uncaught, redactor_of

_port_shift = 0


class Configured(Protocol):
    """The settings that telemetry and logs need."""

    @property
    def otel_service_name(self) -> str: ...

    @property
    def otel_environment(self) -> str: ...

    @property
    def otlp_endpoint(self) -> str: ...

    @property
    def otel_exporter_otlp_protocol(self) -> str: ...

    @property
    def signoz_insecure(self) -> bool: ...

    @property
    def prometheus_port(self) -> int: ...

    @property
    def prometheus_host(self) -> str: ...

    @property
    def log_format(self) -> str: ...

    @property
    def log_level(self) -> str: ...


def start_telemetry(settings: Configured, process: str, instance: str) -> setup.Telemetry:
    """Start telemetry for a process of ours, its logs included; a taken Prometheus port ends it with one line."""
    redactor = redactor_of(settings)
    configure_logs(settings, redactor)
    log_uncaught()
    config = setup.TelemetryConfig(
        service_prefix=settings.otel_service_name,
        process=process,
        instance=instance,
        environment=settings.otel_environment,
        endpoint=settings.otlp_endpoint,
        protocol=settings.otel_exporter_otlp_protocol,
        insecure=settings.signoz_insecure,
        prometheus_port=settings.prometheus_port and settings.prometheus_port + _port_shift,
        prometheus_host=settings.prometheus_host,
    )
    try:
        return setup.start(config, redactor)
    except setup.PortInUse as error:
        sys.exit(f"autotrader: {error}")


def configure_logs(settings: Configured, redactor: Redactor | None = None) -> None:
    """Logs on stderr as the settings say, without secrets."""
    logs.configure(settings.log_format, settings.log_level, redactor or redactor_of(settings))


def shift_prometheus_port(by: int) -> None:
    """Serve this process's Prometheus text at another port than PROMETHEUS_PORT, which processes of one start share."""
    global _port_shift
    _port_shift = by
