"""What the compose files of `deploy/` read from `.env`, and no process does: declared here, so that it is explained
where all else is. A test holds this against the files."""

from __future__ import annotations

from dataclasses import dataclass

TITLE = "Containers"
SAYS = "For `make up` (docs/docker.md); without containers nobody reads these."


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of the compose files. One without a default stands in `.env.example` to be filled in."""

    name: str
    default: str
    what: str
    secret: bool = False
    form: str = ""

    @property
    def required(self) -> bool:
        return self.secret and not self.default


VARIABLES = (
    Variable(
        "POSTGRES_PASSWORD",
        "",
        "The password of the database in its container, which takes it at its first start and keeps it from then on. "
        "`make env` writes one.",
        secret=True,
        form="letters, digits and . _ ~ -",
    ),
    Variable(
        "REDIS_PASSWORD",
        "",
        "The password of Redis in its container. `make env` writes one.",
        secret=True,
        form="letters, digits and . _ ~ -",
    ),
    Variable(
        "DEPLOY_WITH",
        "",
        "Which deploy/compose.NAME.yaml are added: together, monitoring, collector, signoz, sandbox; several separated "
        "by spaces.",
        form='"together monitoring"',
    ),
    Variable(
        "BIND_ADDRESS", "127.0.0.1", "The address of this machine at which nginx is reached. 0.0.0.0 = any of them."
    ),
    Variable("HTTP_PORT", "80", "The port of it for http, which only leads to https."),
    Variable("HTTPS_PORT", "443", "The port of it for https."),
    Variable("SERVER_NAME", "~.", "The name in the browser's address, as nginx has it (docs/https.md). ~. = any."),
    Variable(
        "TLS_MODE",
        "local",
        "Where nginx's certificate comes from (docs/https.md).",
        form="local, or files, as of certbot and Tailscale",
    ),
    Variable(
        "TLS_GIVEN_DIR", "given", "The folder of this machine, or the volume, with the certificate that is given."
    ),
    Variable("TLS_ACME_DIR", "acme", "The folder of this machine, or the volume, with certbot's proofs."),
    Variable("HSTS_SECONDS", "31536000", "How long browsers shall insist on https. 0 = not at all."),
    Variable("RATE_LOGIN", "10r/m", "How often one address may try to sign in."),
    Variable("RATE_API", "10r/s", "How often one address may ask the API."),
    Variable("RATE_PAGES", "20r/s", "How often one address may ask for pages."),
    Variable(
        "GRAFANA_PASSWORD",
        "",
        "What admin signs in to Grafana with, and Grafana to the database, to read (`make up WITH=monitoring`). "
        "`make env` writes one.",
        secret=True,
        form="letters, digits and . _ ~ -",
    ),
    Variable("PROMETHEUS_RETENTION_TIME", "15d", "How long Prometheus keeps what it measured."),
    Variable("PROMETHEUS_RETENTION_SIZE", "1GB", "How much of it at most, whichever is less."),
    Variable("NODE_TEXTFILE_DIR", "textfile", "The folder of this machine whose *.prom files Prometheus gets."),
    Variable("ALERT_WEBHOOK_URL", "", "Where Alertmanager tells what is about Telegram itself, too.", form="https://"),
    Variable("RUNBOOK_BASE_URL", "", "What docs/runbooks/… of a message is put behind.", form="https://"),
    Variable(
        "COLLECTOR_ENDPOINT",
        "",
        "Where the collector sends telemetry on to (`make up WITH=collector`).",
        form="https://signoz.example:4318",
    ),
    Variable("COLLECTOR_KEY", "none", "The ingestion key of SigNoz Cloud, sent along by the collector.", secret=True),
    Variable("SIGNOZ_ENV_FILE", "./signoz/.env", "The settings of SigNoz itself (`make up WITH=signoz`)."),
    Variable("TZ", "Asia/Seoul", "The time zone of what containers write for people. Everything is kept in UTC."),
    Variable(
        "CONFIG_DIR",
        "./config",
        "A folder that is /etc/autotrader in the containers, for files such as STRATEGY_FILE; from deploy/ where it is "
        "relative.",
    ),
    Variable("SANDBOX_PORT", "8900", "The port of 127.0.0.1 for the pages of a rehearsal (`make up WITH=sandbox`)."),
    Variable("AUTOTRADER_IMAGE", "autotrader:local", "The image of every process of ours."),
    Variable("POSTGRES_IMAGE", "postgres:17.6-trixie", "PostgreSQL's image. Another major version needs a new volume."),
    Variable("REDIS_IMAGE", "redis:8.2.1-bookworm", "Redis's image."),
    Variable("NGINX_IMAGE", "nginx:1.28.0-alpine", "nginx's image."),
    Variable("PROMETHEUS_IMAGE", "prom/prometheus:v3.5.0", "Prometheus's image."),
    Variable("ALERTMANAGER_IMAGE", "prom/alertmanager:v0.28.1", "Alertmanager's image."),
    Variable("GRAFANA_IMAGE", "grafana/grafana:12.1.1", "Grafana's image."),
    Variable(
        "POSTGRES_EXPORTER_IMAGE",
        "prometheuscommunity/postgres-exporter:v0.17.1",
        "The image of PostgreSQL's exporter.",
    ),
    Variable("REDIS_EXPORTER_IMAGE", "oliver006/redis_exporter:v1.74.0", "The image of Redis's exporter."),
    Variable("NODE_EXPORTER_IMAGE", "prom/node-exporter:v1.9.1", "The image of the machine's exporter."),
    Variable("COLLECTOR_IMAGE", "otel/opentelemetry-collector-contrib:0.135.0", "The collector's image."),
)
