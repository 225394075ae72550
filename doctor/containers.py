"""What would keep the processes from starting, or from working, in containers: found before any is started."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from doctor.setup import configuration
from settings import Settings

# in a container these are the container itself
SELF = ("127.0.0.1", "localhost", "::1")
# what is asked by a process, not by a browser; those of the venues, so that a stand-in on the host is found too
ASKED = ("celery_broker_url", "celery_result_backend", "otlp_endpoint", "gemini_base_url", "telegram_base_url",
         "upbit_base_url", "kis_base_url", "yahoo_base_url")  # fmt: skip
NAMES = {"otlp_endpoint": "OTEL_EXPORTER_OTLP_ENDPOINT"}
# a password becomes a part of a URL, and a line of Redis's configuration
NEEDED = {"POSTGRES_PASSWORD": "", "REDIS_PASSWORD": "", "GRAFANA_PASSWORD": "monitoring"}
"""A password, and the overlay without which nobody needs it."""
PASSWORD = re.compile(r"[A-Za-z0-9._~-]{8,}")


def container_faults(settings: Settings, environ: Mapping[str, str]) -> Iterator[str]:
    """A line for each fault, with its cure. `environ` is that of a container of ours; its DEPLOY_WITH names the
    overlays."""
    overlays = environ.get("DEPLOY_WITH", "").replace(",", " ").split()
    yield from (finding.detail for finding in configuration(settings) if finding.verdict == "FAULT")
    if settings.telegram_enabled and not settings.telegram_token.get_secret_value().strip():
        yield (
            "TELEGRAM_TOKEN is missing, without which the notifier ends: get one from @BotFather (docs/telegram.md), "
            "or set TELEGRAM_ENABLED=false"
        )
    if not (settings.flower_basic_auth.get_secret_value() or environ.get("FLOWER_AUTH")):
        yield "FLOWER_BASIC_AUTH is missing, without which Flower does not start: set user:password"
    for name, overlay in NEEDED.items():
        if (not overlay or overlay in overlays) and not PASSWORD.fullmatch(environ.get(name, "")):
            yield (
                f"{name} must be eight or more letters, digits and . _ ~ -, for it becomes a part of an "
                "address; python3 -c 'import secrets; print(secrets.token_hex(24))' makes one"
            )
    if "monitoring" in overlays:
        yield from _alertmanager_faults(settings)
    for name in ASKED:
        if urlsplit(getattr(settings, name)).hostname in SELF:
            yield (
                f"{NAMES.get(name, name.upper())} names {urlsplit(getattr(settings, name)).hostname}, which in a "
                "container is the container itself: name the service or the host"
            )


def _alertmanager_faults(settings: Settings) -> Iterator[str]:
    """What deploy/alertmanager/render.sh would end for: it restarts then, and nothing it should tell of is told."""
    token = settings.telegram_token.get_secret_value().strip()
    if not token and not settings.telegram_enabled:
        yield "TELEGRAM_TOKEN is missing, without which Alertmanager does not start: set it, or leave `monitoring` out"
    if not re.fullmatch("-?[0-9]+", settings.error_chat_id):
        yield (
            "ERROR_REPORTING_CHAT_ID or TELEGRAM_CHAT_ID must be a number, such as -1001234567890, without which "
            "Alertmanager does not start: `autotrader telegram chats` shows it, or leave `monitoring` out"
        )
