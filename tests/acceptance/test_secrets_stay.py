"""No secret leaves the system: not in a span, a log, an event, a result, a message or on a page, whatever fails."""

from __future__ import annotations

import http.server
import json
import logging
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import leaks
import pytest
import redis
from calls import Client, start_api
from celery import Celery
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from test_operator import run
from world import ERROR_CHAT, TRADE_CHAT, World, wait_for

from sandbox.local.server import free_port
from settings import Settings

# Each with something that URLs, JSON or Python write in another way.
SECRETS = {
    "UPBIT_ACCESS_KEY": "upAccess/7Qm2+vX9=kd81",
    "UPBIT_SECRET_KEY": "upSecret&4Zr8?tL0#wb53",
    "KIS_APP_KEY": "kisKey-PSu6Bq1Nf7Hc2Jx9",
    "KIS_APP_SECRET": "kisSecret+G5y/Rk3==Vd8Mw",
    "KIS_ACCOUNT": "73519846-01",
    "TELEGRAM_TOKEN": "7204418833:AAHtelegram-Kp4Wz9Lr2Xc6Vb8Nm1Qs",
    "API_READ_TOKEN": "api-read/9Fw3+Tz6~Hj1=",
    "API_OPERATE_TOKEN": "api-operate+2Yk8/Cd5.Pv7==",
    "DEAD_MAN_PING_URL": "https://127.0.0.1:9/ping/5b1e-dead-77man-c2f0",
    "SIGNOZ_API_KEY": "signoz-6Ue0/Sg4+Ix8=",
    "GOOGLE_API_KEYS": "AIzaGoogle-1Db7Ln3Rx",
    "RESTIC_REPOSITORY": "rest:https://backup:restic-Hn4+Wq8@127.0.0.1:9/copies",
    "RESTIC_PASSWORD": "restic-pass/5Tz1+Lc7=",
    "OTEL_EXPORTER_OTLP_HEADERS": "ingestion-8Mv2Ka5Zt",
    "FLOWER_BASIC_AUTH": "flower-login-3Xq9Wj",
}
HEADER = "signoz-ingestion-key"
FLOWER_USER = "operator"
SYMBOL = "KRW-BTC"

# What a careless task does: it says its secret wherever there is something to say it to.
LEAKY = """
import base64, logging, threading
from urllib.parse import quote

from opentelemetry import trace

from tasks.app import app
from tasks.base import AsyncTask

log = logging.getLogger("leaky")


def burst(text):
    raise OSError(text)


@app.task(base=AsyncTask, name="tasks.leaky.fail")
async def fail(name, secret):
    basic = base64.b64encode(f"autotrader:{secret}".encode()).decode()
    url = f"https://user:{quote(secret, safe='')}@venue.example/bot{secret}/send?q={quote(secret)}&sent={basic}"
    text = f"{name}: {url} with {secret} and Basic {basic}"
    span = trace.get_current_span()
    span.update_name(f"GET {url}")
    span.set_attribute("url.full", url)
    span.add_event(text, {"header": basic})
    log.warning("asking %s", url)
    log.error("headers %r", {"Authorization": f"Basic {basic}", "x": secret})
    thread = threading.Thread(target=burst, args=(text,), name=name)
    thread.start()
    thread.join()
    try:
        burst(text)
    except OSError as error:
        log.exception("no answer of %s", url)
        raise RuntimeError(text) from error


@app.task(base=AsyncTask, name="tasks.leaky.give")
async def give(name, secret):
    return {"url": f"https://user:{quote(secret, safe='')}@venue.example/{secret}"}
"""


@pytest.fixture
def settings_env() -> Mapping[str, str]:
    own = {name: value for name, value in SECRETS.items() if name.lower() in Settings.model_fields}
    return {
        **own,
        "TRADING_MODE": "live",
        "IGNORE_MARKET_HOURS": "false",
        "OTEL_EXPORTER_OTLP_HEADERS": f"{HEADER}={SECRETS['OTEL_EXPORTER_OTLP_HEADERS']}",
        "FLOWER_BASIC_AUTH": f"{FLOWER_USER}:{SECRETS['FLOWER_BASIC_AUTH']}",
        "ERROR_DUPLICATE_WINDOW": "1",
    }


@pytest.fixture
def secrets(world: World) -> dict[str, str]:
    """Every secret of this world, with the passwords of its servers."""
    passwords = {
        name: unquote(urlsplit(url).password or "")
        for name, url in (("REDIS_URL", world.redis_url), ("DATABASE_URL", world.database_url))
    }
    address = urlsplit(SECRETS["DEAD_MAN_PING_URL"])
    parts = {
        "the account's number": SECRETS["KIS_ACCOUNT"].partition("-")[0],
        "the ping's path": address.path.strip("/"),
    }
    return {name: value for name, value in {**SECRETS, **passwords, **parts}.items() if value}


