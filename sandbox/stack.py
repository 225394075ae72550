"""The whole system on this machine: servers, sandbox and every process, started in order and stopped together.

Nothing of it is the user's: settings, Telegram chat, keys and telemetry are its own, whatever `.env` or the
environment say, and orders are on paper. The one exception is the KIS key of a live KIS feed.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from signal import SIGKILL
from urllib.parse import urlsplit

from kombu import Connection
from kombu.exceptions import OperationalError
from kombu.pidbox import Mailbox
from pydantic import SecretStr
from redis import RedisError

from beat.sessions import is_open
from sandbox.client import SandboxControl, announced_url, answers
from sandbox.feeds import MarketFeed, Request, choose_feeds
from sandbox.local import LocalPostgres, LocalRedis, scratch
from sandbox.local.server import free_port
from sandbox.processes import ProcessGroup
from sandbox.started import Started
from settings import MARKETS, Settings

ROOT = Path(__file__).resolve().parents[1]

# what the sandbox calls the venue behind a market
SERVICES = {"upbit": "upbit", "kis": "kis", "yfinance": "yahoo"}

TRADE_CHAT, ERROR_CHAT = "1001", "2002"
CHAT_TITLES = {TRADE_CHAT: "자동매매", ERROR_CHAT: "자동매매 오류"}
FLOWER_USER = "demo"
HANG_SECONDS = 60
# often enough to be worth watching
SWEEP_MINUTES = 2
FAILING_HTTP_TIMEOUT = 2.0
READY_SECONDS = 60.0

_PYTHON = sys.executable
_CLI = (_PYTHON, "-m", "cli")


class StackError(Exception):
    """The demo was asked for something it does not have; one line."""


@dataclass(frozen=True, slots=True)
class Commands:
    """What each process is started with, as the services are; `{market}` in `worker` stands for its market."""

    sandbox: Sequence[str] = (_PYTHON, "-m", "sandbox")
    migrate: Sequence[str] = (*_CLI, "migrate")
    notifier: Sequence[str] = (*_CLI, "notifier")
    worker: Sequence[str] = (*_CLI, "worker", "{market}")
    flower: Sequence[str] = (*_CLI, "flower")
    beat: Sequence[str] = (*_CLI, "beat")
    api: Sequence[str] = (*_CLI, "api")


@dataclass(frozen=True, slots=True)
class Options:
    """What may differ between two demos.

    `once` has the beat fire one sweep per market at its start and none after. `fail` are symbols whose venue
    hangs. `http_timeout` is in seconds. `redis_url` and `database_url` use running servers. `logs` is a
    folder for the log files, which are removed with the demo otherwise. `env` has the last word.
    """

    candles: Path | None = None
    seed: int | None = None
    feed: Request = "auto"
    fail: Sequence[str] = ()
    once: bool = False
    http_timeout: float | None = None
    redis_url: str | None = None
    database_url: str | None = None
    logs: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    commands: Commands = field(default_factory=Commands)


class Stack(Started):
    """All processes of the system, running between `__enter__` and `__exit__`; enter it in the main thread.

    `tell` gets the plain lines a user should read. Raises `StackError`, `FeedError`, `LocalServerError` or
    `ProcessFailed` while starting, with nothing left running.
    """

    def __init__(self, options: Options, tell: Callable[[str], None]) -> None:
        super().__init__()
        self._options = options
        self._tell = tell
        self._tmp = Path()
        self.group: ProcessGroup
        self.sandbox_url = ""
        self.redis_url = ""
        self.database_url = ""
        self.flower_url = ""
        self.flower_login = f"{FLOWER_USER}:{secrets.token_hex(8)}"
        self.api_url = ""
        # for everything the API does; nobody has the one that only reads
        self.api_token = secrets.token_hex(8)
        self.prometheus_urls: dict[str, str] = {}
        self.feeds: dict[str, MarketFeed] = {}
        self.symbols: dict[str, tuple[str, ...]] = {}
        self.control: SandboxControl

    @property
    def scratch(self) -> Path:
        """A folder that is removed with the stack."""
        return self._tmp

    def _start(self) -> None:
        options, enter = self._options, self._exit.enter_context
        folder = scratch.create("demo")
        self._exit.callback(scratch.remove, folder)
        # what a killed process leaves in its temporary directory goes with ours
        self._tmp = folder / "tmp"
        self._tmp.mkdir()
        self.redis_url = enter(LocalRedis(url=options.redis_url, persist=True)).url
        self.database_url = enter(LocalPostgres(url=options.database_url)).url
        # SIGKILL: with the supervisor Redis is gone as well, and nothing could end in order any more
        self.group = enter(ProcessGroup(_log_folder(options.logs or folder / "logs"), on_death=SIGKILL))
        self._start_sandbox()
        self._choose_feeds()
        self.flower_url = f"http://127.0.0.1:{free_port()}"
        self.api_url = f"http://127.0.0.1:{free_port()}"
        self._start_processes(self._environment())

    def _start_sandbox(self) -> None:
        options = self._options
        argv = [*options.commands.sandbox, "--port", "0"]
        if options.candles is not None:
            argv += ["--candles", str(options.candles.resolve())]
        elif options.seed is not None:
            argv += ["--seed", str(options.seed)]
        self.group.start("sandbox", argv, env={**_clean(os.environ), "TMPDIR": str(self._tmp)}, cwd=ROOT)
        self.sandbox_url = self.group.wait_for_line("sandbox", announced_url, READY_SECONDS).rstrip("/")
        self.control = SandboxControl(self.sandbox_url)
        for chat, title in CHAT_TITLES.items():
            self.control.post("telegram/titles", {"chat_id": int(chat), "title": title})
        served = self.control.get("symbols")
        self.symbols = {market: tuple(served.get(market, ())) for market in MARKETS}

    def _choose_feeds(self) -> None:
        failing = {self._market_of(symbol) for symbol in self._options.fail}
        self.feeds = choose_feeds(self._options.feed, self._options.candles, only_simulated=failing)
        for feed in self.feeds.values():
            self._tell(str(feed))
        self._tell("telegram: the sandbox's own chat, never yours; orders: on paper")
        for market in MARKETS:
            session = is_open(market, datetime.now(UTC))
            if not session.open:
                self._tell(f"{market}: traded all the same, IGNORE_MARKET_HOURS=true ({session.reason})")
        for symbol in self._options.fail:
            service = SERVICES[self._market_of(symbol)]
            fault = {"service": service, "symbol": symbol, "kind": "hang", "seconds": HANG_SECONDS}
            self.control.post("faults", fault)
            self._tell(f"{symbol}: {service} will not answer for it, as asked with --fail")

    def _market_of(self, symbol: str) -> str:
        for market, symbols in self.symbols.items():
            if symbol in symbols:
                return market
        known = "; ".join(f"{market} {', '.join(symbols)}" for market, symbols in self.symbols.items())
        raise StackError(f"--fail {symbol}: no such symbol here: use one of {known}")

    def _start_processes(self, env: Mapping[str, str]) -> None:
        commands, group = self._options.commands, self.group
        group.run("migrate", commands.migrate, env=env, cwd=ROOT, seconds=READY_SECONDS)
        group.start("notifier", commands.notifier, env=self._with_port(env, "notifier"), cwd=ROOT, stage=1)
        api_env = {"API_PORT": str(urlsplit(self.api_url).port), "API_OPERATE_TOKEN": self.api_token}
        group.start("api", commands.api, env={**self._with_port(env, "api"), **api_env}, cwd=ROOT, stage=2)
        for market in MARKETS:
            argv = [part.replace("{market}", market) for part in commands.worker]
            name = f"worker-{market}"
            group.start(name, argv, env=self._with_port(env, name), cwd=ROOT, stage=2)
        group.wait_until(self._workers_answer, READY_SECONDS, "the start of the workers")
        # after the workers, because Flower asks them once who they are, and before the beat, because it only
        # sees the tasks it hears of
        # the password in the environment: arguments can be read by every user of the machine
        state = self._tmp.parent / "flower" / "state"
        flower_env = {**env, "FLOWER_BASIC_AUTH": self.flower_login, "FLOWER_DB": str(state)}
        flower = [*commands.flower, "--address=127.0.0.1", f"--port={urlsplit(self.flower_url).port}"]
        group.start("flower", flower, env=flower_env, cwd=ROOT, stage=2)
        group.wait_until(self._flower_answers, READY_SECONDS, "the start of Flower")
        group.wait_until(self._api_answers, READY_SECONDS, "the start of the API")
        group.start("beat", commands.beat, env=self._with_port(env, "beat"), cwd=ROOT, stage=3)

    def _with_port(self, env: Mapping[str, str], name: str) -> dict[str, str]:
        port = free_port()
        self.prometheus_urls[name] = f"http://127.0.0.1:{port}/metrics"
        return {**env, "PROMETHEUS_PORT": str(port)}

    def _workers_answer(self) -> bool:
        """Whether each of the three workers takes orders by now."""
        # kombu's own mailbox: a Celery app would prefer the broker that CELERY_BROKER_URL of the shell names
        with Connection(self.redis_url) as broker:
            try:
                workers = Mailbox("celery", type="fanout", accept=["json"])(broker)
                replies = workers.multi_call("ping", timeout=0.5, limit=len(MARKETS))
            except (OperationalError, RedisError, OSError):
                return False
        return {name.partition("@")[0] for reply in replies for name in reply} >= set(MARKETS)

    def _flower_answers(self) -> bool:
        return answers(f"{self.flower_url}/healthcheck")

    def _api_answers(self) -> bool:
        return answers(f"{self.api_url}/healthz")

    def _environment(self) -> dict[str, str]:
        """The environment of the processes: every setting, so that neither `.env` nor the shell adds one."""
        options, sandbox = self._options, self.sandbox_url
        own = {
            "REDIS_URL": self.redis_url,
            "DATABASE_URL": self.database_url,
            "TELEGRAM_BASE_URL": f"{sandbox}/telegram",
            "TELEGRAM_TOKEN": "1000000001:sandbox-token-of-the-demo",
            "TELEGRAM_CHAT_ID": TRADE_CHAT,
            "ERROR_REPORTING_CHAT_ID": ERROR_CHAT,
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"{sandbox}/otlp",
            "OTEL_ENVIRONMENT": "demo",
            "OTEL_BSP_SCHEDULE_DELAY": "500",
            "OTEL_METRIC_EXPORT_INTERVAL": "2000",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "2",
            "IGNORE_MARKET_HOURS": "true",
            "SWEEP_AT_START": "true",
            "FLOWER_URL": self.flower_url,
            "ANALYST": os.environ.get("ANALYST", "rules"),
            "GOOGLE_API_KEYS": "sandbox-gemini-key",
            "GEMINI_BASE_URL": f"{sandbox}/gemini",
            "LOG_FORMAT": "console",
            "TMPDIR": str(self._tmp),
        }
        for market in MARKETS:
            own[f"{market.upper()}_SYMBOLS"] = ",".join(self.symbols[market])
            own[f"{market.upper()}_SWEEP_MINUTES"] = "0" if options.once else str(SWEEP_MINUTES)
            if self.feeds[market].feed != "live":
                name = {"yfinance": "YAHOO"}.get(market, market.upper())
                own[f"{name}_BASE_URL"] = f"{sandbox}/{SERVICES[market]}"
        if self.feeds["kis"].feed == "live":
            own |= {name: os.environ[name] for name in ("KIS_APP_KEY", "KIS_APP_SECRET")}
        else:
            own |= {"KIS_APP_KEY": "sandbox-app-key", "KIS_APP_SECRET": "sandbox-app-secret"}
        if timeout := options.http_timeout or (FAILING_HTTP_TIMEOUT if options.fail else None):
            own["HTTP_TIMEOUT_SECONDS"] = f"{timeout:g}"
        return {**_clean(os.environ), **_defaults(), **own, **options.env}


def _log_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StackError(f"{folder} cannot take the log files: {error.strerror}") from None
    return folder.resolve()


def _clean(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without anybody's settings, proxies for our own addresses or other import paths."""
    settings = {name.upper() for name in Settings.model_fields}
    foreign = ("OTEL_", "CELERY_", "FLOWER_")
    kept = {
        name: value
        for name, value in environ.items()
        if name.upper() not in settings and not name.upper().startswith(foreign)
    }
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "NO_PROXY": "*", "no_proxy": "*"}


def _defaults() -> dict[str, str]:
    """Every setting at its default, as the environment would say it."""
    texts = {}
    for name, entry in Settings.model_fields.items():
        match entry.default:
            case SecretStr() as secret:
                text = secret.get_secret_value()
            case tuple() as parts:
                text = ",".join(parts)
            case bool() as flag:
                text = str(flag).lower()
            case str() | int() | float() | Decimal() as value:
                text = str(value)
            case other:
                raise TypeError(f"setting {name} has a default this cannot write: {other!r}")
        texts[name.upper()] = text
    return texts
