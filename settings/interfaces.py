from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, SecretStr

from settings.declaring import EVERY, setting


class ApiSettings(BaseModel):
    """The API"""

    model_config = ConfigDict(defer_build=True)

    api_host: str = setting("127.0.0.1", "The address the API listens at.", by=("api",))
    api_port: int = setting(8000, "The port it listens at. 0 = any free one.", by=("api",), ge=0, le=65535)
    api_read_token: SecretStr = setting(
        SecretStr(""),
        "Who may read. Empty = nobody.",
        by=("api",),
        form="at least 16 characters",
    )
    api_operate_token: SecretStr = setting(
        SecretStr(""),
        "Who may also start analyses and halt. Empty = nobody.",
        by=("api",),
        form="at least 16 characters",
    )
    api_requests_per_minute: int = setting(
        120,
        "How many requests a minute each caller may send.",
        by=("api",),
        ge=1,
    )


class TelemetrySettings(BaseModel):
    """Telemetry"""

    model_config = ConfigDict(defer_build=True)

    otel_service_name: str = setting(
        "autotrader",
        "What the names of the services begin with: autotrader-worker-upbit, autotrader-beat and so on.",
        by=EVERY,
    )
    otel_environment: str = setting(
        "development",
        "The deployment.environment of all telemetry.",
        by=EVERY,
    )
    otel_exporter_otlp_endpoint: str = setting(
        "",
        "Where traces, metrics and logs go. Empty = nowhere.",
        by=EVERY,
        form="http://localhost:4318",
    )
    otel_exporter_otlp_protocol: Literal["http/protobuf", "grpc"] = setting(
        "http/protobuf",
        "How they go there.",
        by=EVERY,
    )
    signoz_enabled: bool = setting(
        True, "false = telemetry goes nowhere, whatever the address.", by=EVERY, commented=True
    )
    signoz_endpoint: str = setting(
        "",
        "The same as OTEL_EXPORTER_OTLP_ENDPOINT, as host:port.",
        by=EVERY,
        form="localhost:4318",
        commented=True,
    )
    signoz_insecure: bool = setting(
        True,
        "Whether SIGNOZ_ENDPOINT is without TLS.",
        by=EVERY,
        commented=True,
    )
    signoz_url: str = setting(
        "",
        "SigNoz's pages, for the links in error messages.",
        by=EVERY,
        form="http://localhost:8080",
    )
    signoz_api_key: SecretStr = setting(
        SecretStr(""),
        "For `make signoz-apply`: the key of a service account.",
        by=("commands",),
    )
    flower_url: str = setting(
        "",
        "Flower's pages, for the links in error messages.",
        by=EVERY,
        form="http://localhost:5555",
    )
    flower_basic_auth: SecretStr = setting(
        SecretStr(""),
        "Who may see Flower, several separated by commas; it does not start without.",
        by=("flower",),
        form="user:password",
    )
    prometheus_port: int = setting(
        0,
        "Each process serves Prometheus text on a port of its own. 0 = none.",
        by=EVERY,
        ge=0,
        le=65535,
    )
    prometheus_host: str = setting("127.0.0.1", "The address it is served at.", by=EVERY)
    log_format: Literal["json", "console"] = setting(
        "json",
        "json for machines, console for people.",
        by=EVERY,
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = setting("INFO", "The least that is logged.", by=EVERY)

    @property
    def otlp_endpoint(self) -> str:
        """Where telemetry goes, or "" for nowhere: the standard variable first, then the seeds' SIGNOZ_ENDPOINT."""
        if not self.signoz_enabled:
            return ""
        if self.otel_exporter_otlp_endpoint:
            return self.otel_exporter_otlp_endpoint
        if not self.signoz_endpoint or "://" in self.signoz_endpoint:
            return self.signoz_endpoint
        return ("http://" if self.signoz_insecure else "https://") + self.signoz_endpoint