def test_every_secret_setting_is_one_of_these() -> None:
    secret = {
        name.upper()
        for name, entry in Settings.model_fields.items()
        if entry.annotation is not None and "SecretStr" in str(entry.annotation)
    }
    assert secret <= SECRETS.keys()


def test_no_secret_leaves_the_system(world: World, secrets: Mapping[str, str]) -> None:
    ports = {name: free_port() for name in ("worker", "beat", "notifier", "flower", "api")}
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    login = f"{FLOWER_USER}:{SECRETS['FLOWER_BASIC_AUTH']}"
    (world.directory / "leaky.py").write_text(LEAKY, encoding="utf-8")
    worker = ["celery", "-A", "leaky", "worker", "-P", "threads", "-Q", "upbit,kis", "-n", "upbit@%h"]
    with leaks.events(world) as heard:
        world.start("worker", *worker, PROMETHEUS_PORT=str(ports["worker"]))
        world.start("notifier", "cli", "notifier", PROMETHEUS_PORT=str(ports["notifier"]))
        wait_for("the worker", lambda: f"upbit@{socket.gethostname()} ready." in leaks.log_files(world), 60)
        world.start("flower", "cli", "flower", f"--port={ports['flower']}")
        wait_for("Flower", lambda: _answers(f"{urls['flower']}/healthcheck"), 60)
        world.start("beat", "celery", "-A", "tasks", "beat", PROMETHEUS_PORT=str(ports["beat"]))
        tokens = {name: SECRETS[name] for name in ("API_READ_TOKEN", "API_OPERATE_TOKEN")}
        api = start_api(world, PROMETHEUS_PORT=str(ports["api"]), **tokens)
        ask_the_api(api, secrets)
        results = provoke(world, secrets)
        refuse_the_notifier(world)
        wait_for("the last result", lambda: all(_ended(world, task_id) for task_id in results), 60)
        wait_for("the messages of the errors", lambda: len(world.messages(ERROR_CHAT)) >= 2, 60)
        wait_for("Flower's tasks", lambda: results[-1] in leaks.pages([f"{urls['flower']}/api/tasks"], login), 30)
        shown = [f"{urls['flower']}{path}" for path in flower_paths(results)]
        # two exports of everything
        time.sleep(2.5)
        places = {
            **leaks.exported(world),
            "log files": leaks.log_files(world),
            "events": "\n".join(heard),
            "redis": leaks.in_redis(world),
            "postgres": leaks.in_postgres(world),
            "flower": leaks.pages(shown, login),
            "prometheus": leaks.pages(f"{urls[name]}/metrics" for name in ("worker", "beat", "notifier")),
            "api": api_pages(api, results),
        }
    # each place has what would have held the secrets
    for place, sign in {
        "spans": "venue.example",
        "metrics": "celery.task.failed",
        "logs": "venue.example",
        "telegram": "RuntimeError",
        "log files": "venue.example",
        "events": "venue.example",
        "redis": "venue.example",
        "postgres": "upbit",
        "flower": "venue.example",
        "prometheus": "celery_task_failed_total",
        "api": "venue.example",
    }.items():
        assert sign in places[place], place
    assert "uncaught OSError" in places["log files"]
    assert "Telegram refuses the token" in places["log files"]
    assert "unregistered" in places["log files"]
    assert leaks.find(places, secrets) == set()


def provoke(world: World, secrets: Mapping[str, str]) -> list[str]:
    """Have everything fail that has a secret to tell; the ids of the tasks that end."""
    app = Celery("provoking", broker=world.redis_url, backend=world.redis_url, set_as_current=False)
    results = []
    for name, secret in secrets.items():
        results.append(app.send_task("tasks.leaky.fail", args=(name, secret), queue="upbit").id)
        results.append(app.send_task("tasks.leaky.give", args=(name, secret), queue="upbit").id)
        app.send_task("tasks.leaky.unknown", args=(name, f"https://venue.example/{secret}"), queue="upbit")
    # a key that Upbit does not know, asked for what only an account has
    results.append(app.send_task("tasks.guard.guard", args=("upbit",), queue="upbit", ignore_result=False).id)
    world.sandbox.post("faults", {"service": "kis", "kind": "close"})
    for market, symbol in (("kis", "005930"), ("upbit", SYMBOL)):
        done = run(world, "analyze", market, symbol)
        (world.directory / f"analyze-{market}.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    # neither server of a process can be used
    for name, value in (("DATABASE_URL", world.database_url), ("REDIS_URL", world.redis_url)):
        address = urlsplit(value)
        away = value.replace(f":{address.port}/", f":{free_port()}/")
        world.env[name], before = away, world.env[name]
        done = run(world, "status")
        world.env[name] = before
        (world.directory / f"without-{name}.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    return results


def ask_the_api(api: Client, secrets: Mapping[str, str]) -> None:
    """What a careless client does: it puts secrets where there is something to put them into."""
    operate = SECRETS["API_OPERATE_TOKEN"]
    for secret in secrets.values():
        assert api.get(f"/api/tasks/{secret}", operate).status in (404, 422)
        assert (
            api.get(f"/analysis-results/?symbol={quote(secret, safe='')}&token={quote(secret, safe='')}").status == 401
        )
        api.ask("POST", f"/api/analyze/upbit/{quote(secret, safe='')}", token=operate, headers={"X-Key": "k"})
    assert api.post("/api/halt", {"reason": f"with {operate}", "market": "yfinance"}, operate).status == 200


def api_pages(api: Client, results: list[str]) -> str:
    """What the API shows of the system."""
    paths = ["/metrics", "/readyz", "/openapi.json", "/api/trading-state", *(f"/api/tasks/{id}" for id in results)]
    return "\n".join(api.get(path, SECRETS["API_READ_TOKEN"]).body.decode() for path in paths)


def refuse_the_notifier(world: World) -> None:
    """A second notifier, whose token Telegram does not know."""
    world.sandbox.post("faults", {"service": "telegram", "kind": "error", "status": 401, "path": "getMe", "count": 1})
    world.start("notifier-2", "cli", "notifier")
    wait_for("the refusal of the token", lambda: "refuses the token" in leaks.log_files(world))


def flower_paths(results: list[str]) -> list[str]:
    tasks = [f"{path}/{task_id}" for task_id in results for path in ("/task", "/api/task/info", "/api/task/result")]
    node = f"upbit@{socket.gethostname()}"
    return ["/", "/tasks", f"/worker/{node}", "/broker", "/api/tasks", "/api/workers?refresh=1", "/metrics", *tasks]


def _answers(url: str) -> bool:
    try:
        leaks.pages([url])
    except OSError:
        return False
    return True


def _ended(world: World, task_id: str) -> bool:
    with redis.Redis.from_url(world.redis_url) as client:
        stored = client.get(f"celery-task-meta-{task_id}")
    return bool(stored) and json.loads(stored)["status"] in ("SUCCESS", "FAILURE")


def test_a_leak_is_found_wherever_it_is(world: World) -> None:
    """The search above sees every place: what is planted there without redaction is found."""
    planted = {"planted": "planted/5Wz+8Kq=secret"}
    secret = planted["planted"]
    (world.directory / "careless.log").write_text(f"starting with {secret}\n", encoding="utf-8")
    export_carelessly(world.env["OTEL_EXPORTER_OTLP_ENDPOINT"], secret)
    app = Celery("careless", broker=world.redis_url, backend=world.redis_url, set_as_current=False)
    with leaks.events(world) as heard:
        app.backend.store_result(str(uuid.uuid4()), ValueError(secret), "FAILURE")
        with app.connection_for_write() as connection, app.events.Dispatcher(connection) as dispatcher:
            dispatcher.send("task-failed", exception=secret)
        wait_for("the event", lambda: heard)
    sent = {"chat_id": TRADE_CHAT, "text": f"the token is {secret}"}
    leaks.post_json(f"{world.env['TELEGRAM_BASE_URL']}/bot{world.env['TELEGRAM_TOKEN']}/sendMessage", sent)
    world.rows(f"CREATE TABLE careless AS SELECT '{secret}'::text AS note")
    registry = CollectorRegistry()
    Gauge("careless", "A metric with a secret", ["key"], registry=registry).labels(key=secret).set(1)
    with served(generate_latest(registry)) as url:
        places = {
            **leaks.exported(world),
            "log files": leaks.log_files(world),
            "events": "\n".join(heard),
            "redis": leaks.in_redis(world),
            "postgres": leaks.in_postgres(world),
            "flower": leaks.pages([url]),
            "prometheus": leaks.pages([url]),
        }
    found = {place for place, _, form in leaks.find(places, planted) if form == "plain"}
    assert found == places.keys()
    assert {form for _, _, form in leaks.find({"x": "\n".join(leaks.forms(secret).values())}, planted)} == set(
        leaks.forms(secret)
    )


def export_carelessly(endpoint: str, secret: str) -> None:
    """One span, one metric and one log record, with the SDK alone."""
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{endpoint}/v1/traces")))
    with tracers.get_tracer("careless").start_as_current_span("careless", attributes={"url": secret}):
        pass
    meters = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter(f"{endpoint}/v1/metrics"))])
    meters.get_meter("careless").create_counter("careless").add(1, {"key": secret})
    meters.shutdown()
    loggers = LoggerProvider()
    loggers.add_log_record_processor(SimpleLogRecordProcessor(OTLPLogExporter(f"{endpoint}/v1/logs")))
    logger = logging.getLogger("careless")
    logger.addHandler(LoggingHandler(logger_provider=loggers))
    logger.warning("careless with %s", secret)
    loggers.shutdown()
    tracers.shutdown()


@contextmanager
def served(text: bytes) -> Iterator[str]:
    """A page with this text."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
